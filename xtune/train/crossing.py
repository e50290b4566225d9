"""Steps 8-bit states that live in host memory on the device, a stretch of numbers at a time. Decides nothing about when.

bitsandbytes' step of 8-bit states takes a processor's core about 70 ns a weight, most of it the search for the nearest of 256
values; a device does it while the bytes come and go: per weight two bytes of states, and two to four of the number, each way.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.optim import Optimizer

from xtune.memory.workload import STEP_STRETCH
from xtune.train.numbers import Numbers

BLOCK = 256
"""States that share a scale (bitsandbytes' blockwise optimizers, arXiv 2110.02861)."""


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
        library.init_state(group, stepped, 0, 0)  # of which it wants the shape, and no numbers
    if state["state1"].dtype != torch.uint8:
        return False
    state["step"] += 1
    crossing = _Crossing(library, numbers, state, gradient.device)
    slopes = gradient.reshape(-1)
    for start in range(0, slopes.numel(), STEP_STRETCH):
        part = slice(start, min(start + STEP_STRETCH, slopes.numel()))
        crossing.step(part, slopes[part].float())
    return True


class _Crossing:
    """One parameter's update."""

    def __init__(
        self, library: Any, numbers: Numbers, state: dict[str, Any], device: torch.device
    ) -> None:
        self._library, self._numbers, self._state, self._device = library, numbers, state, device
        self._config = library.get_config(0, 0, library.param_groups[0])
        self._maps = [_there(state, name, device) for name in ("qmap1", "qmap2")]

    def step(self, part: slice, slopes: torch.Tensor) -> None:
        """Bring a stretch's states and numbers, step them by its gradient (numbers,), and put them back."""
        from bitsandbytes import functional

        state, config, betas = self._state, self._config, self._config["betas"]
        at_home = dict(self._states(part))
        there = {name: each.to(self._device) for name, each in at_home.items()}
        values = self._numbers.stretch(part, self._device)
        update: Any = functional.optimizer_update_8bit_blockwise
        update(
            self._library.optimizer_name, slopes, values, there["state1"], there.get("state2"),
            betas[0], betas[1], betas[2] if len(betas) > 2 else 0.0, config.get("alpha", 0.0), config["eps"],
            state["step"], config["lr"], *self._maps, there["absmax1"], there.get("absmax2"),
            config["weight_decay"], gnorm_scale=1.0, skip_zeros=config["skip_zeros"],
        )  # fmt: skip
        self._numbers.put_stretch(part, values)
        for name, each in at_home.items():
            each.copy_(there[name])

    def _states(self, part: slice) -> Iterator[tuple[str, torch.Tensor]]:
        """The stretch's part of every state, where it lives."""
        blocks = slice(part.start // BLOCK, -(-part.stop // BLOCK))
        parts = {"state1": part, "state2": part, "absmax1": blocks, "absmax2": blocks}
        for name, where in parts.items():
            if self._state.get(name) is not None:
                yield name, self._state[name].view(-1)[where]


def _there(state: dict[str, Any], name: str, device: torch.device) -> torch.Tensor | None:
    found = state.get(name)
    return found.to(device) if isinstance(found, torch.Tensor) else None
