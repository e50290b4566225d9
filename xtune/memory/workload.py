"""What is done with a model, as far as its memory depends on it, and the constants of formats and libraries; computes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from xtune.memory.families import HEADS

GIB = 2**30
MethodName: TypeAlias = Literal["full", "lora", "qlora"]

DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}

ADAPTER_BYTES = 4
"""PEFT holds adapters in float32 on a half-precision base (`autocast_adapter_dtype=True`)."""

QUANTIZATION_BLOCK = 64
"""Weights that share a scale in bitsandbytes' 4-bit formats (Linear4bit's default blocksize)."""

NESTED_BLOCK = 256
"""Scales that share a float32 scale under double quantisation (arXiv 2305.14314, section 3)."""

OPTIMIZER_BLOCK = 256
"""States that share a float32 scale in bitsandbytes' 8-bit optimizers (blockwise, arXiv 2110.02861)."""

STEP_STRETCH = 2**20
"""Numbers whose 8-bit states cross from host memory together for their step; a multiple of `OPTIMIZER_BLOCK`."""

CONTEXT_BYTES: Mapping[str, int] = {
    "cuda": GIB // 2,
    "xpu": GIB // 2,
    "mps": GIB // 2,
    "cpu": GIB * 3 // 4,
}
"""What is gone before the model: on an accelerator the driver's context and the matrix library's workspace
(published CUDA contexts are 0.4 to 0.6 GB); on a CPU Python with torch, transformers, PEFT and bitsandbytes
imported (0.7 GiB resident: Linux, torch 2.13, November 2026)."""

SUBSPACE_RANKS: Mapping[str, int] = {"galore_adamw": 128, "apollo_adamw": 256}
"""Ranks of projected states where none is asked for: the defaults of both papers' own code."""

HEAD_PART_ROWS = 2048
"""Rows of a trained head whose gradient is added, or scaled, at one time (`xtune.kernels.cross_entropy.PART_ROWS`)."""

HEAD_SLICE_BYTES = 2**26
"""A slice of a head that is used in slices of the vocabulary; there are two, one of them on its way."""

HEAD_SUM_BYTES = 2**26
"""float32 sums of such a head's gradients that exist at one time: 4,096 tokens of 4,096 numbers, for which every slice is
copied once; a matrix product of so many rows takes longer than the copy of its matrix over PCIe."""

RESERVE_FRACTION = 0.10
"""Part of the step's short-lived memory that the allocator holds without using it. Published runs lie 5 to 25 %
above the allocated peak; this is not measured by us."""

LEAST_RESERVE_BYTES: Mapping[str, int] = {
    "cuda": GIB * 3 // 10,
    "xpu": GIB * 3 // 10,
    "mps": GIB * 3 // 10,
    "cpu": 0,
}
"""What is set aside however little moves: workspaces of matrix libraries, which come out of the allocator (torch gives cuBLAS 8
MiB a stream, 32 on Hopper), and segments that are not full, do not shrink with a step. With the context it is 0.8 GiB."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is done with a model: everything besides its shape that the bytes depend on."""

    method: MethodName
    tokens: int
    """Longest sequence of a forward pass."""

    rows: int = 1
    """Sequences of a forward pass."""

    weight_dtype: str = "bfloat16"
    compute_dtype: str = "bfloat16"
    quantization: Literal["nf4", "fp4", "int8"] | None = None
    double_quantization: bool = True
    rank: int = 0
    targets: tuple[str, ...] = ("all-linear",)
    dora: bool = False
    dropout: bool = False
    """Whether adapters drop some of what they read."""

    init: str = "default"
    """How an adapter's factors begin."""

    saved: tuple[str, ...] = ()
    """Names of modules of which copies are trained in full beside the adapters (`xtune.memory.saved`)."""

    new_tokens: int = 0
    optimizer: str = "adamw"
    subspace_rank: int | None = None
    """Rank of the states of `galore_adamw` and `apollo_adamw`; None: its default."""

    accumulation_steps: int = 1
    gradient_checkpointing: bool = True
    frugal: bool = False
    """Layers run tile by tile (`xtune.kernels.frugal`); only with gradient checkpointing."""

    tile_tokens: int = 4096
    """Tokens of a tile of a frugal layer."""

    checkpoint_place: Literal["device", "host", "disk"] = "device"
    """Where layers' inputs wait for the backward pass."""

    base_place: Literal["device", "host", "disk"] = "device"
    """Where the decoder layers are between their uses."""

    embeddings_place: Literal["device", "host"] = "device"
    head_form: Literal["device", "host", "nf4", "int8"] = "device"
    """Where the head is, or how it is quantised on the device."""

    states_place: Literal["device", "host"] = "device"
    """Where the optimizer's states are."""

    fused_step: bool = False
    """Parameters of a full fine-tune are stepped as their gradients come."""

    clipped: bool = False
    """Gradients are clipped by the norm of all of them."""

    loss_chunk_tokens: int = 0
    """Tokens whose logits exist at one time; 0: all."""

    packing: bool = False
    attention: str = "sdpa"
    flash: bool = True
    """Whether the device's flash attention takes these heads; where it does not, sdpa is given copies of the key heads."""

    grouped: bool = True
    """Whether the device has matrix products by group, of a mixture's experts; where not transformers' own operator stands in for them."""

    device: str = "cuda"
    world_size: int = 1

    @property
    def positions(self) -> int:
        """n: tokens in a forward pass."""
        return self.rows * self.tokens

    @property
    def weight_bytes(self) -> int:
        """w: bytes of an unquantised weight."""
        return DTYPE_BYTES[self.weight_dtype]

    @property
    def compute_bytes(self) -> int:
        """c: bytes of a number in a matrix product."""
        return DTYPE_BYTES[self.compute_dtype]

    def adapts(self, name: str) -> bool:
        """Whether linear layers of a name have adapters."""
        return "all-linear" in self.targets or name in self.target_names

    @cached_property
    def target_names(self) -> frozenset[str]:
        """The last parts of the targets' names."""
        return frozenset(target.rpartition(".")[2] for target in self.targets)

    @cached_property
    def layer_targets(self) -> tuple[str, ...]:
        """The targets but the head."""
        return tuple(each for each in self.targets if each.rpartition(".")[2] not in HEADS)

    @property
    def is_shelved(self) -> bool:
        """Whether whole layers are computed again by `xtune.kernels.shelved`, not by transformers.

        Where their inputs or they themselves wait elsewhere; and LLM.int8()'s, which keep what they read aside
        (bitsandbytes 0.50, `ctx.tensors`), where transformers' checkpointing does not let go of it.
        """
        away = self.checkpoint_place != "device" or self.base_place != "device"
        again = self.gradient_checkpointing and not self.frugal
        return again and (away or self.quantization == "int8")

    @property
    def is_checkpointed(self) -> bool:
        """Whether transformers' own checkpointing computes whole layers again."""
        return self.gradient_checkpointing and not (self.frugal or self.is_shelved)

    @property
    def is_full(self) -> bool:
        """Whether the model's own parameters are trained."""
        return self.method == "full"

    @property
    def autocasts(self) -> bool:
        """Whether the forward pass runs under autocast: not where weights, gradients and products are all of one type."""
        uniform = self.is_full and self.weight_dtype == self.compute_dtype
        return self.compute_dtype != "float32" and not uniform

    @property
    def trained_bytes(self) -> int:
        """Of a trained number as it is held, and of its gradient: in the weights' type, or an adapter's."""
        return self.weight_bytes if self.is_full else ADAPTER_BYTES

    @property
    def casts_inputs(self) -> bool:
        """Whether an adapter casts what it reads to float32, and autocast each reader's copy back (PEFT beside an unquantised base)."""
        return self.method == "lora" and self.compute_bytes < ADAPTER_BYTES
