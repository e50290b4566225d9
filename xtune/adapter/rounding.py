"""What quantisation leaves of a base's weights, a tensor at a time: the numbers that a QLoRA was trained beside."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from xtune.adapter.skeleton import Skeleton
from xtune.errors import MissingPackageError, ModelError
from xtune.models.load import Loading
from xtune.models.quiet import quiet
from xtune.models.shards import Entry, Shards

_PARTS = ("absmax", "quant_map", "nested_absmax", "nested_quant_map", "quant_state.", "SCB")
"""What bitsandbytes stores beside a quantised weight, behind the weight's name."""

_INT8_STEP = 1 / 127
"""A row's scale is its largest number, which stands for 127 (LLM.int8(), arXiv 2208.07339)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files of a base, as numbers."""

    shards: Shards
    loading: Loading
    rounded: Mapping[str, bool]
    """The files' tensors that quantisation rounds; whether they are turned before, (inputs, outputs) as in Conv1D."""

    def keys(self) -> list[str]:
        """The tensors that are a model's; not what bitsandbytes keeps beside them."""
        names = self.shards.tensors
        return [name for name in names if not is_part(name, names)]

    def dtype(self, name: str) -> torch.dtype:
        """The type that a tensor has, or had before it was stored quantised."""
        if self.is_stored_quantised(name):
            return getattr(torch, self.loading.weight_dtype)  # type: ignore[no-any-return]
        return self.shards.tensors[name].dtype

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape that a tensor has, or had before it was stored quantised."""
        if f"{name}.absmax" not in self.shards.tensors:
            return self.shards.tensors[name].shape
        return tuple(self._state(name).shape)

    def is_stored_quantised(self, name: str) -> bool:
        """Whether the files hold a tensor in bitsandbytes' form."""
        return any(f"{name}{part}" in self.shards.tensors for part in (".absmax",)) or (
            f"{name.removesuffix('weight')}SCB" in self.shards.tensors and name.endswith("weight")
        )

    def read(self, name: str, *, quantised: bool) -> torch.Tensor:
        """A tensor in float32; `quantised`: as quantisation leaves it.

        Raises:
            MissingPackageError: bitsandbytes is not installed.
        """
        tensor = self.shards.tensors[name].read()
        if self.is_stored_quantised(name):
            return self._expanded(name, tensor)
        if quantised and name in self.rounded:
            turned = self.rounded[name]
            tensor = tensor.to(getattr(torch, self.loading.weight_dtype))
            tensor = tensor.T.contiguous() if turned else tensor
            tensor = rounded(tensor, self.loading)
            tensor = tensor.T.contiguous() if turned else tensor
        return tensor.float() if tensor.is_floating_point() else tensor

    def _expanded(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype == torch.int8:
            scale = self.shards.tensors[f"{name.removesuffix('weight')}SCB"].read()
            return tensor.float() * (scale.float() * _INT8_STEP).view(-1, 1)
        functional: Any = _bitsandbytes().functional
        expanded: torch.Tensor = functional.dequantize_4bit(tensor, self._state(name))
        return expanded.float()

    def _state(self, name: str) -> Any:
        tensors = self.shards.tensors
        parts = {
            f"{key.removeprefix(name + '.')}": tensors[key].read()
            for key in tensors
            if key.startswith(f"{name}.")
        }
        functional: Any = _bitsandbytes().functional
        return functional.QuantState.from_dict(parts, device=torch.device("cpu"))


def open_source(shards: Shards, skeleton: Skeleton, loading: Loading) -> Source:
    """The base's files with what the run's quantisation does to them.

    Raises:
        ModelError: A tensor that is quantised is made of several in the files.
        MissingPackageError: bitsandbytes is not installed.
    """
    turned = {} if loading.quantization is None else _quantised_weights(skeleton.model, loading)
    rounded_keys: dict[str, bool] = {}
    for key, target in skeleton.targets.items():
        if target in turned:
            if key in skeleton.joined:
                raise ModelError(
                    f"{loading.model.name} stores {key} apart from what it is quantised with, so a tensor alone cannot be quantised.",
                    advice="Merge with `merge_and_unload` of PEFT, with the whole model in memory.",
                )
            rounded_keys[key] = turned[target]
    return Source(shards=shards, loading=loading, rounded=rounded_keys)


def is_part(name: str, names: Mapping[str, Entry]) -> bool:
    """Whether a stored tensor belongs to another one, which is quantised."""
    if name.endswith(("SCB", "weight_format")):
        return True
    owner, _, last = name.rpartition(".weight.")
    return bool(owner) and last.startswith(_PARTS) and f"{owner}.weight" in names


def rounded(tensor: torch.Tensor, loading: Loading) -> torch.Tensor:
    """A weight quantised and expanded again, as bitsandbytes does for a run.

    Raises:
        MissingPackageError: bitsandbytes is not installed.
    """
    method = loading.quantization
    if method is None:
        return tensor
    library = _bitsandbytes()
    with quiet():
        if method.quantization == "int8":
            held = library.nn.Int8Params(tensor, requires_grad=False, has_fp16_weights=False)
            held = held.to("cpu")
            numbers: torch.Tensor = held.data.float() * (held.SCB.float() * _INT8_STEP).view(-1, 1)
            return numbers
        packed = library.nn.Params4bit(
            tensor,
            requires_grad=False,
            quant_type=method.quantization,
            compress_statistics=method.double_quantization is not False,
        ).to("cpu")
        expanded: torch.Tensor = library.functional.dequantize_4bit(packed.data, packed.quant_state)
        return expanded


def _quantised_weights(model: PreTrainedModel, loading: Loading) -> dict[str, bool]:
    """The model's tensors that transformers quantises, and whether it turns them before."""
    from transformers.quantizers.base import get_keys_to_not_convert  # noqa: PLC0415
    from transformers.quantizers.quantizers_utils import should_convert_module  # noqa: PLC0415

    del loading
    skipped = [*get_keys_to_not_convert(model), *(model._keep_in_fp32_modules or ())]
    return {
        f"{name}.weight": isinstance(module, Conv1D)
        for name, module in model.named_modules()
        if (isinstance(module, Conv1D) or type(module) is torch.nn.Linear)
        and should_convert_module(name, skipped)
    }


def _bitsandbytes() -> Any:
    try:
        with quiet():
            import bitsandbytes
    except ImportError:
        raise MissingPackageError(
            "bitsandbytes", purpose="`method: qlora`", command="pip install bitsandbytes"
        ) from None
    return bitsandbytes
