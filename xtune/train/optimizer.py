"""The optimizer of a plan, built from parameter groups; every one saves and restores its state exactly."""

import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any
from weakref import finalize

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from xtune.errors import MissingPackageError, XtuneError
from xtune.models.quiet import quiet
from xtune.plan import Plan
from xtune.recipe.models import SUBSPACE_OPTIMIZERS, Train
from xtune.train.piecewise import Groups, PiecewiseOptimizer
from xtune.train.subspace import build_subspace

log = logging.getLogger("xtune")

MUON_MOMENTUM = 0.95
"""Momentum of Muon's author (K. Jordan, "Muon", 2024), and torch's default."""


def build_optimizer(
    groups: Groups, plan: Plan, resting: Collection[nn.Parameter] = ()
) -> Optimizer:
    """The plan's optimizer over the groups of `parameter_groups`.

    Each group keeps its `lr_scale`; the loop sets `lr = learning_rate * factor * lr_scale` every step.

    Args:
        groups: As `parameter_groups` made them.
        plan: Names the optimizer, and where its states are.
        resting: Parameters that rest in host memory (`xtune.kernels.stream`).

    Returns:
        A `PiecewiseOptimizer` where states live on the host or the step is fused into the backward pass.

    Raises:
        MissingPackageError: An optimizer whose package is not installed.
        XtuneError: The plan names an optimizer that does not exist.
    """
    train = plan.recipe.train
    for group in groups:
        group["lr"] = train.learning_rate * group["lr_scale"]
    on_host = plan.optimizer_states.value == "host"
    name, device = plan.optimizer.value, plan.device.value
    crossing = device == "cuda"
    if on_host:  # nothing is left to be paged
        name, device = name.removeprefix("paged_"), "cpu"
    if on_host or plan.fused_step.value:
        build = partial(build_one, name, train=train, device=device)
        return PiecewiseOptimizer(
            groups, build, on_host=on_host, resting=resting, crossing=crossing
        )
    return build_one(name, groups, train=train, device=device)


def build_one(name: str, groups: Groups, *, train: Train, device: str) -> Optimizer:
    """The optimizer of a name that steps parameters where they are."""
    if name == "adamw":
        return _adamw(groups, train, device)
    if name == "adafactor":
        return _adafactor(groups, train)
    if name == "muon":
        return MuonAdamW(groups, train, device)
    if name in SUBSPACE_OPTIMIZERS:
        return build_subspace(name, groups, train)
    return _bitsandbytes(name, groups, train, device)


def _adamw(groups: Groups, train: Train, device: str) -> AdamW:
    """Fused where torch has a kernel: one pass over the memory instead of a dozen."""
    return AdamW(
        groups,
        lr=train.learning_rate,
        betas=(train.beta1, train.beta2),
        eps=train.epsilon,
        fused=device in {"cpu", "cuda", "mps", "xpu"},
    )


def _adafactor(groups: Groups, train: Train) -> Optimizer:
    """Adafactor (arXiv 1804.04235) with the recipe's learning rate as it is.

    Its relative step sizes are off: they scale by the weights' size, and LoRA's B starts at zero.
    """
    from transformers.optimization import Adafactor  # noqa: PLC0415 - only for this optimizer

    class ExactAdafactor(Adafactor):
        """Restores its float32 statistics as float32 beside 16-bit weights, where torch would cast them."""

        def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
            super().load_state_dict(dict(state_dict))
            restore_exactly(self, state_dict)

    build: Any = ExactAdafactor  # transformers leaves it untyped
    optimizer: Optimizer = build(
        groups,
        lr=train.learning_rate,
        scale_parameter=False,
        relative_step=False,
        warmup_init=False,
    )
    return optimizer


def _bitsandbytes(name: str, groups: Groups, train: Train, device: str) -> Optimizer:
    try:
        with quiet():
            from bitsandbytes import optim
    except ImportError:
        raise MissingPackageError(
            "bitsandbytes", purpose=f"`train.optimizer: {name}`", command="pip install bitsandbytes"
        ) from None
    classes: Any = optim  # exported without saying so
    paged = name.startswith("paged_")
    if paged and device != "cuda":
        log.warning("Paging optimizer states needs CUDA; %s runs without it.", name)
        paged = False
    adam = {"betas": (train.beta1, train.beta2), "eps": train.epsilon}
    lion = {"betas": (train.beta1, train.beta2)}
    builders: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
        "paged_adamw": (classes.AdamW32bit, adam),
        "adamw_8bit": (classes.AdamW8bit, adam),
        "paged_adamw_8bit": (classes.AdamW8bit, adam),
        "lion_8bit": (classes.Lion8bit, lion),
        "paged_lion_8bit": (classes.Lion8bit, lion),
    }
    if name not in builders:
        raise XtuneError(
            f"There is no optimizer {name}.", advice=f"There are: {', '.join(builders)}."
        )
    builder, options = builders[name]
    if paged:
        builder = stays_paged(builder)
    optimizer = builder(groups, lr=train.learning_rate, weight_decay=0.0, is_paged=paged, **options)
    if not isinstance(optimizer, Optimizer):
        raise XtuneError(f"bitsandbytes made a {type(optimizer).__name__} for {name}.")
    return optimizer


_paged_and_free: list[torch.Tensor] = []
"""Paged memory of optimizers that are gone; bitsandbytes 0.50 itself never gives any back."""


def stays_paged(kind: Any) -> Any:
    """One of bitsandbytes' paged optimizers, paged after a resume as well: 0.50 itself moves restored states to the device.

    What one of them had for a parameter, the next one has for a parameter of that shape.
    """

    class StaysPaged(kind):  # type: ignore[misc]
        def __init__(self, *given: Any, **options: Any) -> None:
            super().__init__(*given, **options)
            self._paged: list[torch.Tensor] = []
            finalize(self, _paged_and_free.extend, self._paged).atexit = False

        def get_state_buffer(
            self, p: torch.Tensor, dtype: torch.dtype = torch.float32
        ) -> torch.Tensor:
            """Zeros of a parameter's shape; paged if they are many."""
            made = _zeroed(p, dtype)
            buffer: torch.Tensor = (
                super().get_state_buffer(p, dtype=dtype) if made is None else made
            )
            if getattr(buffer, "is_paged", False):
                self._paged.append(buffer)
            return buffer

        def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
            """Restores what `state_dict` returned, each state where a new one would be."""
            super().load_state_dict(state_dict, move_to_device=False)
            for parameter, state in self.state.items():
                for name, value in state.items():
                    if name in {"state1", "state2"}:
                        state[name] = self._restored(parameter, value)
                    elif isinstance(value, torch.Tensor):
                        state[name] = value.to(parameter.device)

        def _restored(self, parameter: nn.Parameter, value: torch.Tensor) -> torch.Tensor:
            buffer: torch.Tensor = self.get_state_buffer(parameter, dtype=value.dtype)
            _wait_for(parameter.device)  # a kernel fills it with zeros
            return buffer.copy_(value)

    return StaysPaged


def _zeroed(p: torch.Tensor, dtype: torch.dtype) -> torch.Tensor | None:
    """Paged memory of a parameter's shape that nobody uses any more; None: there is none."""
    for number, buffer in enumerate(_paged_and_free):
        if (buffer.shape, buffer.dtype) == (p.shape, dtype):
            _wait_for(p.device)  # whoever had it may still be stepped
            return _paged_and_free.pop(number).zero_()
    return None


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class MuonAdamW(Optimizer):
    """Muon for the groups of kind "matrix", AdamW for the rest, as one optimizer with one state.

    Muon orthogonalises the momentum of a matrix (K. Jordan, 2024). Without `matrix_learning_rate` its
    update is scaled to AdamW's usual size, 0.2 sqrt(max(rows, columns)) (Moonshot, arXiv 2502.16982), so
    that the recipe's learning rate serves both; with it, Muon's original scale is used.
    """

    def __init__(self, groups: Groups, train: Train, device: str) -> None:
        matrices = [group for group in groups if group["kind"] == "matrix"]
        rest = [group for group in groups if group["kind"] != "matrix"]
        scale = "match_rms_adamw" if train.matrix_learning_rate is None else "original"
        self._parts: list[tuple[Optimizer, int, int]] = []
        parts: list[Optimizer] = []
        if matrices:
            parts.append(Muon(matrices, momentum=MUON_MOMENTUM, adjust_lr_fn=scale))
        if rest:
            parts.append(_adamw(rest, train, device))
        super().__init__([group for part in parts for group in part.param_groups], {})
        first = 0
        for part in parts:
            self._parts.append((part, first, first + len(part.param_groups)))
            first += len(part.param_groups)
        self._share()

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter; a closure is not supported."""
        del closure
        for part, _, _ in self._parts:
            part.step()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        super().load_state_dict(dict(state_dict))
        self._share()

    def _share(self) -> None:
        """Makes the parts work on this object's groups and state."""
        for part, first, last in self._parts:
            part.param_groups = self.param_groups[first:last]
            part.state = self.state


def restore_exactly(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Puts the saved tensors back in their own types, after torch's loading cast them to the parameters' types."""
    order = [index for group in state_dict["param_groups"] for index in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, parameter in zip(order, parameters, strict=True):
        for key, value in state_dict["state"].get(index, {}).items():
            if (
                isinstance(value, torch.Tensor)
                and optimizer.state[parameter][key].dtype != value.dtype
            ):
                optimizer.state[parameter][key] = value.detach().clone().to(parameter.device)
