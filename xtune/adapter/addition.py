"""What a base's tensors become when an adapter is added to them, one file's tensor at a time, in float32. It writes no file."""

from collections.abc import Mapping
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from xtune.adapter.rounding import Source
from xtune.adapter.skeleton import Skeleton, adapted_by, plain_name, wrapped_tensors
from xtune.adapter.streamed import load_tensors
from xtune.errors import ModelError
from xtune.models.allocator import give_back_memory


class Addition:
    """Base and adapter added, by PEFT's own rule for each kind of layer: LoRA, rsLoRA, DoRA, experts, trained rows, whole modules.

    A layer's weights are in memory while it is added, and those of no other.
    """

    def __init__(
        self, skeleton: Skeleton, adapted: PeftModel, source: Source, *, quantised: bool
    ) -> None:
        """Prepare.

        Args:
            skeleton: The base without weights or adapter.
            adapted: The base without weights, on a skeleton of its own, with the adapter.
            source: The base's files.
            quantised: Add to what quantisation left of the weights.

        """
        self._skeleton, self._source, self._quantised = skeleton, source, quantised
        self._places = wrapped_tensors(adapted, skeleton.model.state_dict())
        self._paths = _outermost(adapted)
        by_path = {id(module): path for path, module in self._paths.items()}
        self._adapter: dict[str, str] = {}
        """The base's tensors to the path of what PEFT put around their owner."""
        for name in self._places:
            module = adapted_by(adapted, name)
            if module is not None:
                self._adapter[name] = by_path[id(module)]
        self._used: set[str] = set()
        self._held: tuple[str, dict[str, torch.Tensor]] = ("", {})
        self._shapes = {
            name: tuple(tensor.shape) for name, tensor in skeleton.model.state_dict().items()
        }
        self._single = {
            target: key for key, target in skeleton.targets.items() if key not in skeleton.joined
        }
        self._parts = {name: part for part, names in skeleton.parts().items() for name in names}
        self.untied = self._untied()
        """Tensors that the base shares with others and the merged model does not: name to the files' tensor."""

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of a files' tensor in the merged model: a grown vocabulary has more rows."""
        if key in self._skeleton.targets and key not in self._skeleton.joined:
            return self._shapes[self._skeleton.targets[key]]
        return self._source.shape(key)

    def changes(self, key: str) -> bool:
        """Whether a files' tensor is another one in the merged model."""
        if self._source.is_stored_quantised(key) or self.shape(key) != self._source.shape(key):
            return True
        if self._quantised and key in self._source.rounded:
            return True
        if key in self._skeleton.joined:
            return any(
                self._parts.get(name) == self._part_of(key) for name in self._joined_and_adapted()
            )
        name = self._skeleton.targets.get(key)
        return name is not None and (name in self._adapter or self._brought(name) is not None)

    def value(self, key: str) -> torch.Tensor:
        """A files' tensor in the merged model, in float32."""
        if key in self._skeleton.joined:
            return self._pieces(self._part_of(key))[key]
        return self.tensor(self._skeleton.targets[key])

    def tensor(self, name: str) -> torch.Tensor:
        """One of the model's tensors in the merged model, in float32."""
        path = self._adapter.get(name)
        if path is None:
            brought = self._brought(name)
            if brought is not None:
                return brought
            return load_tensors(self._skeleton, self.read, [name])[name]
        if self._held[0] != path:
            names = [each for each, other in self._adapter.items() if other == path]
            self._held = ("", {})
            give_back_memory()
            base = load_tensors(self._skeleton, self.read, self._lacking(names))
            self._held = (path, self._added(path, names, base))
        return self._held[1][name]

    def read(self, key: str) -> torch.Tensor:
        """A files' tensor of the base, in float32."""
        return self._source.read(key, quantised=self._quantised)

    def check_used(self) -> None:
        """Refuse to have left out a part of the adapter.

        Raises:
            ModelError: No tensor of the files belongs to a part of it.
        """
        left = sorted(set(self._paths) - self._used)
        if left:
            raise ModelError(
                f"The base's files hold nothing for {len(left)} of the {len(self._paths)} parts of the adapter, {left[0]} among them.",
                advice="Merge with `merge_and_unload` of PEFT, with the whole model in memory.",
            )

    def _brought(self, name: str) -> torch.Tensor | None:
        """A tensor that the adapter brings whole, in the base's own place: a bias, say."""
        module, last = self._places.get(name, (None, ""))
        parameter = None if module is None else module._parameters.get(last)
        return None if parameter is None or parameter.is_meta else parameter.data

    def _lacking(self, names: list[str]) -> list[str]:
        """Those whose values the adapter does not bring with it."""
        places = {name: self._places[name] for name in names}
        return [
            name
            for name, (module, last) in places.items()
            if last not in module._parameters or _is_meta(module, last)
        ]

    @torch.no_grad()
    def _added(
        self, path: str, names: list[str], base: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """What a wrapped module's tensors are after its adapter is added to these values."""
        wrapper: Any = self._paths[path]
        for name, value in base.items():
            module, last = self._places[name]
            if last in module._parameters:
                module._parameters[last] = nn.Parameter(value, requires_grad=False)
            else:
                module._buffers[last] = value
        if isinstance(wrapper, AuxiliaryTrainingWrapper):
            merged: Any = wrapper.unload_and_optionally_merge_module(
                merge=True, safe_merge=False, adapter_names=None
            )
        else:
            merged = wrapper
            while hasattr(merged, "base_layer"):  # of an expert's parameters each has its own
                merged.merge(safe_merge=False, adapter_names=None)
                merged = merged.base_layer
        inner = dict(merged.state_dict())
        values = {name: inner[name.removeprefix(f"{path}.")] for name in names}
        self._used.add(path)
        for layer in wrapper.modules():
            if isinstance(layer, BaseTunerLayer):
                layer.merged_adapters.clear()
        for name in base:
            module, last = self._places[name]
            if last in module._parameters:
                empty = torch.empty(self._shapes[name], device="meta")
                module._parameters[last] = nn.Parameter(empty, requires_grad=False)
        return values

    def _pieces(self, part: str) -> dict[str, torch.Tensor]:
        """A layer's tensors that the files hold in another form, with the adapter added, in that form.

        Raises:
            ModelError: transformers names them in another way when it takes its tensors apart.
        """
        if self._held[0] == f"{part}*":
            return self._held[1]
        self._held = ("", {})
        give_back_memory()
        inside = [
            name
            for name, owner in self._parts.items()
            if owner == part and name not in self._single and name not in self._skeleton.tied
        ]
        plain = [name for name in inside if name not in self._adapter]
        values = load_tensors(self._skeleton, self.read, plain)
        for path in dict.fromkeys(self._adapter[name] for name in inside if name in self._adapter):
            names = [each for each, other in self._adapter.items() if other == path]
            base = load_tensors(self._skeleton, self.read, self._lacking(names))
            values |= self._added(path, names, base)
        found = self._skeleton.as_in_files({name: values[name] for name in inside})
        keys = [key for key in self._skeleton.joined if self._part_of(key) == part]
        if lost := sorted(set(keys) - set(found)):
            raise ModelError(
                f"The base's files hold {lost[0]}, which transformers does not write.",
                advice="Merge with `merge_and_unload` of PEFT, with the whole model in memory.",
            )
        self._held = (f"{part}*", found)
        return found

    def _part_of(self, key: str) -> str:
        return self._parts.get(self._skeleton.targets[key], "")

    def _joined_and_adapted(self) -> list[str]:
        return [
            name
            for name in self._adapter
            if name not in self._single and name not in self._skeleton.tied
        ]

    def _untied(self) -> dict[str, str]:
        """Tied tensors that the adapter changes each in its own way."""
        untied = {}
        for name, partner in self._skeleton.tied.items():
            if name not in self._adapter and partner not in self._adapter:
                continue
            (key,) = self._skeleton.sources(partner)[:1]
            dtype = self._source.dtype(key)
            if not torch.equal(self.tensor(partner).to(dtype), self.tensor(name).to(dtype)):
                untied[name] = key
        return untied


def _is_meta(module: nn.Module, last: str) -> bool:
    parameter = module._parameters[last]
    return parameter is not None and parameter.is_meta


def _outermost(adapted: PeftModel) -> dict[str, nn.Module]:
    """PEFT's modules in the base that are in no other of them, by their name in the base."""
    found: dict[str, nn.Module] = {}
    base = adapted.get_base_model()
    for path, module in base.named_modules(remove_duplicate=False):
        inside = any(path.startswith(f"{other}.") for other in found)
        if not inside and isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper)):
            each: Any = module  # PEFT's types are no modules to mypy
            found[plain_name(path)] = each
    return found
