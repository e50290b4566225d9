"""A transformers model with PEFT's adapters and the bytes of its quantised layers, and no numbers; takes no steps.

The model and its adapter are built without memory (torch's "meta" device) by transformers and PEFT themselves. Only the
quantised layers are stand-ins, as bitsandbytes' parameters cannot be made without numbers: subclasses of its own layers, which
PEFT takes for them, with the bytes and the operations of their passes on a GPU.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from bitsandbytes import MatmulLtState  # type: ignore[attr-defined]  # noqa: TID253 - its layers are what this file stands in for
from bitsandbytes.nn import Linear4bit, Linear8bitLt  # type: ignore[attr-defined]  # noqa: TID253
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import dora
from torch import nn

from xtune.adapter.narrow import narrow_dora
from xtune.adapter.widen import widen_saved_modules
from xtune.kernels.head_slices import HeadMatrix
from xtune.memory import Workload
from xtune.models.quiet import quiet

SAVED_TABLES = {"embed_tokens", "lm_head"}


class SimulatedNF4(Linear4bit):
    """A linear layer with the bytes of bitsandbytes' 4-bit formats, and no numbers."""

    def __init__(self, layer: nn.Linear, *, double: bool) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.compute_dtype = layer.weight.dtype
        entries = layer.weight.numel()
        scales = -(-entries // 64)
        packed: Any = _frozen(-(-entries // 2), torch.uint8)
        packed.compress_statistics, packed.quant_type = double, "nf4"
        self.weight = packed
        self.scales = _frozen(scales, torch.uint8 if double else torch.float32)
        if double:
            self.nested = _frozen(-(-scales // 256), torch.float32)
        self.bias = layer.bias

    def expanded(self, dtype: torch.dtype) -> torch.Tensor:
        """The matrix (outputs, inputs) in the compute dtype, and for a moment its float32 scales."""
        scales = self.scales.float() if self.scales.dtype == torch.uint8 else None
        weight = self.weight.new_empty(self.out_features, self.in_features, dtype=dtype)
        del scales
        return weight

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The product, cast to the type of the input."""
        return _product(_Expanded, hidden, self)


class SimulatedInt8(Linear8bitLt):
    """A linear layer with the bytes of bitsandbytes' LLM.int8(), and no numbers."""

    def __init__(self, layer: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight = _frozen(layer.weight.numel(), torch.int8)
        self.scales = _frozen(layer.out_features, torch.float32)
        self.bias = layer.bias
        self.state = MatmulLtState()
        self.state.has_fp16_weights = False
        self.index = None

    def expanded(self, dtype: torch.dtype) -> torch.Tensor:
        """The matrix (outputs, inputs) in the compute dtype."""
        return self.weight.new_empty(self.out_features, self.in_features, dtype=dtype)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The product, cast to the type of the input."""
        return _product(_Int8, hidden, self)


class SimulatedNf4Matrix(HeadMatrix):
    """A head with the bytes of `Nf4Matrix`, and no numbers."""

    def __init__(self, weight: torch.Tensor, slice_rows: int | None = None) -> None:
        super().__init__(weight, slice_rows)
        scales = [-(-(stop - start) * self.hidden // 64) for start, stop in self.bounds]
        self._packed = [
            (
                torch.empty(-(-(stop - start) * self.hidden // 2), dtype=torch.uint8),
                torch.empty(count, dtype=torch.uint8),
                torch.empty(-(-count // 256)),
            )
            for (start, stop), count in zip(self.bounds, scales, strict=True)
        ]

    def slices(self) -> Iterator[torch.Tensor]:
        """As bitsandbytes expands them: the float32 scales are there for a moment."""
        for (start, stop), (_, scales, _) in zip(self.bounds, self._packed, strict=True):
            wide = scales.float()
            expanded = torch.empty(stop - start, self.hidden, dtype=self.dtype)
            del wide
            yield expanded


class SimulatedInt8Matrix(HeadMatrix):
    """A head with the bytes of `Int8Matrix`, and no numbers."""

    def __init__(self, weight: torch.Tensor, slice_rows: int | None = None) -> None:
        super().__init__(weight, slice_rows)
        self._levels = torch.empty(self.vocab, self.hidden, dtype=torch.int8)
        self._scales = torch.empty(self.vocab, 1)

    def slices(self) -> Iterator[torch.Tensor]:
        """On a GPU a product with float32 scales is written in fewer bits without a copy between."""
        for start, stop in self.bounds:
            yield torch.empty(stop - start, self.hidden, dtype=self.dtype)


def _frozen(count: int, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(torch.empty(count, dtype=dtype, device="meta"), requires_grad=False)


def _product(function: Any, hidden: torch.Tensor, layer: Any) -> torch.Tensor:
    if torch.is_autocast_enabled("cpu"):
        hidden = hidden.to(torch.get_autocast_dtype("cpu"))
    output: torch.Tensor = function.apply(hidden, layer)
    return output if layer.bias is None else output + layer.bias.to(output.dtype)


class _Expanded(torch.autograd.Function):
    """A product with a weight that is expanded to the compute dtype for it and saved nowhere, as bitsandbytes does."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, layer: SimulatedNF4) -> torch.Tensor:
        ctx.layer = layer
        return hidden @ layer.expanded(hidden.dtype).t()

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, None]:
        return slopes[0] @ ctx.layer.expanded(slopes[0].dtype), None


class _Int8(torch.autograd.Function):
    """The product of LLM.int8() (bitsandbytes 0.50, `MatMul8bitLt`): its input is kept, and its sums are 32 bits wide."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, layer: SimulatedInt8) -> torch.Tensor:
        ctx.layer, ctx.kept = layer, hidden
        half = hidden.to(torch.float16)
        levels = torch.empty_like(half, dtype=torch.int8)
        del half
        sums = hidden.new_empty(*hidden.shape[:-1], layer.out_features, dtype=torch.int32)
        scaled = torch.empty_like(sums, dtype=torch.float16)
        del sums, levels
        return scaled.to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, None]:
        return slopes[0] @ ctx.layer.expanded(slopes[0].dtype), None


def simulated_model(config: Any, work: Workload) -> nn.Module:
    """The model in train mode, adapted and quantised as the work wants; called under FakeTensorMode.

    Args:
        config: A transformers config; its depth is what is built.
        work: What is done with it; 4 bits are nf4.
    """
    from transformers import AutoModelForCausalLM

    build: Any = AutoModelForCausalLM.from_config
    with torch.device("meta"):
        model: nn.Module = build(
            config, dtype=getattr(torch, work.weight_dtype), attn_implementation=work.attention
        )
        if work.method != "full":
            model = _adapted(model, work)
    _give_memory(model)
    return model.train()


def _adapted(model: nn.Module, work: Workload) -> nn.Module:
    model.requires_grad_(False)
    if work.quantization is not None:
        _quantise(model, work)
    every = "all-linear" in work.targets
    make: Any = LoraConfig
    lora = make(
        task_type="CAUSAL_LM",
        r=work.rank,
        target_modules="all-linear" if every else list(work.targets),
        use_dora=work.dora,
        lora_dropout=0.1 if work.dropout else 0.0,
        modules_to_save=list(work.saved) or None,
        **_new_tokens(model, work),
        ensure_weight_tying=_is_tied(model) and bool(SAVED_TABLES.intersection(work.saved)),
    )
    with quiet(), expanding():
        adapted = get_peft_model(cast(Any, model), lora, autocast_adapter_dtype=True)
    cast(Any, model).disable_input_require_grads()
    widen_saved_modules(adapted)
    narrow_dora(adapted)
    for name, parameter in adapted.named_parameters():
        if ".lora_" in name:  # PEFT widens what is not on the meta device
            parameter.data = parameter.data.float()
    return cast(nn.Module, adapted)


def _is_tied(model: nn.Module) -> bool:
    untyped: Any = model
    embedding, head = untyped.get_input_embeddings(), untyped.get_output_embeddings()
    return embedding.weight is head.weight


def _new_tokens(model: nn.Module, work: Workload) -> dict[str, Any]:
    """The last rows of the tables stand for tokens that are new, as in `xtune.adapter.vocabulary`."""
    if not work.new_tokens:
        return {}
    untyped: Any = model
    vocab = untyped.get_input_embeddings().weight.shape[0]
    rows = list(range(vocab - work.new_tokens, vocab))
    names = ["embed_tokens"] if _is_tied(model) else ["embed_tokens", "lm_head"]
    return {"trainable_token_indices": dict.fromkeys(names, rows)}


def _quantise(model: nn.Module, work: Workload) -> None:
    """All linear layers but the head, as transformers does."""
    untyped: Any = model
    head = untyped.get_output_embeddings()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is not nn.Linear or child is head:
                continue
            layer = (
                SimulatedInt8(child)
                if work.quantization == "int8"
                else SimulatedNF4(child, double=work.double_quantization)
            )
            setattr(parent, name, layer)
    untyped.is_loaded_in_4bit = work.quantization != "int8"
    untyped.is_loaded_in_8bit = work.quantization == "int8"


@contextmanager
def expanding() -> Iterator[None]:
    """While it lasts DoRA, which reads the base's matrices, is given those of stand-ins too."""
    library: Any = dora
    real = library.dequantize_module_weight

    def expanded(module: Any) -> torch.Tensor:
        if isinstance(module, SimulatedNF4 | SimulatedInt8):
            return module.expanded(getattr(module, "compute_dtype", torch.float16))
        return cast(torch.Tensor, real(module))

    library.dequantize_module_weight = expanded
    try:
        yield
    finally:
        library.dequantize_module_weight = real


@contextmanager
def any_experts(*, grouped: bool) -> Iterator[None]:
    """While it lasts experts of any type can be simulated: torch 2.13 has the shapes of products by group for bfloat16 alone.

    transformers' own operator, which it falls back to, has them for every type; of experts that are trained it leaves the same numbers
    behind. Where a device has no products by group it is what runs.
    """
    from transformers.integrations import moe

    library: Any = moe
    real = library._can_use_grouped_mm

    def can_use(product: torch.Tensor, weight: torch.Tensor, ends: torch.Tensor) -> bool:
        return grouped and weight.dtype == torch.bfloat16 and bool(real(product, weight, ends))

    library._can_use_grouped_mm = can_use
    try:
        yield
    finally:
        library._can_use_grouped_mm = real


def _give_memory(model: nn.Module) -> None:
    """Give parameters and buffers memory of their own, one that is two modules' once."""
    made: dict[int, torch.Tensor] = {}

    def given(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in made:
            fresh = torch.empty(tensor.shape, dtype=tensor.dtype)
            trained = isinstance(tensor, nn.Parameter)
            made[id(tensor)] = (
                nn.Parameter(fresh, requires_grad=tensor.requires_grad) if trained else fresh
            )
        return made[id(tensor)]

    for module in model.modules():
        tables: tuple[Mapping[str, Any], ...] = (module._parameters, module._buffers)
        for table in tables:
            for name, tensor in table.items():
                if tensor is not None:
                    cast(dict[str, Any], table)[name] = given(tensor)
