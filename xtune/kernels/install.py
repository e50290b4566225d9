"""Puts frugal layers into a model, each compared with the layer it replaces before it is trusted. Computes no loss."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from xtune.kernels.attention import NAME, UnsupportedAttentionError
from xtune.kernels.frugal import FrugalLayer, FrugalSettings
from xtune.kernels.heads import (
    base_model,
    compute_device,
    decoder_layers,
    find_head,
    hidden_states,
    left_out,
)
from xtune.kernels.lifted import NoAttentionError
from xtune.kernels.replay import argument_names, by_name, first
from xtune.kernels.shelf import DeviceShelf, Shelf
from xtune.kernels.shelved import ShelvedLayer, make_shelved
from xtune.kernels.weights import weights_of

SAMPLE_TOKENS = (13, 8)
"""Lengths of the two samples of the packed row that the probe runs: longer than a tile, and no multiple of it."""

TILE_TOKENS = 5

TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 6e-2, torch.float16: 1e-2, torch.float64: 1e-8}
"""Of the largest number. Tiles change the rounding; what a layer does wrong changes numbers by their own size."""


@dataclass(frozen=True)
class Installed:
    """What became of a model's layers."""

    frugal: int
    """Layers that run tile by tile."""

    plain: Counter[str]
    """Layers that are computed again as a whole, by the reason."""

    tail: bool
    """Whether the loss may take the last norm and the head a tile at a time (`LossModule.tile_tokens`)."""


def make_frugal(
    model: nn.Module,
    settings: FrugalSettings,
    shelf: Shelf | None = None,
    *,
    prove: bool = True,
) -> Installed:
    """Let every decoder layer that can run tile by tile; the others only keep nothing but their input.

    The attention of the whole model becomes `xtune.kernels.attention`'s, if it can. A layer is trusted when its
    output and its gradients on a packed row equal those of its own forward; this costs each layer two passes over 21
    tokens. Without `prove` it is taken on trust, as where tensors have shapes and no numbers.
    """
    base = base_model(model)
    before = base.config._attn_implementation
    untyped: Any = base
    untyped.set_attn_implementation(NAME)
    shelf = shelf or DeviceShelf()
    reasons: Counter[str] = Counter()
    try:
        calls = _calls(model)
    except UnsupportedAttentionError as error:
        untyped.set_attn_implementation(before)
        return Installed(
            frugal=0, plain=Counter({str(error): make_shelved(model, shelf)}), tail=False
        )
    if not prove:
        for layer, call in calls:
            frugal = FrugalLayer(layer, layer.forward, settings, shelf)
            with weights_of(layer).here(backward=False):
                frugal.lifted.learn_projections(call.hidden, call.arguments)
            layer.forward = frugal
        return Installed(frugal=len(calls), plain=Counter(), tail=True)
    for layer, call in calls:
        with weights_of(layer).here(backward=False):
            reason = _install(layer, call, settings, shelf)
        if reason:
            layer.forward = ShelvedLayer(layer, layer.forward, shelf)
            reasons[reason] += 1
    tail = bool(calls) and not reasons and ends_with_norm(model)
    return Installed(frugal=len(calls) - reasons.total(), plain=reasons, tail=tail)


def ends_with_norm(model: nn.Module) -> bool:
    """Whether the backbone's hidden states are its last norm, as known by name, of what its layers give."""
    head = find_head(model)
    if head is None or head.norm is None:
        return False
    ids, positions = _packed_row(model)
    options = {"position_ids": positions, "use_cache": False}
    with _evaluating(model), torch.no_grad():
        expected = hidden_states(head.backbone, ids, **options)
        with left_out(head.norm):
            before = hidden_states(head.backbone, ids, **options)
        return torch.equal(head.norm(before), expected)


@dataclass(frozen=True)
class _Sample:
    """What a layer was called with in the probe."""

    hidden: torch.Tensor
    arguments: dict[str, Any]


def _calls(model: nn.Module) -> list[tuple[nn.Module, _Sample]]:
    """Every decoder layer with the arguments it has in a forward pass over one packed row."""
    base = base_model(model)
    ids, positions = _packed_row(model)
    calls: list[tuple[nn.Module, _Sample]] = []

    def note(layer: nn.Module, given: tuple[Any, ...], arguments: dict[str, Any]) -> None:
        calls.append((layer, _Sample(*by_name(argument_names(layer.forward), given, arguments))))

    hooks = [
        layer.register_forward_pre_hook(note, with_kwargs=True) for layer in decoder_layers(model)
    ]
    try:
        with _evaluating(base), torch.no_grad():
            hidden_states(base.base_model, ids, position_ids=positions, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _packed_row(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and positions of two samples in a row, (1, tokens) each."""
    base = base_model(model)
    device = compute_device(base)
    vocab = base.config.get_text_config().vocab_size
    ids = torch.arange(sum(SAMPLE_TOKENS))[None].to(device) % vocab
    positions = torch.cat([torch.arange(each) for each in SAMPLE_TOKENS])[None].to(device)
    return ids, positions


def _install(layer: nn.Module, call: _Sample, settings: FrugalSettings, shelf: Shelf) -> str | None:
    """Give a layer its frugal forward; returns the reason if it cannot have one."""
    name, plain = type(layer).__name__, layer.forward
    probe = FrugalLayer(layer, plain, FrugalSettings(tile_tokens=TILE_TOKENS), DeviceShelf())
    reason = ""
    with _evaluating(layer):
        expected = _outcome(layer, plain, call)
        for learn in (True, False):
            try:
                if learn:
                    probe.lifted.learn_projections(call.hidden, call.arguments)
                else:
                    probe.lifted.forget_projections()
                found = _outcome(layer, probe, call)
            except NoAttentionError as error:
                return str(error)
            except (RuntimeError, TypeError, ValueError) as error:
                reason = f"{name} cannot be run in parts: {str(error).splitlines()[0]}"
                continue
            if _equal(expected, found):
                frugal = FrugalLayer(layer, plain, settings, shelf, lifted=probe.lifted)
                with torch.no_grad():
                    frugal.rest.note(plain(call.hidden, **call.arguments))
                layer.forward = frugal
                return None
            reason = f"{name} gives another result when it is run in parts"
    return reason


def _outcome(
    layer: nn.Module, forward: Callable[..., Any], call: _Sample
) -> list[torch.Tensor | None]:
    """A layer's output, and its gradients by the hidden states and every trained parameter."""
    hidden = call.hidden.detach().requires_grad_()
    with torch.enable_grad():
        output = first(forward(hidden, **call.arguments))
    trained = [each for each in layer.parameters() if each.requires_grad]
    slope = torch.linspace(-1.0, 1.0, output.numel(), device=output.device).view_as(output)
    with weights_of(layer).listening() as taken:
        of_hidden, *gradients = torch.autograd.grad(
            output, (hidden, *trained), slope.to(output.dtype), allow_unused=True
        )
    of_trained = (taken.get(each, g) for each, g in zip(trained, gradients, strict=True))
    return [output.detach(), of_hidden, *of_trained]


def _equal(expected: list[torch.Tensor | None], found: list[torch.Tensor | None]) -> bool:
    # float32 gradients behind bfloat16 products are as exact as those
    dtypes = [each.dtype for each in expected if each is not None]
    tolerance = max(TOLERANCES.get(each, 6e-2) for each in dtypes)
    return all(_close(one, other, tolerance) for one, other in zip(expected, found, strict=True))


def _close(expected: torch.Tensor | None, found: torch.Tensor | None, tolerance: float) -> bool:
    if expected is None or found is None:
        return expected is None and found is None
    scale = expected.abs().max()
    return bool((expected - found).abs().max() <= tolerance * scale)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Without dropout; `train()` and `eval()` are not used, which some models do more in than they say."""
    training = [each for each in module.modules() if each.training]
    for each in training:
        each.training = False
    try:
        yield
    finally:
        for each in training:
            each.training = True
