"""Steps 8-bit states that live in host memory on the device, a stretch of numbers at a time. Decides nothing about when.

bitsandbytes' step of 8-bit states takes a processor's core about 70 ns a weight, most of it the search for the nearest of 256
values; a device does it while the bytes come and go: per weight two bytes of states, and two to four of the number, each way.
"""

from typing import Any

import torch
from torch.optim import Optimizer

from xtune.train.numbers import Numbers

STRETCH = 2**20
"""Numbers that cross together; a multiple of `BLOCK`."""

BLOCK = 256
"""States that share a scale (bitsandbytes' blockwise optimizers, arXiv 2110.02861)."""

STRETCH_BYTES = STRETCH * (4 + 4 + 1 + 1)
"""On the device at one time: the numbers and their gradients in float32, and two states a number."""


def has_eight_bit_states(optimizer: Optimizer) -> bool:
    """Whether it is one of bitsandbytes' with 8-bit states."""
    ours = type(optimizer).__module__.partition(".")[0] == "bitsandbytes"
    return ours and getattr(optimizer, "args").optim_bits == 8  # noqa: B009 - no attribute of torch's class


@torch.no_grad()
def step_across(optimizer: Optimizer, numbers: Numbers, gradient: torch.Tensor) -> bool:
    """One update of a parameter whose gradient is on the device and whose states and numbers are not.

    Everything is asked of the current stream, on which bitsandbytes launches its kernels in any case.

    Args:
        optimizer: Of this parameter alone, with 8-bit states.
        numbers: The parameter's.
        gradient: On the device that does the arithmetic; it is only read.

    Returns:
        False: the parameter is so small that its states are in 32 bits, and nothing was done.
    """
    library: Any = optimizer
    stepped, group = numbers.stepped, optimizer.param_groups[0]
    state = optimizer.state[stepped]
    if not state:
        with numbers.at_hand():
            library.init_state(group, stepped, 0, 0)
    if state["state1"].dtype != torch.uint8:
        return False
    state["step"] += 1
    config = library.get_config(0, 0, group)
    maps = [_there(state, name, gradient.device) for name in ("qmap1", "qmap2")]
    slopes = gradient.reshape(-1)
    for start in range(0, slopes.numel(), STRETCH):
        part = slice(start, min(start + STRETCH, slopes.numel()))
        _step_stretch(library, numbers, state, config, slopes[part].float(), part, maps)
    return True


def _step_stretch(
    library: Any,
    numbers: Numbers,
    state: dict[str, Any],
    config: dict[str, Any],
    slopes: torch.Tensor,
    part: slice,
    maps: list[torch.Tensor | None],
) -> None:
    from bitsandbytes import functional

    blocks = slice(part.start // BLOCK, -(-part.stop // BLOCK))
    at_home = {
        name: state[name].view(-1)[where]
        for name, where in (
            ("state1", part),
            ("state2", part),
            ("absmax1", blocks),
            ("absmax2", blocks),
        )
        if state.get(name) is not None
    }
    there = {name: each.to(slopes.device) for name, each in at_home.items()}
    values = numbers.stretch(part, slopes.device)
    betas = config["betas"]
    update: Any = functional.optimizer_update_8bit_blockwise
    update(
        library.optimizer_name, slopes, values, there["state1"], there.get("state2"),
        betas[0], betas[1], betas[2] if len(betas) > 2 else 0.0, config.get("alpha", 0.0), config["eps"],
        state["step"], config["lr"], maps[0], maps[1], there["absmax1"], there.get("absmax2"),
        config["weight_decay"], gnorm_scale=1.0, skip_zeros=config["skip_zeros"],
    )  # fmt: skip
    numbers.put_stretch(part, values)
    for name, each in at_home.items():
        each.copy_(there[name])


def _there(state: dict[str, Any], name: str, device: torch.device) -> torch.Tensor | None:
    found = state.get(name)
    return found.to(device) if isinstance(found, torch.Tensor) else None
