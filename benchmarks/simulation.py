"""Peak bytes of a training step at full width and any depth, by running our own code on tensors without numbers.

    python -m benchmarks.simulation [--models llama-3.1-8b,qwen3-8b] [--tokens 4096,16384]

Every operation of the step goes through a ledger (`benchmarks.ledger`), which follows every storage from its birth to its
end; what is in host memory is not counted. FakeTensorMode supplies shapes in place of numbers, so that an 8B model is simulated
in seconds. Simulated is neither computed nor measured: the table says which is which.
"""

import argparse
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from benchmarks.ledger import BLOCK, Ledger
from benchmarks.simulated_attention import attention as attention_on_cuda
from benchmarks.simulated_model import (
    SimulatedInt8Matrix,
    SimulatedNf4Matrix,
    any_experts,
    expanding,
    simulated_model,
)
from benchmarks.simulated_update import SimulatedUpdate
from xtune.kernels.heads import base_model
from xtune.memory import GIB, ModelShape, Workload, predict
from xtune.models.activations import narrow_activations
from xtune.models.fused_attention import share_key_heads
from xtune.models.norms import narrow_layer_norms


@dataclass(frozen=True)
class Simulated:
    """What a simulation found, in bytes."""

    resident: int
    peak: int
    peak_at: str
    largest: Mapping[str, int]
    """What was there at the peak, by what made it, largest first."""


Samples = tuple[tuple[int, ...], ...]
"""Tokens of every sample of every row."""


def simulate(
    config: Any,
    work: Workload,
    *,
    samples: Samples | None = None,
    block: int = BLOCK,
    scratch: bool = True,
    every_stretch: bool = False,
) -> Simulated:
    """Peak bytes of one step of a transformers config, the optimizer's states there from the beginning.

    Args:
        config: A transformers config; its depth is what is simulated.
        work: What is done with it; 4 bits are nf4.
        samples: What is packed into rows; None: a sample in each row, as long as it, which takes the most, while masks are
            those of packed rows if the work has them.
        block: Bytes that every request is rounded up to.
        scratch: Whether what operations of a GPU have inside is added.
        every_stretch: Whether all tiles, chunks, groups and blocks are run, and not the first and last ones alone: the same
            bytes in much more time.
    """
    documents = None if samples is None else _documents(samples)
    with (
        warnings.catch_warnings(),
        FakeTensorMode(allow_non_fake_inputs=True),
        ExitStack() as stack,
    ):
        warnings.simplefilter("ignore")
        ledger = Ledger(block=block, scratch=scratch)
        model = _model(config, work)
        for tensor in (*model.parameters(), *model.buffers()):
            ledger.enter(tensor, "model")
        stack.enter_context(expanding())
        stack.enter_context(any_experts(grouped=work.grouped))
        stack.enter_context(_all_trained(work, documents))
        if not every_stretch:
            stack.enter_context(_without_repeats())
        share_key_heads(work.flash)
        stack.callback(share_key_heads, True)
        stack.enter_context(ledger)
        module = _module(model, work, ledger)
        stack.enter_context(cuda_autocast())  # layers are looked at before a run begins, without
        update = SimulatedUpdate(model, work)
        ledger.reset()
        resident = ledger.bytes
        for _ in range(min(2, work.accumulation_steps)):
            run_step(module, work)
        update.step()
        return Simulated(
            resident, ledger.peak, ledger.peak_at, dict(ledger.at_peak.most_common(60))
        )


def _model(config: Any, work: Workload) -> nn.Module:
    model = simulated_model(config, work)
    narrow_layer_norms(model)
    narrow_activations(model)
    if work.is_checkpointed:
        untyped: Any = base_model(model)
        untyped.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def _module(model: nn.Module, work: Workload, ledger: Ledger) -> nn.Module:
    from xtune.kernels.frugal import FrugalSettings
    from xtune.kernels.install import make_frugal
    from xtune.kernels.loss import LossModule
    from xtune.kernels.shelf import DeviceShelf, HostShelf, Shelf
    from xtune.kernels.shelved import make_shelved
    from xtune.kernels.stream import stream_layers
    from xtune.kernels.stream_rest import HostRest

    def bytes_on_host(count: int) -> torch.Tensor:
        with ledger.host():
            return torch.empty(count, dtype=torch.uint8)

    _place_ends(model, work, ledger)
    if work.base_place != "device":
        trained = _unclaimed if work.method == "full" else None
        rest = HostRest(bytes_on_host)
        stream_layers(model, torch.device("cpu"), rest, on_gradients=trained)
    shelf: Shelf = (
        DeviceShelf()
        if work.checkpoint_place == "device"
        else HostShelf(bytes_on_host, ahead=not work.frugal)
    )
    if work.frugal:
        make_frugal(model, FrugalSettings(tile_tokens=work.tile_tokens), shelf, prove=False)
    elif work.is_shelved:
        make_shelved(model, shelf)
    return LossModule(model, work.loss_chunk_tokens, work.tile_tokens if work.frugal else 0)


def _place_ends(model: nn.Module, work: Workload, ledger: Ledger) -> None:
    """Embedding and head where, and in as many bits as, the work wants them."""
    from xtune.kernels.embedding import keep_embedding_on_host
    from xtune.kernels.head_slices import HostMatrix, slice_head

    untyped: Any = model
    head, table = untyped.get_output_embeddings(), untyped.get_input_embeddings()
    whole = head.weight.detach()
    if work.head_form in {"nf4", "int8"}:
        make = SimulatedNf4Matrix if work.head_form == "nf4" else SimulatedInt8Matrix
        slice_head(head, make(whole), whole.new_empty(0, whole.shape[1]))
    elif work.head_form == "host":
        with ledger.host():
            kept = torch.empty_like(whole)
        slice_head(head, HostMatrix(kept, torch.device("cpu")), kept)
    if work.embeddings_place == "host":
        with ledger.host():
            kept = torch.empty_like(table.weight.detach())
            staging = kept.new_empty(work.positions, kept.shape[1])
        keep_embedding_on_host(table, kept, torch.device("cpu"))
        table.forward._staging = staging


def run_step(module: nn.Module, work: Workload) -> None:
    """Forward and backward pass of a loss module over rows in which every token is trained on."""
    rows, tokens = work.rows, work.tokens
    ids = torch.zeros(rows, tokens, dtype=torch.int64)
    positions = torch.arange(tokens).expand(rows, tokens).contiguous()
    mixed = work.method != "full" or work.weight_dtype != work.compute_dtype
    with torch.autocast("cpu", dtype=getattr(torch, work.compute_dtype), enabled=mixed):
        loss = module(ids, ids, torch.ones(rows, tokens), positions)
    loss.backward()


def _documents(samples: Samples) -> Any:
    """Where the samples are, found by their positions, with numbers, as in training; None: a sample in each row."""
    from xtune.kernels.attention import documents_of

    rows = [torch.cat([torch.arange(each) for each in row]) for row in samples]
    return documents_of(torch.stack(rows))


@contextmanager
def _all_trained(work: Workload, documents: Any) -> Iterator[None]:
    """Where numbers would be looked at: every token is trained on and another one, and rows hold what is packed into them."""
    from transformers import masking_utils

    from xtune.kernels import attention, embedding, loss, replay

    rows, tokens = work.rows, work.tokens

    def samples(positions: torch.Tensor) -> torch.Tensor | None:
        return torch.zeros_like(positions) if work.packing else None

    def found(positions: torch.Tensor) -> Any:
        # layers are probed by a shorter row
        return documents if positions.shape == (rows, tokens) else None

    def every_row(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(ids.numel(), dtype=torch.int64), ids

    def everywhere(*_: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        columns = torch.arange(tokens - 1)
        return torch.zeros(rows, 1, dtype=torch.int64).expand(rows, tokens - 1).reshape(
            -1
        ), columns.repeat(rows)

    def unique(found: torch.Tensor, **_: object) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.arange(tokens - 1), found

    patched: list[tuple[Any, str, Callable[..., Any]]] = [
        (loss, "trained_positions", everywhere),
        (embedding, "used_rows", every_row),
        (attention, "_find_documents", found),
        (replay, "drops_out", lambda _: False),
        (torch, "unique", unique),
        (functional, "dropout", _dropped),
        (functional, "scaled_dot_product_attention", attention_on_cuda),
        (masking_utils, "find_packed_sequence_indices", samples),
    ]
    before = [getattr(module, name) for module, name, _ in patched]
    for module, name, stand_in in patched:
        setattr(module, name, stand_in)
    try:
        yield
    finally:
        for (module, name, _), original in zip(patched, before, strict=True):
            setattr(module, name, original)


FIRST, LAST = 2, 3
"""Stretches that are run: the second finds what the first made, all after it find the same; the last may be shorter, and of blocks of
growing samples those before it are the largest."""


def _ends(every: Sequence[Any]) -> list[Any]:
    """Without those in the middle, which do what others do."""
    return [*every[:FIRST], *every[max(FIRST, len(every) - LAST) :]]


@contextmanager
def _without_repeats() -> Iterator[None]:
    """While it lasts what is cut into many stretches is computed at its ends alone: all are as long, and leave the same behind."""
    from xtune.kernels import attention, cross_entropy, frugal, head_loss, stretches, tail

    def cut(count: int, size: int) -> list[slice]:
        return _ends(list(stretches.stretches(count, size)))

    def in_turn(*arguments: Any) -> list[Any]:
        return _ends(blocks(*arguments))

    blocks = attention._in_turn
    users: list[Any] = [cross_entropy, frugal, head_loss, tail]
    for module in users:
        module.stretches = cut
    untyped: Any = attention
    untyped._in_turn = in_turn
    try:
        yield
    finally:
        for module in users:
            module.stretches = stretches.stretches
        untyped._in_turn = blocks


def _dropped(
    hidden: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> torch.Tensor:
    """Dropout as a GPU has it, with a byte for every number; a CPU keeps what it multiplies by."""
    del inplace
    return torch.native_dropout(hidden, p, True)[0] if training and p > 0 else hidden


@contextmanager
def cuda_autocast() -> Iterator[None]:
    """A CPU's autocast does what CUDA's does.

    PEFT asks whether CUDA's is on before it casts; on a CPU it would cast everything to float32. And CUDA's computes LayerNorm, powers,
    squares (which are powers), exponentials and softplus in float32, and gives float32; `xtune.models.norms` goes round it for LayerNorm.
    """
    patched: list[tuple[Any, str]] = [
        (functional, "layer_norm"), (torch, "pow"), (torch, "square"), (torch, "expm1"), (functional, "softplus"),
    ]  # fmt: skip
    before = [getattr(module, name) for module, name in patched]
    for (module, name), operation in zip(patched, before, strict=True):
        setattr(module, name, partial(_widened, operation))
    torch.set_autocast_enabled("cuda", True)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        for (module, name), operation in zip(patched, before, strict=True):
            setattr(module, name, operation)


def _widened(operation: Callable[..., torch.Tensor], *arguments: Any, **named: Any) -> torch.Tensor:
    """An operation, of float32 copies of tensors of 16 bits while autocast is on."""
    if torch.is_autocast_enabled("cpu"):
        arguments = tuple(
            each.float() if isinstance(each, torch.Tensor) and each.is_floating_point() else each
            for each in arguments
        )
    return operation(*arguments, **named)


def _unclaimed(*_: object) -> None:
    """Stands for the update, which takes its place."""


def at_depth(
    config: Any, work: Workload, depth: int, *, simulated: tuple[int, int] = (2, 3)
) -> int:
    """Peak bytes at a depth, drawn as a line through the peaks of two shallow models.

    Exact where every layer adds the same, which holds for a repeated layer. A full fine-tune whose gradients stay is simulated
    at its own depth: they come as checkpoints go, so that the peak of a shallow model is at another moment.
    """
    if work.is_full and not work.fused_step:
        return simulate(config, work).peak
    peaks = []
    for layers in simulated:
        fields = {**config.to_dict(), "num_hidden_layers": layers}
        if fields.get("layer_types"):
            fields["layer_types"] = fields["layer_types"][:layers]
        shallow = type(config).from_dict(fields)
        peaks.append(simulate(shallow, work).peak)
    slope = (peaks[1] - peaks[0]) / (simulated[1] - simulated[0])
    return round(peaks[0] + slope * (depth - simulated[0]))


CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "llama-2-7b": {
        "model_type": "llama", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
    },
    "llama-3.1-8b": {
        "model_type": "llama", "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    },
    "qwen3-8b": {
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "tie_word_embeddings": False,
    },
}  # fmt: skip


def main() -> None:
    """Print computed and simulated peaks side by side."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from transformers import AutoConfig

    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation")
    parser.add_argument("--models", default="llama-2-7b,llama-3.1-8b,qwen3-8b")
    parser.add_argument("--tokens", default="2048,8192,32768")
    parser.add_argument("--rank", type=int, default=16)
    options = parser.parse_args()
    for name in options.models.split(","):
        fields = dict(CONFIGS[name])
        config = AutoConfig.for_model(**fields)
        shape = ModelShape.from_config(fields)
        for tokens in map(int, options.tokens.split(",")):
            work = Workload(
                method="qlora", quantization="nf4", rank=options.rank, tokens=tokens,
                optimizer="adamw_8bit", loss_chunk_tokens=512,
            )  # fmt: skip
            for label, style in STYLES.items():
                each = replace(work, **style)
                computed = predict(shape, each)
                allocated = computed.tensor_bytes
                simulated = at_depth(config, each, shape.layers)
                print(
                    f"{name:14} {tokens:7,} {label:18} simulated {simulated / GIB:7.3f} GiB"
                    f"  computed {allocated / GIB:7.3f} GiB  {allocated / simulated - 1:+.1%}",
                    flush=True,
                )


ENDS = {"embeddings_place": "host", "head_form": "host"}

STYLES: Mapping[str, Mapping[str, Any]] = {
    "checkpointed": {},
    "checkpoints host": {"checkpoint_place": "host"},
    "frugal": {"frugal": True},
    "frugal, host": {"frugal": True, "checkpoint_place": "host"},
    "streamed": {"frugal": True, "checkpoint_place": "host", "base_place": "host"},
    "ends on host": {"frugal": True, "checkpoint_place": "host", **ENDS},
    "all on host": {"frugal": True, "checkpoint_place": "host", "base_place": "host", **ENDS},
}

if __name__ == "__main__":
    main()
