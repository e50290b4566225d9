"""A model's logits with one layer in memory at a time, read when its turn comes. Trains and generates nothing."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers.core_model_loading import convert_and_load_state_dict_in_model
from transformers.modeling_utils import LoadStateDictConfig

from xtune.adapter.skeleton import Skeleton, wrapped_tensors
from xtune.errors import ModelError
from xtune.kernels.heads import output_layer
from xtune.models.allocator import give_back_memory
from xtune.models.quiet import quiet

Read = Callable[[str], torch.Tensor]
"""Gives a tensor of the files in float32."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Token sequences on which two models are compared."""

    rows: Sequence[Sequence[int]]
    """Each begins where a text does."""

    positions: Sequence[tuple[int, int]]
    """Row and token at which logits are looked at."""


@torch.no_grad()
def streamed_logits(
    skeleton: Skeleton, read: Read, probe: Probe, *, adapted: PeftModel | None = None
) -> torch.Tensor:
    """The logits of a model, all computed in float32.

    Args:
        skeleton: The model; it is as it was afterwards.
        read: Reads its tensors.
        probe: The tokens. Shorter rows are filled up at their end, which nothing before it sees.
        adapted: A model of the same kind, on another skeleton, with an adapter.

    Returns:
        Logits, (positions, vocabulary).

    Raises:
        ModelError: They are not finite.
    """
    model: Any = skeleton.model if adapted is None else adapted.get_base_model()
    names = skeleton.model.state_dict()
    places = (
        {name: _place(skeleton.model, name) for name in names}
        if adapted is None
        else wrapped_tensors(adapted, names)
    )
    hooks = []
    for owner, tensors in skeleton.parts().items():
        module = model.get_submodule(owner)
        held = {name: places[name] for name in tensors if name in places}
        fill = partial(_fill, skeleton, read, held)
        hooks.append(module.register_forward_pre_hook(lambda *_, fill=fill: fill()))
        hooks.append(module.register_forward_hook(lambda *_, held=held: _empty(held)))
    head = output_layer(skeleton.model)
    name = next((path for path, each in skeleton.model.named_modules() if each is head), None)
    width = max(len(row) for row in probe.rows)
    ids = torch.zeros(len(probe.rows), width, dtype=torch.long)  # (rows, tokens)
    for place, row in enumerate(probe.rows):
        ids[place, : len(row)] = torch.tensor(row, dtype=torch.long)
    rows, tokens = (torch.tensor(each) for each in zip(*probe.positions, strict=True))
    if name is not None:
        # (rows, tokens, hidden) -> (1, positions, hidden): a head is the largest layer there is
        select = lambda _, inputs: (inputs[0][rows, tokens][None], *inputs[1:])  # noqa: E731
        hooks.append(model.get_submodule(name).register_forward_pre_hook(select))
    try:
        logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits
    finally:
        for hook in hooks:
            hook.remove()
    found = logits[0] if name is not None else logits[rows, tokens]  # (positions, vocabulary)
    if not torch.isfinite(found).all():
        raise ModelError(
            "The model's logits on a probe text are not finite.", advice="Do not use it."
        )
    return found.float()


def _place(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    owner, _, last = name.rpartition(".")
    return model.get_submodule(owner), last


def _fill(skeleton: Skeleton, read: Read, held: Mapping[str, tuple[nn.Module, str]]) -> None:
    """Give the tensors of a part their values."""
    values = load_tensors(
        skeleton, read, [name for name, (m, last) in held.items() if _lacks(m, last)]
    )
    for name, value in values.items():
        module, last = held[name]
        _set(module, last, value)


def _empty(held: Mapping[str, tuple[nn.Module, str]]) -> None:
    for module, last in held.values():
        if last in module._parameters:
            kept = module._parameters[last]
            if kept is not None and getattr(kept, "from_files", False):
                _set(module, last, torch.empty_like(kept, device="meta"))
    give_back_memory()


def _lacks(module: nn.Module, last: str) -> bool:
    """Whether a value is to be read: what an adapter brings with it is not."""
    parameter = module._parameters.get(last)
    return parameter.is_meta if parameter is not None else last in module._buffers


def _set(module: nn.Module, last: str, value: torch.Tensor) -> None:
    if last in module._parameters:
        parameter = nn.Parameter(value, requires_grad=False)
        vars(parameter)["from_files"] = not value.is_meta
        module._parameters[last] = parameter
    else:
        module._buffers[last] = value


def load_tensors(skeleton: Skeleton, read: Read, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Tensors of a model from those in its files, in float32; rows that a grown vocabulary adds are 0.

    Raises:
        ModelError: The files hold one in another shape.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in skeleton.model.state_dict().items()}
    values: dict[str, torch.Tensor] = {}
    joined: list[str] = []
    for name in names:
        keys = skeleton.sources(name)
        if keys and keys[0] not in skeleton.joined:
            values[name] = _padded(read(keys[0]), shapes[name], keys[0])
        else:
            joined.append(name)
    if joined:
        values |= _join(skeleton, read, joined)
    return values


def _join(skeleton: Skeleton, read: Read, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Tensors that transformers makes of several, or several of one."""
    keys, beside = _keys_of(skeleton, names)
    if not keys:
        return {}
    model = skeleton.model
    with quiet():
        convert_and_load_state_dict_in_model(
            model=model,
            state_dict={key: read(key) for key in keys},
            load_config=LoadStateDictConfig(
                dtype=torch.float32,
                weight_mapping=deepcopy(list(skeleton.rules)),
                device_map={"": "cpu"},
                ignore_mismatched_sizes=True,
            ),
        )
    made = {}
    for name in dict.fromkeys([*names, *beside]):
        module, last = _place(model, name)
        parameter = module._parameters.get(last)
        if parameter is not None and not parameter.is_meta:
            if name in names:
                made[name] = parameter.data
            _set(module, last, torch.empty_like(parameter, device="meta"))
    return made


def _keys_of(skeleton: Skeleton, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files' tensors that these are made of, and what else is made of them on the way."""
    owners = {name.rpartition(".")[0] for name in names}
    keys = [
        key
        for key in skeleton.joined
        if skeleton.targets[key] in names or skeleton.targets[key].rpartition(".")[0] in owners
    ]
    found = {skeleton.targets[key].rpartition(".")[0] for key in keys}
    if owners <= found:
        return keys, []
    # of several that are cut out of one only the first is named: the others are somewhere in its layer
    parts = [part for part in skeleton.parts().values() if not set(part).isdisjoint(names)]
    beside = [name for part in parts for name in part if name not in names]
    both = {*names, *beside}
    return [key for key in skeleton.joined if skeleton.targets[key] in both], beside


def _padded(tensor: torch.Tensor, shape: tuple[int, ...], name: str) -> torch.Tensor:
    if tuple(tensor.shape) == shape:
        return tensor
    grown = tensor.ndim == len(shape) and tuple(tensor.shape[1:]) == shape[1:]
    if not grown or tensor.shape[0] > shape[0]:
        raise ModelError(
            f"{name} is {tuple(tensor.shape)} in the base's files; its config.json says {shape}.",
            advice="Its config.json and its weights do not belong together.",
        )
    rows = shape[0] - tensor.shape[0]
    return torch.cat([tensor, tensor.new_zeros(rows, *shape[1:])])
