"""How a causal language model ends: its backbone, its head, and what lies between the head and the logits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from xtune.kernels.cross_entropy import LogitTransform
from xtune.kernels.head_slices import sliced_head
from xtune.kernels.weights import weights_of
from xtune.memory.plain_heads import PLAIN_HEADS

__all__ = [
    "PLAIN_HEADS",
    "Head",
    "base_model",
    "compute_device",
    "decoder_layers",
    "find_head",
    "has_hooks",
    "hidden_states",
    "left_out",
    "output_layer",
    "parameter_count",
]


@dataclass(frozen=True, kw_only=True)
class Head:
    """A model taken apart before its logits."""

    backbone: nn.Module
    """Token ids to hidden states (rows, tokens, hidden), the final norm included."""

    layer: nn.Module
    """Hidden states to logits: a plain `nn.Linear`, or one that an adapter or a quantiser replaced."""

    transform: LogitTransform

    norm: nn.Module | None
    """What the backbone ends with, a token at a time; None if it is not known by name."""

    @property
    def is_plain(self) -> bool:
        """Whether the layer is exactly `nn.Linear`, so that its gradient is known in closed form."""
        own = "forward" not in vars(self.layer)
        return own and type(self.layer) is nn.Linear and not has_hooks(self.layer)


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody hooked into the module's forward, so that going around it would lose something."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def base_model(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside a PEFT model; any other model as it is.

    Raises:
        TypeError: It is neither.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    if not isinstance(inner, PreTrainedModel):
        raise TypeError(f"expected a transformers model, found {type(inner).__name__}")
    return inner


def decoder_layers(model: nn.Module) -> list[nn.Module]:
    """The decoder layers of a transformers model, with or without an adapter, in the order of its modules."""
    backbone = base_model(model).base_model
    return [each for each in backbone.modules() if isinstance(each, GradientCheckpointingLayer)]


def compute_device(model: nn.Module) -> torch.device:
    """Where a model computes: the device of its parameters, some of which may wait in host memory, or of a layer's slot."""
    devices = [parameter.device for parameter in model.parameters()]
    devices += filter(None, (weights_of(each).device for each in model.modules()))
    return next((each for each in devices if each.type != "cpu"), torch.device("cpu"))


def parameter_count(model: nn.Module) -> int:
    """Numbers in a model's weights, each matrix once: quantised ones unpacked, and those that are no parameters."""
    weights: dict[int, int] = {}
    for module in model.modules():
        head = sliced_head(module)
        outside = vars(module).get("weight")
        if head is not None:
            shared = isinstance(outside, torch.Tensor) and outside.numel() > 0
            weights[id(outside) if shared else id(head)] = head.matrix.vocab * head.matrix.hidden
        elif isinstance(outside, torch.Tensor):
            weights[id(outside)] = outside.numel()
        for parameter in module.parameters(recurse=False):
            state = getattr(parameter, "quant_state", None)
            weights[id(parameter)] = (parameter if state is None else state).shape.numel()
    return sum(weights.values())


def output_layer(model: PreTrainedModel) -> nn.Module | None:
    """The layer that makes logits of hidden states; None for a model without one."""
    typed: Any = model  # transformers leaves the method untyped
    layer = typed.get_output_embeddings()
    return layer if isinstance(layer, nn.Module) else None


def find_head(model: nn.Module) -> Head | None:
    """The parts of a model whose type is in `PLAIN_HEADS`; None for any other."""
    base = base_model(model)
    if base.config.model_type not in PLAIN_HEADS:
        return None
    backbone, layer = base.base_model, output_layer(base)
    if backbone is base or layer is None:
        return None
    return Head(
        backbone=backbone, layer=layer, transform=_transform(base), norm=_last_norm(backbone)
    )


_LAST_NORMS = ("norm", "ln_f", "final_layernorm", "final_layer_norm", "final_norm")


def _last_norm(backbone: nn.Module) -> nn.Module | None:
    language = getattr(backbone, "language_model", backbone)  # beside a half that reads pictures
    for name in _LAST_NORMS:
        if isinstance(norm := getattr(language, name, None), nn.Module) and not has_hooks(norm):
            return norm
    return None


@contextmanager
def left_out(module: nn.Module) -> Iterator[None]:
    """While it lasts, the module gives back what it is given."""
    module.forward = _as_it_is
    try:
        yield
    finally:
        del module.forward


def _as_it_is(hidden: torch.Tensor) -> torch.Tensor:
    return hidden


def _transform(base: PreTrainedModel) -> LogitTransform:
    config = base.config
    scale = 1.0
    if (divisor := getattr(config, "logits_scaling", None)) is not None:  # Granite
        scale = 1.0 / float(divisor)
    if (factor := getattr(config, "logit_scale", None)) is not None and hasattr(
        base, "logit_scale"
    ):
        scale = float(factor)  # Cohere
    softcap = getattr(config, "final_logit_softcapping", None)  # Gemma 2
    return LogitTransform(scale=scale, softcap=None if softcap is None else float(softcap))


def hidden_states(backbone: nn.Module, input_ids: torch.Tensor, **options: object) -> torch.Tensor:
    """The backbone's last hidden states (rows, tokens, hidden).

    Raises:
        TypeError: The backbone returned none.
    """
    output = backbone(input_ids=input_ids, **options)
    states = output.last_hidden_state
    if not isinstance(states, torch.Tensor):
        raise TypeError(f"{type(backbone).__name__} returned no hidden states")
    return states
