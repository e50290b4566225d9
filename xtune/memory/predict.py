"""Peak bytes of one training step by item, computed from closed formulas; nothing is run and nothing is measured.

Each formula stands with its derivation. They follow transformers' Llama-like layers with PEFT adapters,
sdpa or flash attention, and `xtune.kernels`' chunked loss. What they cannot know: fragmentation and
library workspaces, for which `context` and `reserve` are set aside.

Letters: n tokens in a forward pass, h hidden size, m feed-forward width, q and k widths of all query and
key heads, v vocabulary, w bytes of an unquantised weight (and so of the hidden states), c bytes of a
compute number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from xtune.memory.shape import ModelShape

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
    saved_parameters: int = 0
    """Parameters of `modules_to_save`: trained copies beside the adapters."""

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


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Computed bytes by item. They do not all exist at one time; `peak_bytes` says what does."""

    items: Mapping[str, int]
    gradients_stay: bool
    """Whether gradients live through forward passes (several micro-batches a step)."""

    last_checkpoint_bytes: int = 0
    """What of `checkpoints` is there to the end of the backward pass: that of the first layer."""

    @property
    def resident_bytes(self) -> int:
        """What is there from the first step to the last."""
        names = ("weights", "embeddings", "head", "adapter", "optimizer", "context")
        return sum(self.items[name] for name in names)

    @property
    def peak_bytes(self) -> int:
        """The largest sum of what exists at one time.

        When the loss is computed all checkpoints and casts exist, and the logits; in the backward pass of
        the last layer all checkpoints and that layer's activations. Afterwards checkpoints are freed as
        gradients come, layer by layer, so the sum lies between its ends: all checkpoints and no gradients,
        or one layer's checkpoint and all gradients. Gradients that stay from an earlier micro-batch add to both.
        """
        item = self.items
        forward = item["checkpoints"] + max(item["layer"], item["loss"] + item["casts"])
        backward = item["gradients"] + self.last_checkpoint_bytes + item["layer"]
        step = item["gradients"] + forward if self.gradients_stay else max(forward, backward)
        return self.resident_bytes + step + item["reserve"]

    def lines(self) -> list[str]:
        """The items in GiB, then the peak, for people."""
        rows = [f"{name:<12} {size / GIB:8.3f} GiB" for name, size in self.items.items() if size]
        return [*rows, f"{'peak':<12} {self.peak_bytes / GIB:8.3f} GiB (computed)"]

    def to_json(self) -> dict[str, int]:
        """Bytes by item, and the peak."""
        return {**self.items, "peak": self.peak_bytes}


def predict(shape: ModelShape, work: Workload) -> Prediction:
    """Compute the bytes of one training step by item."""
    trained = trained_parameters(shape, work)
    adapter = 0 if work.method == "full" else trained * ADAPTER_BYTES
    gradient_bytes = work.weight_bytes if work.method == "full" else ADAPTER_BYTES
    saved = _saved_per_layer(shape, work, work.positions)
    items = {
        "weights": _resident_weights(shape, work),
        "embeddings": _embeddings(shape, work),
        "head": _head(shape, work),
        "adapter": adapter,
        "gradients": _gradients(shape, work, trained * gradient_bytes),
        "optimizer": optimizer_bytes(shape, work),
        "checkpoints": _checkpoints(shape, work, saved),
        "layer": _layer(shape, work, saved),
        "loss": _loss(shape, work),
        "casts": _casts(shape, work, trained),
        "context": CONTEXT_BYTES[work.device],
    }
    moving = items["checkpoints"] + max(items["layer"], items["loss"])
    items["reserve"] = round(RESERVE_FRACTION * moving)
    return Prediction(
        items=items,
        gradients_stay=work.accumulation_steps > 1,
        last_checkpoint_bytes=_hidden_states(shape, work) if work.gradient_checkpointing else saved,
    )


def _resident_weights(shape: ModelShape, work: Workload) -> int:
    """The decoder layers and the last norm; of layers that wait elsewhere, the one in use and the one on its way."""
    if work.base_place == "device":
        return weight_bytes(shape, work)
    last_norm = shape.hidden * work.weight_bytes
    return last_norm + min(shape.layers, 2) * layer_weight_bytes(shape, work)


def layer_weight_bytes(shape: ModelShape, work: Workload) -> int:
    """Bytes of one decoder layer, the largest: one with experts where there are any."""
    one = replace(shape, layers=1, expert_layers=min(1, shape.expert_layers))
    return weight_bytes(one, work) - shape.hidden * work.weight_bytes


def _embeddings(shape: ModelShape, work: Workload) -> int:
    return 0 if work.embeddings_place == "host" else shape.embedding_parameters * work.weight_bytes


def _head(shape: ModelShape, work: Workload) -> int:
    """The head: a matrix of its own, or its quantised form; the slices of one on the host belong to the loss."""
    if work.head_form == "host":
        return 0
    entries = shape.vocab * shape.hidden
    if work.head_form == "nf4":
        scales = entries // QUANTIZATION_BLOCK
        return entries // 2 + scales + 4 * (scales // NESTED_BLOCK)
    if work.head_form == "int8":
        return entries + 4 * shape.vocab
    return shape.head_parameters * work.weight_bytes


def _gradients(shape: ModelShape, work: Workload, every: int) -> int:
    """Gradients of everything trained; of a step fused into the backward pass, those that exist at one time.

    Fused, a gradient is gone before the next one is made, so the largest counts. But layers whose inputs wait elsewhere, or
    which come from elsewhere themselves, give all of their own together; frugal ones cast from float32 sums. A table
    that is embedding and head at once has the head's gradient waiting from the beginning of the backward pass to its end,
    where the embedding's comes beside it.
    DistributedDataParallel keeps its buckets beside the gradients.
    """
    if work.fused_step:
        w, table = work.weight_bytes, shape.vocab * shape.hidden * work.weight_bytes
        layer = max(linear.weights for _, linear in shape.linears) * w
        if work.frugal or work.base_place != "device" or work.checkpoint_place != "device":
            sums = 4 if work.frugal and w < 4 else 0
            layer = layer_weight_bytes(shape, work) // w * (w + sums)
        return max(layer, table) + (table if shape.tied else 0)
    return every * (2 if work.world_size > 1 else 1)


def _hidden_states(shape: ModelShape, work: Workload) -> int:
    return work.positions * shape.hidden * work.weight_bytes


def _checkpoints(shape: ModelShape, work: Workload, saved: int) -> int:
    """What waits on the device for the backward pass.

    Every layer's activations; or with checkpointing every layer's input; or where those wait elsewhere, the one in
    use and, beside whole layers, the one that is on its way.
    """
    if not work.gradient_checkpointing:
        return shape.layers * saved
    away = 1 if work.frugal else min(shape.layers, 2)
    waiting = shape.layers if work.checkpoint_place == "device" else away
    return waiting * _hidden_states(shape, work)


def _layer(shape: ModelShape, work: Workload, saved: int) -> int:
    """What the layer in the backward pass needs besides its input.

    A frugal layer holds for every token the incoming gradient (h w), queries, keys, values and what attention gave
    (c times 2 q + 2 k). Besides it needs the most of: a tile of the feed-forward block, which saves gate, its
    activation and up and has both gradients of their product (5 c m), experts as whole layers do, the norm's float32 input (4 h), the residual, the
    normalised state, the output and its copy (4 c h), and the largest matrix expanded; or one group's attention, what it gave and the
    gradients of its queries, keys and values (c times 2 q + 2 k of the group) and what the kernel has inside: float32
    sums of the queries' gradients (4 q), and where key heads are shared the gradients of keys and values for every
    query head (2 c q).
    """
    if not work.frugal:
        return (saved if work.gradient_checkpointing else 0) + _backward(
            shape, work, work.positions
        )
    c, h, n = work.compute_bytes, shape.hidden, work.positions
    tile = min(work.tile_tokens, work.tokens) * work.rows
    every = _hidden_states(shape, work) + 2 * c * n * (shape.query_width + shape.kv_width)
    query = shape.query_width // max(1, shape.kv_heads)
    shared = 2 * c * query if shape.heads != shape.kv_heads else 0
    group = n * (c * (2 * query + 2 * shape.head_dim) + 4 * query + shared)
    block = tile * (5 * c * _feed_forward_width(shape) + 4 * h + 4 * c * h)
    block += tile * (2 * c * h * shape.experts_per_token + _visits(shape, work))
    experts = _expanded_experts(shape, work) * 5 // 3 + _copied_factors(shape, work)
    return every + max(group, block + _expanded(shape, work) + experts)


def _expanded(shape: ModelShape, work: Workload) -> int:
    """The largest quantised matrix in the compute dtype: they are expanded one at a time."""
    largest = max((linear.weights for _, linear in shape.linears), default=0)
    return largest * work.compute_bytes if work.quantization else 0


def trained_parameters(shape: ModelShape, work: Workload) -> int:
    """Parameters that get gradients."""
    if work.method == "full":
        return shape.parameters
    low_rank = shape.lora_parameters(work.rank, work.targets, dora=work.dora)
    return low_rank + work.saved_parameters + work.new_tokens * shape.hidden


def weight_bytes(shape: ModelShape, work: Workload) -> int:
    """Bytes of the decoder layers and the last norm.

    4 bits: half a byte a weight and a scale for every 64 weights, float32 (4 bytes), or with double
    quantisation one byte and a float32 for every 256 scales. 8 bits: a byte a weight and a float32 for
    every output. Norms, biases and experts are not quantised.
    """
    plain = (shape.expert_parameters + shape.small_parameters) * work.weight_bytes
    weights = shape.linear_weights
    if work.quantization is None:
        return plain + weights * work.weight_bytes
    if work.quantization == "int8":
        return plain + weights + 4 * sum(count * linear.outputs for count, linear in shape.linears)
    scales = weights // QUANTIZATION_BLOCK
    scale_bytes = scales + 4 * (scales // NESTED_BLOCK) if work.double_quantization else 4 * scales
    return plain + weights // 2 + scale_bytes


def optimizer_bytes(shape: ModelShape, work: Workload) -> int:
    """Bytes of the optimizer's states on the device.

    Adam keeps two numbers for each trained parameter: in the parameter's own dtype (torch), or as one byte
    with a float32 for every 256 (bitsandbytes). Lion keeps one. Adafactor keeps a row and a column of float32
    for each matrix. Muon keeps one number for each matrix entry and is Adam for the rest. GaLore and APOLLO keep of a
    matrix with sides a and b, a the longer, 2 r a numbers and a projection of r b, and are Adam for the rest. Paged states
    may leave the device and are counted as host memory.
    """
    trained = trained_parameters(shape, work)
    own = work.weight_bytes if work.method == "full" else ADAPTER_BYTES
    if work.states_place == "host":
        return 0
    if work.optimizer.startswith("paged") and work.device != "cpu":
        return 0
    name = work.optimizer.removeprefix("paged_")
    if name in {"adamw_8bit", "lion_8bit"}:
        moments = 2 if name == "adamw_8bit" else 1
        return moments * (trained + 4 * (trained // OPTIMIZER_BLOCK))
    if name == "adafactor":
        return 4 * _rows_and_columns(shape, work)
    if name == "muon":
        matrices = shape.linear_weights + shape.expert_parameters
        return own * (matrices + 2 * (trained - matrices))
    if name in SUBSPACE_RANKS:
        return own * (_subspace(shape, work, name) + 2 * (trained - shape.linear_weights))
    return 2 * own * trained


def _subspace(shape: ModelShape, work: Workload, name: str) -> int:
    rank = work.subspace_rank or SUBSPACE_RANKS[name]
    sides = [
        (n, min(one.inputs, one.outputs), max(one.inputs, one.outputs)) for n, one in shape.linears
    ]
    return sum(count * min(rank, short) * (2 * long + short) for count, short, long in sides)


def _rows_and_columns(shape: ModelShape, work: Workload) -> int:
    if work.method != "full":  # each factor (r, a) has r rows and a columns
        return sum(
            count * (2 * work.rank + linear.inputs + linear.outputs)
            for count, linear in shape.target_linears(work.targets)
        )
    matrices = sum(count * (linear.inputs + linear.outputs) for count, linear in shape.linears)
    tables = (1 if shape.tied else 2) * (shape.vocab + shape.hidden)
    return matrices + tables + shape.small_parameters


def _feed_forward_width(shape: ModelShape) -> int:
    """The width m of the widest layer: in a mixture, the experts that one token visits, side by side."""
    sparse = shape.experts_per_token * shape.expert_intermediate if shape.expert_layers else 0
    dense = shape.intermediate if shape.expert_layers < shape.layers else 0
    return max(sparse, dense)


def _saved_per_layer(shape: ModelShape, work: Workload, positions: int) -> int:
    """What one layer's forward pass over so many tokens saves for its backward pass.

    The tests count it with autograd's own hooks.

    Norms: each saves its input in float32 (4h), and where norms are trained the normalised input (w h; Gemma
    normalises in float32: 4h). Norms on queries and keys do the same with q + k.
    Inputs of linear layers: query, key, value, gate and up read two tensors (2 c h); five copies (5 c h)
    are saved where each layer casts for itself, which autocast does with float32 hidden states and PEFT
    with an adapter on an unquantised base. There the output layer saves a copy too (c q).
    Attention saves queries and output (2 c q), keys and values (2 c k); rotary embeddings only their tables.
    Values that are a view of a fused projection keep its queries and keys alive (c q + c k).
    The feed-forward block saves gate, its activation, up and their product (4 c m); experts also a copy of
    the input and of the output for each expert that a token visits (2 c h). Beside an adapter PEFT expands the experts of a
    layer with what the adapter adds to them, and keeps copies of its factors.
    Eager attention saves each head's scores after softmax, in float32 and in the compute dtype, and capped
    scores. A pack needs a mask of a byte for each pair of tokens, and the attention kernel a copy of it in
    the compute dtype.
    """
    c, h = work.compute_bytes, shape.hidden
    normalised = (4 if shape.float32_norms else work.weight_bytes) if work.method == "full" else 0
    query_key = 0 if shape.query_key_norm == "none" else shape.query_width + shape.kv_width
    norms = (shape.norms * h + query_key) * (4 + normalised)
    casts_apart = work.method == "lora" and c < ADAPTER_BYTES
    readers = 2 if shape.fused else 5
    inputs = c * h * (readers if casts_apart or c < work.weight_bytes else 2)
    output = c * shape.query_width if casts_apart else 0
    attention = (3 if shape.fused else 2) * c * (shape.query_width + shape.kv_width)
    feed_forward = 4 * c * _feed_forward_width(shape) + 2 * c * h * shape.experts_per_token
    per_token = norms + inputs + output + attention + feed_forward
    pairs = work.rows * work.tokens**2
    experts = _expanded_experts(shape, work) + _copied_factors(shape, work)
    if work.attention == "eager":
        return positions * per_token + pairs * shape.heads * (4 + 2 * c) + experts
    mask = pairs * (1 + c) if work.packing and work.attention == "sdpa" else 0
    return positions * per_token + mask + experts


def _adapts_experts(shape: ModelShape, work: Workload) -> bool:
    return work.method != "full" and shape.experts > 0 and "all-linear" in work.targets


def _expanded_experts(shape: ModelShape, work: Workload) -> int:
    """One layer's experts with an adapter's addition, in the compute dtype: three matrices h by m for each."""
    if not _adapts_experts(shape, work):
        return 0
    return work.compute_bytes * shape.experts * 3 * shape.hidden * shape.expert_intermediate


def _copied_factors(shape: ModelShape, work: Workload) -> int:
    """Copies of an adapter's factors beside one layer's experts, laid out for a product of all experts at once."""
    return (
        ADAPTER_BYTES * shape.expert_lora_parameters(work.rank)
        if _adapts_experts(shape, work)
        else 0
    )


def _visits(shape: ModelShape, work: Workload) -> int:
    """Short-lived bytes a token where experts' outputs are weighted and put back in order: three copies, Mixtral's in float32."""
    width = 4 if shape.model_type == "mixtral" else work.compute_bytes
    return 3 * width * shape.hidden * shape.experts_per_token


def _backward(shape: ModelShape, work: Workload, positions: int) -> int:
    """Short-lived tensors of one layer's backward pass over so many tokens.

    Largest in the feed-forward block: the gradients of product, activation, gate and up (4 c m), the incoming
    gradient and the residual's (2 c h) and a norm's float32 gradient (4h). Quantised weights are expanded
    to the compute dtype one matrix at a time; beside one only the product's two gradients exist, the base's and the
    adapter's (2 c m), and the norm's comes when they are gone. Of adapted experts the gradient of what was expanded comes too.
    """
    c, h = work.compute_bytes, shape.hidden
    per_token = 4 * c * _feed_forward_width(shape) + 2 * c * h + 4 * h
    if work.quantization is not None:
        per_token = 2 * c * _feed_forward_width(shape) + 2 * c * h
    backward = positions * per_token + _expanded(shape, work) + _expanded_experts(shape, work)
    return max(backward, positions * _visits(shape, work))


def _loss(shape: ModelShape, work: Workload) -> int:
    """Logits and what surrounds them.

    Cross-entropy holds three float32 copies of the logits that exist at one time: the logits, their
    log-softmax and their gradient (12 v for each token of a chunk). The last hidden state and its gradient
    exist for every token (2 c h); behind frugal layers the gradient is written over the hidden states, and a tile has
    its norm's float32 input (4 h), its selection, normalised states and gradient (5 c h). A trained head's gradient comes
    with them.
    """
    chunk = min(work.loss_chunk_tokens or work.positions, work.positions)
    hidden = 2 * work.compute_bytes * shape.hidden * work.positions
    if work.frugal:
        tile = min(work.tile_tokens, work.positions)
        hidden = _hidden_states(shape, work) + tile * shape.hidden * (4 + 5 * work.compute_bytes)
    if work.head_form != "device":
        return hidden + _sliced_loss(shape, work, chunk)
    return 12 * shape.vocab * chunk + hidden + _head_gradient(shape, work)


def _head_gradient(shape: ModelShape, work: Workload) -> int:
    """A trained head's gradient as it is made: a float32 sum over the chunks, what is given on of it, and a part of either.

    Behind frugal layers each tile has such sums, which are added up in others.
    """
    if work.method != "full":
        return 0
    entries = shape.vocab * shape.hidden
    tiles = 4 if work.frugal and work.positions > work.tile_tokens else 0
    part = 4 * min(shape.vocab, HEAD_PART_ROWS) * shape.hidden
    return part + entries * (4 + tiles + min(work.weight_bytes, work.compute_bytes))


def _sliced_loss(shape: ModelShape, work: Workload, chunk: int) -> int:
    """Of a head in slices of r rows: two slices (2 r h w) and as many logits as of a whole one, of more tokens.

    For each of a group of tokens the sums of its gradient (4 h) and its label's row (c h) are kept, and a product (c h) of
    those whose logits exist; at the end both once more, of the label's row a float32 copy. One slice is a whole head.
    """
    h, w, c = shape.hidden, work.weight_bytes, work.compute_bytes
    rows = min(shape.vocab, max(1, HEAD_SLICE_BYTES // (h * w)))
    cast = rows * h * c if w != c else 0
    if rows == shape.vocab:
        return rows * h * w + cast + 12 * rows * chunk
    tokens = min(work.tile_tokens, work.positions) if work.frugal else work.positions
    group = min(tokens, max(1, HEAD_SUM_BYTES // (4 * h)))
    part = min(group, chunk * shape.vocab // rows)
    sums = group * h * (4 + c)
    return sums + max(2 * rows * h * w + cast + part * (12 * rows + c * h), sums)


def _casts(shape: ModelShape, work: Workload, trained: int) -> int:
    """Autocast's copies of trained float32 matrices, kept until the forward pass ends."""
    held = work.weight_dtype if work.method == "full" else "float32"
    if held != "float32" or work.compute_dtype == "float32":
        return 0
    matrices = trained - shape.small_parameters if work.method == "full" else trained
    return matrices * work.compute_bytes
