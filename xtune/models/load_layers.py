"""Reads a model's weights one decoder layer at a time: quantised and handed on before the next is read. Plans nothing.

transformers reads, renames, merges and quantises; here its keys are only put in order: what is outside the layers first,
then layer after layer. Files are read, not mapped, so that the host never holds more than one layer unquantised.
"""

import inspect
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import torch
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    convert_and_load_state_dict_in_model,
    rename_source_key,
)
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.pytorch_utils import Conv1D

from xtune.models.allocator import give_back_memory

log = logging.getLogger("xtune")

OnLayer: TypeAlias = Callable[[int, nn.Module], None]
"""Called with a decoder layer's index and the layer as soon as all its weights are on the device, before the next is
read. It may take the weights away."""

_LAYER = re.compile(r"^(.*?\.\d+)\.")
"""A tensor's name up to the first number: `model.layers.3` of `model.layers.3.mlp.up_proj.weight`."""

_READS = "_load_pretrained_model"
_ARGUMENTS = ["model", "state_dict", "checkpoint_files", "load_config", "expected_keys"]
"""Method of `PreTrainedModel`, and its arguments, that reads weight files into a model (transformers 5.17 to 5.23)."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How weights are read."""

    on_layer: OnLayer | None = None
    host_embeddings: bool = False
    """Whether the embedding matrix stays in host memory."""

    host_head: bool = False
    """Whether the head's matrix stays in host memory."""

    def host_modules(self, model: PreTrainedModel) -> list[str]:
        """Names of the modules whose weights stay in host memory."""
        untyped: Any = model
        wanted = [untyped.get_input_embeddings()] if self.host_embeddings else []
        wanted += [untyped.get_output_embeddings()] if self.host_head else []
        return [name for name, each in model.named_modules() if any(each is one for one in wanted)]


@contextmanager
def layer_by_layer(reading: Reading) -> Iterator[bool]:
    """While it lasts, `from_pretrained` reads safetensors one decoder layer at a time.

    Yields:
        Whether it does. Where transformers' own reading is not the one that this was written against, it stays as it is,
        which is said; `hand_on` then serves whoever wants the layers.
    """
    original = inspect.getattr_static(PreTrainedModel, _READS, None)
    function = getattr(original, "__func__", None)
    if function is None or list(inspect.signature(function).parameters) != _ARGUMENTS:
        log.warning("This transformers reads weights in a way unknown here: all layers at once.")
        yield False
        return

    def read(
        model: PreTrainedModel,
        state_dict: dict[str, Any] | None,
        checkpoint_files: list[str] | None,
        load_config: Any,
        expected_keys: list[str] | None = None,
    ) -> tuple[Any, Any]:
        files = checkpoint_files or []
        if state_dict is not None or not all(str(file).endswith(".safetensors") for file in files):
            return function(model, state_dict, files, load_config, expected_keys)  # type: ignore[no-any-return]
        return _read(model, files, load_config, reading), None

    setattr(PreTrainedModel, _READS, staticmethod(read))
    try:
        yield True
    finally:
        setattr(PreTrainedModel, _READS, original)


def hand_on(model: PreTrainedModel, on_layer: OnLayer) -> None:
    """Hand on the decoder layers of a model that was read as a whole."""
    layers = [each for each in model.modules() if isinstance(each, GradientCheckpointingLayer)]
    for index, layer in enumerate(layers):
        on_layer(index, layer)


def _read(model: PreTrainedModel, files: Sequence[str], settings: Any, reading: Reading) -> Any:
    """Every part of the model in turn; returns transformers' account of what was missing or did not fit."""
    places = _Places(files)
    host = dict.fromkeys(reading.host_modules(model), "cpu")
    ends = replace(settings, device_map={**(settings.device_map or {"": "cpu"}), **host})
    account = None
    layers = 0
    quantizer = settings.hf_quantizer
    quantises = quantizer is not None and not quantizer.pre_quantized
    for name, keys in _parts(model, places.keys(), settings.weight_mapping or []).items():
        with places.opened(keys) as tensors:
            misfits = _misfits(model, keys, tensors) if quantises else set()
            part, _ = convert_and_load_state_dict_in_model(
                model=model, state_dict=tensors, load_config=settings if name else ends
            )
        part.mismatched_keys |= misfits
        account = part if account is None else _joined(account, part)
        give_back_memory()
        layer = model.get_submodule(name) if name else None
        if isinstance(layer, GradientCheckpointingLayer):
            is_whole = not misfits and not any(each.is_meta for each in _stored(layer))
            if reading.on_layer is not None and is_whole:
                reading.on_layer(layers, layer)
                _mark_read(layer)
            layers += 1
    return account


def _misfits(
    model: PreTrainedModel, keys: Mapping[str, str], tensors: Mapping[str, Any]
) -> set[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """Tensors to be quantised that have another shape in the files; transformers quantises them unseen (5.23)."""
    found = set()
    for key, name in keys.items():
        owner, _, last = name.rpartition(".")
        module: Any = model.get_submodule(owner) if name else None
        kind = getattr(module, "source_cls", None)  # of layers that were put in to be quantised
        if kind is None:
            continue
        expected, shape = tuple(getattr(module, last).shape), tuple(tensors[key].get_shape())
        turned = (
            issubclass(kind, Conv1D) and shape == expected[::-1]
        )  # (inputs, outputs) in the files
        if shape != expected and not turned:
            found.add((name, shape, expected))
    return found


def _stored(layer: nn.Module) -> Iterator[torch.Tensor]:
    """What of a layer comes from files: parameters, and buffers that are stored with them."""
    yield from layer.parameters()
    for module in layer.modules():
        unstored = module._non_persistent_buffers_set
        yield from (
            each for name, each in module.named_buffers(recurse=False) if name not in unstored
        )


def _mark_read(layer: nn.Module) -> None:
    """Keep transformers from filling with random numbers what it does not find where it put it."""
    for tensor in _stored(layer):
        tensor._is_hf_initialized = True  # type: ignore[attr-defined]
    for module in layer.modules():
        if not module._non_persistent_buffers_set:  # those it must still compute
            untyped: Any = module
            untyped._is_hf_initialized = True


class _Places:
    """Where each tensor of a model is."""

    def __init__(self, files: Sequence[str]) -> None:
        self._file: dict[str, str] = {}
        for file in files:
            with safe_open(file, framework="pt") as opened:
                self._file.update(dict.fromkeys(opened.keys(), file))

    def keys(self) -> Collection[str]:
        """Names of all tensors."""
        return self._file.keys()

    @contextmanager
    def opened(self, keys: Collection[str]) -> Iterator[dict[str, Any]]:
        """The tensors by name, none of them read yet; each is read when it is indexed."""
        by_file: defaultdict[str, list[str]] = defaultdict(list)
        for key in keys:
            by_file[self._file[key]].append(key)
        with ExitStack() as stack:
            tensors: dict[str, Any] = {}
            for file, names in by_file.items():
                opened = stack.enter_context(safe_open(file, framework="pt", backend="pread"))
                tensors.update({name: _Unread(opened, name) for name in names})
            yield tensors


class _Unread:
    """A tensor in a file, as transformers takes it: like a slice of safetensors', but read without a second copy.

    A slice of a file that is read and not mapped has all its bytes twice for a moment (safetensors 0.8): of a table, gigabytes.
    """

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name = file, name
        self._slice: Any = file.get_slice(name)

    def __getitem__(self, part: Any) -> torch.Tensor:
        found: torch.Tensor = (
            self._file.get_tensor(self._name) if part is Ellipsis else self._slice[part]
        )
        return found

    def get_shape(self) -> list[int]:
        """Its shape."""
        shape: list[int] = self._slice.get_shape()
        return shape

    def get_dtype(self) -> str:
        """Its type in safetensors' words."""
        dtype: str = self._slice.get_dtype()
        return dtype


def _parts(
    model: PreTrainedModel, keys: Collection[str], mapping: Sequence[Any]
) -> Mapping[str, dict[str, str]]:
    """The files' keys by the name of the layer that they go into, in the layers' order; "" for all others, first.

    Each with the tensor that it becomes, "" where several are made into one: tensors which are merged stay together.
    """
    rules = deepcopy(list(mapping))  # some of them remember what they saw
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
    modules = {name for name, _ in model.named_modules()}
    own = model.state_dict()
    parts: dict[str, dict[str, str]] = {"": {}}
    for key in sorted(keys, key=_natural):
        renamed, merged = rename_source_key(
            key, renamings, converters, model.base_model_prefix, own
        )
        if renamed not in own and key in own:
            renamed, merged = key, None
        match = _LAYER.match(renamed)
        name = match[1] if match and match[1] in modules else ""
        whole = merged is None and renamed in own
        parts.setdefault(name, {})[key] = renamed if whole else ""
    return parts


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]


def _joined(account: Any, part: Any) -> Any:
    """The account of two readings; a tensor is missing if it was missing from both."""
    for field in fields(account):
        one, other = getattr(account, field.name), getattr(part, field.name)
        if field.name == "missing_keys":
            one &= other
        elif isinstance(one, list):
            one += other
        else:
            one.update(other)
    return account
