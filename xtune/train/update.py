"""From gradients to new weights: unscaled, measured, clipped, stepped, freed; after the backward pass, or within it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from xtune.adapter.groups import parameter_groups
from xtune.kernels.stream import StreamedLayer, streamed_layers
from xtune.plan import Plan
from xtune.train.optimizer import build_optimizer
from xtune.train.piecewise import PiecewiseOptimizer

SMALL_STATE = 4096
"""Numbers of a state that optimizers may leave where it is, whatever the device: counts of steps, say."""


class Update:
    """The optimizer of a run, and what is done to the gradients before and after its step."""

    def __init__(self, model: nn.Module, plan: Plan, device: torch.device) -> None:
        resting = [p for layer in streamed_layers(model) for p in layer.moving() if p.requires_grad]
        self.optimizer = build_optimizer(parameter_groups(model, plan), plan, resting)
        self.scaler = torch.amp.GradScaler(device.type, enabled=plan.loss_scaling.value)
        self.is_halfway = False
        """Whether some weights may be those of the next step already: after an error there is no going on with them."""

        self._states_on_host = device.type == "cpu" or plan.optimizer_states.value == "host"
        self._limit = plan.recipe.train.max_grad_norm
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]

    def passes(self) -> Iterator[None]:
        """Once for each time that all gradients of a step have to be computed."""
        yield

    def set_learning_rate(self, factor: float) -> None:
        """Set every group's rate to its peak times a factor."""
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor

    def clip(self) -> float:
        """Bring the gradients of all parameters under the recipe's norm; returns the norm they had."""
        self.scaler.unscale_(self.optimizer)
        limit = math.inf if self._limit is None else self._limit
        return float(torch.nn.utils.clip_grad_norm_(self._parameters, limit))

    def step(self) -> None:
        """Take the optimizer's step, unless a scaled gradient overflowed, and free the gradients."""
        self.is_halfway = True
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.free()
        self.is_halfway = False

    def free(self) -> None:
        """Let the gradients go."""
        self.optimizer.zero_grad(set_to_none=True)

    def let_go(self) -> None:
        """Free the optimizer's states: training is over, and they are in the last checkpoint."""
        self.free()
        self.optimizer.state.clear()
        if isinstance(self.optimizer, PiecewiseOptimizer):
            self.optimizer.let_go()

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned, mapped from a file or not; the weights are restored already."""
        most = math.inf if self._states_on_host else SMALL_STATE
        self.optimizer.load_state_dict(_owned(state_dict["optimizer"], most))
        self.scaler.load_state_dict(state_dict["scaler"])


def _owned(state: Any, most: float) -> Any:
    """A state whose tensors of up to so many numbers are copies: a run's states must not be pages of a file, which may go."""
    if isinstance(state, torch.Tensor):
        return state.clone() if state.numel() <= most else state
    if isinstance(state, Mapping):
        return {name: _owned(value, most) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_owned(value, most) for value in state)
    return state


class FusedUpdate(Update):
    """Steps each parameter as soon as its gradient is there, and frees the gradient (LOMO, arXiv 2306.09782).

    Clipping needs the norm of all gradients before the first step: with `train.max_grad_norm` they are computed twice,
    measured and thrown away the first time. Without it once, and a gradient that is not finite is found only when the
    weights have changed; the run then ends, and its checkpoints are whole.
    """

    def __init__(self, model: nn.Module, plan: Plan, device: torch.device) -> None:
        super().__init__(model, plan, device)
        assert isinstance(self.optimizer, PiecewiseOptimizer)
        self._piecewise = self.optimizer
        self._norms: dict[nn.Parameter, torch.Tensor] = {}
        self._coefficient: torch.Tensor | None = None
        self._stepping = False
        for parameter in self._parameters:
            parameter.register_post_accumulate_grad_hook(self._use)  # type: ignore[no-untyped-call]
        for layer in streamed_layers(model):
            layer.on_gradients = self._use_layer

    def passes(self) -> Iterator[None]:
        """Twice with clipping, else once."""
        self._norms, self._coefficient, self._stepping = {}, None, False
        if self._limit is not None:
            yield
            norm = self._norm()
            if not math.isfinite(norm):
                return
            # as in torch.nn.utils.clip_grad_norm_
            self._coefficient = torch.clamp(self._limit / (norm + 1e-6), max=1.0)
        self._stepping = self.is_halfway = True
        yield

    def clip(self) -> float:
        """The norm that the gradients had."""
        return float(self._norm())

    def step(self) -> None:
        """Wait until all is done."""
        self._piecewise.finish()
        self.is_halfway = False

    def _norm(self) -> torch.Tensor:
        norms = [self._norms[each] for each in self._parameters if each in self._norms]
        norm: torch.Tensor = torch.linalg.vector_norm(torch.stack(norms))
        return norm

    def _use(self, parameter: nn.Parameter) -> None:
        gradient, parameter.grad = parameter.grad, None
        if gradient is not None:
            self._take(parameter, gradient)

    def _use_layer(
        self,
        layer: StreamedLayer,
        parameters: Sequence[nn.Parameter],
        gradients: Sequence[torch.Tensor | None],
    ) -> None:
        """Gradients of a layer that goes back to host memory, which autograd does not get."""
        del layer
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                self._take(parameter, gradient)

    @torch.no_grad()
    def _take(self, parameter: nn.Parameter, gradient: torch.Tensor) -> None:
        if self._coefficient is None:
            self._norms[parameter] = torch.linalg.vector_norm(gradient)
        else:
            gradient.mul_(self._coefficient)
        if self._stepping:
            self._piecewise.step_one(parameter, gradient)


def make_update(model: nn.Module, plan: Plan, device: torch.device) -> Update:
    """The update that a plan wants."""
    return (FusedUpdate if plan.fused_step.value else Update)(model, plan, device)
