"""The update of a simulated step: an optimizer's states, and what some optimizers make for a moment; trains nothing.

AdamW's kernels and those of bitsandbytes write in place, so that of these there are only the states. Adafactor, Muon, GaLore and
APOLLO are the real ones, stepped on tensors without numbers.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from xtune.kernels.heads import base_model
from xtune.kernels.stream import StreamedLayer, streamed_layers
from xtune.memory import SUBSPACE_RANKS, Workload
from xtune.memory.resident import crossing_bytes
from xtune.memory.workload import STEP_STRETCH
from xtune.recipe.models import Train
from xtune.train.optimizer import build_one

REAL = {"adafactor", "muon", *SUBSPACE_RANKS}
"""Optimizers whose steps have more than states and gradients."""

LEAST_CROSSING = 4096
"""Numbers of a parameter from which on bitsandbytes keeps its states in 8 bits, which cross to the device."""

LEAST_PAGED = 100_000
"""Numbers of a parameter from which on bitsandbytes pages its states."""

SUBSPACE_STEPS = 200
"""Steps after which a subspace is sought anew: at one of these most exists."""


class SimulatedUpdate:
    """An optimizer; its step may fall into the backward pass, or be the processor's."""

    def __init__(self, model: nn.Module, work: Workload) -> None:
        self._trained = [each for each in model.parameters() if each.requires_grad]
        self._work = work
        self._states: list[list[torch.Tensor]] = []
        self._steppers: dict[nn.Parameter, Any] = {}
        self._leaving: deque[torch.Tensor] = deque(maxlen=2)
        """Gradients that are being copied to the host (`xtune.train.piecewise.BUFFERS`): those whose states do not cross."""

        if work.states_place != "host":
            if work.optimizer in REAL:
                self._steppers = _steppers(model, self._trained, work)
            else:
                self._states = [_states(each, work) for each in self._trained]
        if not work.fused_step:
            return
        for parameter in self._trained:
            parameter.register_post_accumulate_grad_hook(self._use)  # type: ignore[no-untyped-call]
        for layer in streamed_layers(model):
            layer.on_gradients = self._use_layer

    def step(self) -> None:
        """Step what has a gradient, and let the gradients go."""
        graded = [each for each in self._trained if each.grad is not None]
        for parameter in graded:
            self._step(parameter)
        for parameter in graded:
            self._let_go(parameter)
        self._leaving.clear()

    def _use(self, parameter: nn.Parameter) -> None:
        self._step(parameter)
        self._let_go(parameter)

    def _step(self, parameter: nn.Parameter) -> None:
        if parameter in self._steppers:
            _take_step(self._steppers[parameter])

    def _let_go(self, parameter: nn.Parameter) -> None:
        gradient, parameter.grad = parameter.grad, None
        assert gradient is not None
        self._take(gradient)

    def _use_layer(
        self,
        _layer: StreamedLayer,
        _parameters: Sequence[nn.Parameter],
        gradients: Sequence[torch.Tensor | None],
    ) -> None:
        for gradient in gradients:
            if gradient is not None:
                self._take(gradient)

    def _take(self, gradient: torch.Tensor) -> None:
        if self._work.clipped:
            torch.linalg.vector_norm(gradient)
        if self._work.states_place != "host":
            return
        stretch = crossing_bytes(self._work)
        if stretch and gradient.numel() >= LEAST_CROSSING:
            # stepped on the device, a stretch at a time
            count = min(gradient.numel(), STEP_STRETCH)
            torch.empty(stretch // STEP_STRETCH * count, dtype=torch.uint8)
        else:
            self._leaving.append(gradient)


def _steppers(
    model: nn.Module, trained: Sequence[nn.Parameter], work: Workload
) -> dict[nn.Parameter, Any]:
    """A real optimizer for each parameter, with its states."""
    base: Any = base_model(model)
    ends = (base.get_input_embeddings(), base.get_output_embeddings())
    tables = {id(each) for end in ends for each in end.parameters()}
    names: dict[str, Any] = {"optimizer": work.optimizer, "learning_rate": 1e-4}
    if work.optimizer in SUBSPACE_RANKS:
        names |= {"subspace_rank": work.subspace_rank, "subspace_steps": SUBSPACE_STEPS}
    train = Train.model_validate(names)
    made: dict[nn.Parameter, Any] = {}
    for parameter in trained:
        is_matrix = parameter.ndim == 2 and id(parameter) not in tables
        group = {
            "params": [parameter], "lr": 1e-4, "lr_scale": 1.0, "weight_decay": 0.0,
            "kind": "matrix" if is_matrix else "rest",
        }  # fmt: skip
        made[parameter] = build_one(work.optimizer, [group], train=train, device="cpu")
        parameter.grad = torch.empty_like(parameter)
        _take_step(made[parameter])
        parameter.grad = None
    return made


def _take_step(optimizer: Any) -> None:
    """One step, at which a subspace is sought anew; what would be looked at as a number is forgotten."""
    for group in optimizer.param_groups:
        if "step" in group:
            group["step"] = SUBSPACE_STEPS - 1
    for state in optimizer.state.values():
        state.pop("scaling_grad", None)
        if "projector" in state:
            state["projector"].last_svd_step = -1
    optimizer.step()


def _states(parameter: torch.Tensor, work: Workload) -> list[torch.Tensor]:
    """Adam's in the type of the parameter, or as bytes with a float32 for every 256 where there are 4,096 of them or more.

    Of bitsandbytes' paged ones what stays on the device: the scales, and all of less than 100,000 numbers.
    """
    name, count = work.optimizer, parameter.numel()
    pages = name.startswith("paged") and count >= LEAST_PAGED
    if name == "adamw":
        return [torch.empty_like(parameter), torch.empty_like(parameter)]
    if name == "paged_adamw" or count < LEAST_CROSSING:
        return [] if pages else [torch.empty(count), torch.empty(count)]
    if name not in {"adamw_8bit", "paged_adamw_8bit"}:
        return []
    numbers = [] if pages else [torch.empty(count, dtype=torch.uint8) for _ in range(2)]
    return [*numbers, *(torch.empty(-(-count // 256)) for _ in range(2))]
