"""Peak bytes of a training step at full width and any depth, by running our own code on tensors without numbers.

    python -m benchmarks.simulation [--models llama-3.1-8b,qwen3-8b] [--tokens 4096,16384]

Every operation of the step goes through `Ledger`, which follows every storage from its birth to its end; what shelves
keep in host memory is not counted. FakeTensorMode supplies shapes in place of numbers, so that an 8B model is simulated
in seconds. What one operation allocates and frees within itself on a GPU cannot be seen and stands in `SCRATCH`, from
reading the kernels. Simulated is neither computed nor measured: the table says which is which.
"""

import argparse
import os
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from xtune.memory import GIB, ModelShape, Workload, predict

BLOCK = 512
"""Bytes that CUDA's caching allocator rounds every request up to."""


def _flash_backward(arguments: tuple[Any, ...]) -> int:
    """What torch's flash attention allocates for itself on a GPU.

    Float32 sums of the queries' gradients and one number a query; where key heads are shared, the gradients of keys
    and values for every query head, before they are added up.
    """
    query, key = arguments[1], arguments[2]
    rows, heads, tokens, width = query.shape
    padded = -(-tokens // 128) * 128
    sums = 4 * rows * heads * padded * (-(-width // 32) * 32 + 1)
    shared = 2 * query.element_size() * query.numel() if key.shape[1] != heads else 0
    return int(sums + shared)


def _log_sum(arguments: tuple[Any, ...]) -> int:
    """The exponentials of the differences from the largest."""
    return int(arguments[0].numel() * arguments[0].element_size())


SCRATCH: Mapping[str, Callable[[tuple[Any, ...]], int]] = {
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": _flash_backward,
    "aten::logsumexp": _log_sum,
}


class Ledger(TorchDispatchMode):
    """Adds up the bytes of all living storages while operations run."""

    def __init__(self, *, block: int = 1, scratch: bool = False) -> None:
        super().__init__()
        self._block, self._scratch = block, scratch
        self._living: dict[int, tuple[int, str]] = {}
        self._counts = True
        self.bytes = 0
        self.peak = 0
        self.peak_at = ""
        self.made_by: Counter[str] = Counter()
        """Living bytes by the operation and shape that made them."""

        self.at_peak: Counter[str] = Counter()

    @contextmanager
    def host(self) -> Iterator[None]:
        """What is made meanwhile is not on the device."""
        self._counts = False
        try:
            yield
        finally:
            self._counts = True

    def enter(self, tensor: torch.Tensor, name: str) -> None:
        """Follow a tensor's storage, if it is new."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._living:
            return
        size = -(-storage.nbytes() // self._block) * self._block if self._counts else 0
        self._living[key] = (size, name)
        self.bytes += size
        self.made_by[name] += size
        weakref.finalize(storage, self._leave, key).atexit = False

    def _leave(self, key: int) -> None:
        size, name = self._living.pop(key)
        self.bytes -= size
        self.made_by[name] -= size

    def reset(self) -> None:
        """Forget the peak so far."""
        self.peak = self.bytes

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and see what it leaves."""
        result = func(*args, **(kwargs or {}))
        name = func._schema.name

        def see(tensor: torch.Tensor) -> torch.Tensor:
            shape = "x".join(map(str, tensor.shape))
            self.enter(tensor, f"{name} {str(tensor.dtype).removeprefix('torch.')} {shape}")
            return tensor

        tree_map_only(torch.Tensor, see, result)
        extra = SCRATCH[name](args) if self._scratch and name in SCRATCH else 0
        if self.bytes + extra > self.peak:
            self.peak, self.peak_at = self.bytes + extra, name
            self.at_peak = +self.made_by
            if extra:
                self.at_peak[f"inside {name}"] = extra
        return result


class _Expanded(torch.autograd.Function):
    """A product with a weight that is expanded to the compute dtype for it and saved nowhere, as bitsandbytes does."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, layer: "SimulatedNF4") -> torch.Tensor:
        ctx.layer = layer
        return hidden @ layer.expanded(hidden.dtype).t()

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, None]:
        return slopes[0] @ ctx.layer.expanded(slopes[0].dtype), None


class SimulatedNF4(nn.Module):
    """A linear layer with the bytes of bitsandbytes' double-quantised NF4, and no numbers."""

    def __init__(self, inputs: int, outputs: int, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        scales = inputs * outputs // 64
        packed = torch.empty(inputs * outputs // 2, 1, dtype=torch.uint8)
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.scales = nn.Parameter(torch.empty(scales, dtype=torch.uint8), requires_grad=False)
        self.nested = nn.Parameter(torch.empty(-(-scales // 256)), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def expanded(self, dtype: torch.dtype) -> torch.Tensor:
        """The matrix (outputs, inputs) in the compute dtype, and for a moment its float32 scales."""
        scales = self.scales.float()
        weight = self.weight.new_empty(self.out_features, self.in_features, dtype=dtype)
        del scales
        return weight

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The product, cast to the type of the input."""
        if torch.is_autocast_enabled("cpu"):
            hidden = hidden.to(torch.get_autocast_dtype("cpu"))
        output = cast(torch.Tensor, _Expanded.apply(hidden, self))  # type: ignore[no-untyped-call]
        return output if self.bias is None else output + self.bias.to(output.dtype)


class SimulatedAdapter(nn.Module):
    """What PEFT's LoRA layers do, operation by operation (peft 0.21, `lora/bnb.py` and `lora/layer.py`), under autocast.

    Beside a 4-bit base the result is copied first; beside an unquantised one the adapter casts its input to its own type.
    """

    def __init__(self, base: nn.Module, rank: int) -> None:
        super().__init__()
        self.base_layer = base
        inputs, outputs = cast(int, base.in_features), cast(int, base.out_features)
        self.lora_A = nn.Linear(inputs, rank, bias=False, dtype=torch.float32)
        self.lora_B = nn.Linear(rank, outputs, bias=False, dtype=torch.float32)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Base and low-rank product."""
        result = self.base_layer(hidden)
        if isinstance(self.base_layer, SimulatedNF4):
            result = result.clone()
        else:
            hidden = hidden.to(self.lora_A.weight.dtype)
        return result + self.lora_B(self.lora_A(hidden)) * 2.0


@dataclass(frozen=True)
class Simulated:
    """What a simulation found, in bytes."""

    resident: int
    peak: int
    peak_at: str
    largest: Mapping[str, int]
    """What was there at the peak, by what made it, largest first."""


def simulate(config: Any, work: Workload, *, block: int = BLOCK, scratch: bool = True) -> Simulated:
    """Peak bytes of one step of a transformers config; the second step, when the optimizer has its states.

    Args:
        config: A transformers config; its depth is what is simulated.
        work: What is done with it; 4 bits are nf4.
        block: Bytes that every request is rounded up to.
        scratch: Whether what operations of a GPU have inside is added.
    """
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
        stack.enter_context(cuda_autocast())
        stack.enter_context(_all_trained(work.rows, work.tokens))
        stack.enter_context(ledger)
        module = _module(model, work, ledger)
        optimizer = _States(model, work)
        resident = 0
        for _ in range(2):
            ledger.reset()
            resident = ledger.bytes
            run_step(module, work)
            optimizer.step()
        return Simulated(
            resident, ledger.peak, ledger.peak_at, dict(ledger.at_peak.most_common(12))
        )


def _model(config: Any, work: Workload) -> nn.Module:
    from transformers import AutoModelForCausalLM

    build: Any = AutoModelForCausalLM.from_config
    model: nn.Module = build(
        config, dtype=getattr(torch, work.weight_dtype), attn_implementation="sdpa"
    )
    if work.method != "full":
        _adapt(model, work)
    elsewhere = work.checkpoint_place != "device" or work.base_place != "device"
    if work.gradient_checkpointing and not work.frugal and not elsewhere:
        cast(Any, model).gradient_checkpointing_enable({"use_reentrant": False})
    return model.train()


def _adapt(model: nn.Module, work: Workload) -> None:
    """Freeze a model and give all its linear layers but the head an adapter, and 4-bit weights where the method wants them."""
    model.requires_grad_(False)
    head = cast(Any, model).get_output_embeddings()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is not nn.Linear or child is head:
                continue
            base: nn.Module = child
            if work.method == "qlora":
                base = SimulatedNF4(child.in_features, child.out_features, child.bias)
            setattr(parent, name, SimulatedAdapter(base, work.rank))


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
        stream_layers(model, torch.device("cpu"), HostRest(bytes_on_host))
    shelf: Shelf = (
        DeviceShelf()
        if work.checkpoint_place == "device"
        else HostShelf(bytes_on_host, ahead=not work.frugal)
    )
    if work.frugal:
        make_frugal(model, FrugalSettings(tile_tokens=work.tile_tokens), shelf, prove=False)
    elif work.checkpoint_place != "device" or work.base_place != "device":
        make_shelved(model, shelf)
    return LossModule(model, work.loss_chunk_tokens, work.tile_tokens if work.frugal else 0)


def _place_ends(model: nn.Module, work: Workload, ledger: Ledger) -> None:
    """Embedding and head where the work wants them.

    Raises:
        ValueError: The head is quantised, which needs numbers.
    """
    from xtune.kernels.embedding import keep_embedding_on_host
    from xtune.kernels.head_slices import HostMatrix, slice_head

    if work.head_form in {"nf4", "int8"}:
        raise ValueError("a quantised head needs numbers; it is computed only")
    untyped: Any = model
    for layer, place in (
        (untyped.get_output_embeddings(), work.head_form),
        (untyped.get_input_embeddings(), work.embeddings_place),
    ):
        if place != "host":
            continue
        with ledger.host():
            kept = torch.empty_like(layer.weight.detach())
            staging = kept.new_empty(work.positions, kept.shape[1])
        if isinstance(layer, nn.Linear):
            slice_head(layer, HostMatrix(kept, torch.device("cpu")), kept)
        else:
            keep_embedding_on_host(layer, kept, torch.device("cpu"))
            layer.forward._staging = staging


def run_step(module: nn.Module, work: Workload) -> None:
    """Forward and backward pass of a loss module over rows in which every token is trained on."""
    rows, tokens = work.rows, work.tokens
    ids = torch.zeros(rows, tokens, dtype=torch.int64)
    positions = torch.arange(tokens).expand(rows, tokens).contiguous()
    mixed = work.method != "full" or work.weight_dtype != work.compute_dtype
    with torch.autocast("cpu", dtype=getattr(torch, work.compute_dtype), enabled=mixed):
        loss = module(ids, ids, torch.ones(rows, tokens), positions)
    loss.backward()


@contextmanager
def _all_trained(rows: int, tokens: int) -> Iterator[None]:
    """Where numbers would be looked at: every token is trained on and another one, and no row holds more than one sample."""
    from transformers import masking_utils

    from xtune.kernels import attention, embedding, loss

    def every_row(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(ids.numel(), dtype=torch.int64), ids

    def everywhere(*_: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        columns = torch.arange(tokens - 1)
        return torch.zeros(rows, 1, dtype=torch.int64).expand(rows, tokens - 1).reshape(
            -1
        ), columns.repeat(rows)

    patched: list[tuple[Any, str, Callable[..., Any]]] = [
        (loss, "trained_positions", everywhere),
        (embedding, "used_rows", every_row),
        (attention, "_find_documents", lambda _: None),
        (masking_utils, "find_packed_sequence_indices", lambda _: None),
    ]
    before = [getattr(module, name) for module, name, _ in patched]
    for module, name, stand_in in patched:
        setattr(module, name, stand_in)
    try:
        yield
    finally:
        for (module, name, _), original in zip(patched, before, strict=True):
            setattr(module, name, original)


@contextmanager
def cuda_autocast() -> Iterator[None]:
    """PEFT asks whether CUDA's autocast is on before it casts; on a CPU it would cast everything to float32."""
    torch.set_autocast_enabled("cuda", True)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)


class _States:
    """An optimizer that only has its states: two numbers a parameter, in float32 or as bytes with their scales."""

    def __init__(self, model: nn.Module, work: Workload) -> None:
        self._trained = [each for each in model.parameters() if each.requires_grad]
        self._name, self._states = work.optimizer, list[torch.Tensor]()

    def step(self) -> None:
        """Make the states if they are not there, and let the gradients go."""
        for parameter in self._trained:
            if len(self._states) < 2 * len(self._trained):
                self._make(parameter)
            parameter.grad = None

    def _make(self, parameter: torch.Tensor) -> None:
        if self._name == "adamw":
            self._states += [torch.empty_like(parameter), torch.empty_like(parameter)]
        elif self._name == "adamw_8bit":
            scales = -(-parameter.numel() // 256)
            self._states += [
                torch.empty(parameter.numel() * 2 + 8 * scales, dtype=torch.uint8),
                torch.empty(0),
            ]


def at_depth(
    config: Any, work: Workload, depth: int, *, simulated: tuple[int, int] = (2, 3)
) -> int:
    """Peak bytes at a depth, drawn as a line through the peaks of two shallow models.

    Exact where every layer adds the same, which holds for a repeated layer. A full fine-tune is simulated at its own depth:
    its gradients come as checkpoints go, so that the peak of a shallow model is at another moment.
    """
    if work.method == "full":
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
                allocated = (
                    computed.peak_bytes - computed.items["context"] - computed.items["reserve"]
                )
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
