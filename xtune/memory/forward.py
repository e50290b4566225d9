"""A decoder layer's forward pass where nothing goes back through it, so that nothing is kept. Closed formulas; letters as in `kept`.

Such are all layers where the head alone is trained. At its fullest a layer has what it reads, what the embedding gave, and either queries
and keys on their way through their rotation, or what attention reads and gives, or gate, up and their product.
"""

from xtune.memory.blocks import capped_blocks
from xtune.memory.frugal import LAST_BLOCKS, FrugalLayer
from xtune.memory.layer import Layer
from xtune.memory.linear import Linear
from xtune.memory.moments import Moment
from xtune.memory.whole import WholeLayer


def forward_bytes(layer: FrugalLayer | WholeLayer) -> int:
    """The most that exists in the forward pass of a layer without gradients, its input and output among it."""
    n, h = layer.work.positions, layer.h
    held = layer.work.weight_bytes
    around = held * h * min(2, layer.shape.layers)
    if not isinstance(layer, FrugalLayer):
        moments = (*_norm(layer), *_projecting(layer), *_attending(layer), *_feed_forward(layer))
        return n * around + max(each.bytes(n) for each in moments)
    heads = n * (around + layer._queries + layer._keys + layer._values)
    projecting = (*_norm(layer), *_projecting(layer))
    finishing = (*_norm(layer), *_feed_forward(layer))
    return heads + max(
        max(each.bytes(layer.tile) for each in projecting),
        _group(layer),
        n * held * h + max(each.bytes(layer.tile) for each in finishing),
    )


def _norm(layer: Layer) -> tuple[Moment, ...]:
    """Of a norm: its input in float32, that once more normalised, and with float32 weights multiplied (4 h each)."""
    copies = 3 if layer.shape.float32_norms else 2
    return (Moment(per_token=4 * copies * layer.h + layer.w * layer.h),)


def _linear(layer: Layer, linear: Linear, kept: int) -> Moment:
    """Of a linear layer beside so much a token.

    4 bits are expanded; LLM.int8() has its input's levels, 32-bit sums and, scaled, 16 bits of them (i + 6 o); a wider matrix is cast,
    and what it reads.
    """
    c, work = layer.c, layer.work
    if work.quantization == "int8":
        return Moment(per_token=kept + linear.inputs + 6 * linear.outputs)
    cast = c * linear.inputs if c < layer.w else 0
    made = work.quantization is not None or c < layer.w
    return Moment(
        per_token=kept + cast + c * linear.outputs, fixed=c * linear.weights if made else 0
    )


def _projecting(layer: Layer) -> tuple[Moment, ...]:
    """Projections one after another; then queries are turned: times cosine, their halves changed over, and these times sine; then keys."""
    c, q, k = layer.c, layer.q, layer.k
    kept, moments = layer.input * layer.h if layer.shape.norms_before else 0, list[Moment]()
    for each in layer.shape.attention_linears[:-1]:
        moments.append(_linear(layer, each, kept))
        kept += c * each.outputs
    if layer.shape.may_normalise_heads:
        copies = 3 if layer.shape.float32_norms else 2
        moments.append(Moment(per_token=kept + 4 * copies * q - 2 * c * k))
    turned = layer.work.weight_bytes if not layer.shape.float32_rotary else 4
    moments.append(Moment(per_token=kept + turned * max(3 * q, q + 3 * k)))
    return tuple(moments)


def _attending(layer: Layer) -> tuple[Moment, ...]:
    """Queries, keys and values of all tokens, what attention gives, and what the output projection makes of that."""
    c, q, k = layer.c, layer.q, layer.k
    kept = layer.input * layer.h + c * (q + 2 * k) + (2 * c * q if layer.repeats_keys else 0)
    kept += c * (q + k) if layer.shape.fused_qkv else 0
    output = _linear(layer, layer.shape.attention_linears[-1], kept + c * q)
    fixed = layer._mask
    if layer.work.attention == "eager":
        # scores, and in float32 before and after softmax; with sinks three in the compute type
        each = 3 * c if layer.shape.has_sinks else c + (8 if c < 4 else 4)
        fixed += layer.pairs * layer.shape.heads * each
    return Moment(per_token=kept + c * q, fixed=fixed), output


def _feed_forward(layer: Layer) -> tuple[Moment, ...]:
    """State between the halves and normalised one, and the block: gate, activation and up, their product, what the last layer gives."""
    c, h, m = layer.c, layer.h, layer.width
    kept = (layer.w + (layer.between if layer.shape.norms_before else 0)) * h
    if layer.sparse:
        return _experts(layer, kept)
    first, last = layer.shape.mlp_linears[0], layer.shape.mlp_linears[-1]
    if layer.shape.fused_gate_up:
        moments = [_linear(layer, first, kept), Moment(per_token=kept + 4 * c * m)]
        return (*moments, _linear(layer, last, kept + 3 * c * m))
    acts = 2 * c + (c if layer.shape.gated else 0)
    if layer.ungated is not None and layer.ungated.composed:
        # gelu_new has half of its input, and under CUDA's autocast a float32 copy and the power of that
        acts = 2 * c + 8 if layer.ungated.widens else 4 * c
    product = Moment(per_token=kept + acts * m + layer._written_out)
    return product, _linear(layer, first, kept + c * m), _linear(layer, last, kept + c * m)


def _experts(layer: Layer, kept: int) -> tuple[Moment, ...]:
    """Of a shared expert; of each visit what it reads, gate and up, activation and product; then what it gave, times its route, and in the tokens' order.

    gpt-oss has biases of gate and up laid out too, and of both what is clamped.
    """
    block, shared = layer.block, layer.shape.shared_intermediate
    routes = 4 if layer.shape.has_wide_routes else layer.e
    visits = layer.h * block.s
    given = layer.c * layer.h if shared else 0
    each = kept + 12 * layer.shape.experts + layer.e * visits + given
    acts = 9 if layer.shape.has_sinks else 4
    return (
        Moment(per_token=kept + 3 * layer.c * shared),
        Moment(per_token=each + layer.e * acts * block.m),
        Moment(per_token=each + 2 * routes * visits),
    )


def _group(layer: FrugalLayer) -> int:
    """Attention of one key head and its query heads: what it gives, written over its queries; or a block of capped scores.

    Of these there are, for every query head, the capped ones and in float32 those before and after softmax, with keys or values
    beside them, and a byte for what is not seen.
    """
    shape, work, c = layer.shape, layer.work, layer.c
    heads = shape.heads // shape.kv_heads
    given = heads * (c * shape.head_dim + 4)
    if not shape.caps_scores:
        return work.positions * given
    window = shape.sliding_window if shape.all_windowed else None
    blocks = capped_blocks(work.tokens, window, work.rows * heads, last=LAST_BLOCKS)
    scores = heads * (c + (8 if c < 4 else 4)) + 1
    return work.rows * max(
        (each.end - each.first) * ((each.end - each.start) * scores + c * heads * shape.head_dim)
        for each in blocks
    )
