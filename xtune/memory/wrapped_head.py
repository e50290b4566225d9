"""The end of a model whose head PEFT wraps: adapted, trained in full, or with rows of its own for new tokens. Closed formulas.

Letters as in `kept`; V the vocabulary, E = V h, t the tokens of a chunk. The gradient of such a head is autograd's, chunk by chunk:
what a chunk made is let go, and made again for its backward pass (`xtune.kernels.cross_entropy.chunked_cross_entropy`).

Forward a chunk has float32 logits and their logarithms after softmax (8 V t). Backward it has these logarithms, the slope by them and
the slope by the logits (12 V t; a soft cap keeps its tangents, 4 more). Then there are that slope in the compute type (c V t) and what it
is multiplied with, and of a trained matrix a product as large as it. Products of chunks are summed in the type in which they come,
the sum a third beside both; a copy in the compute type, which the product read, is made for each chunk.

Of new tokens the rows are written into a copy of the whole table (w E), whose gradient comes whole (c E), in every chunk. Neither is
summed, as only rows of it are.

Behind whole layers all chunks are done forward, then backward: autocast's other copies are gone by then. Behind frugal layers a
tile of tokens goes forward and backward by itself, within the forward pass: autocast keeps its copies, and earlier tiles have
left their float32 sum (4 E).
"""

from dataclasses import dataclass

from xtune.memory.families import own_name
from xtune.memory.learning import layers_learn
from xtune.memory.norms import Norm
from xtune.memory.saved import saved_modules
from xtune.memory.shape import ModelShape
from xtune.memory.workload import ADAPTER_BYTES, Workload


def wraps_head(shape: ModelShape, work: Workload) -> bool:
    """Whether PEFT has put something around the head."""
    if work.is_full:
        return False
    adapted = not shape.tied and own_name(shape.model_type, "lm_head") in work.target_names
    return adapted or work.new_tokens > 0 or saved_modules(shape, work.saved).head


@dataclass(frozen=True, kw_only=True)
class _Matrix:
    """Bytes of what surrounds the product with the head's matrix."""

    copy: int
    """Of what a chunk's product reads in place of the head itself."""

    product: int
    """Of what comes as the gradient of it."""

    summed: bool
    """Whether chunks' products are added up."""

    entries: int
    """Of its float32 gradient."""


def wrapped_loss_bytes(shape: ModelShape, work: Workload, casts: int) -> int:
    """Hidden states, logits and what surrounds them when the loss is computed, and autocast's copies as long as they are there.

    The last norm keeps its input in float32 (4 h), where it is trained what it scales too (4 h); there are those states that are
    trained on, and in the forward pass the normalised ones, in the backward pass their slope (w h each). Where the head alone is
    trained the norm keeps nothing, and there is no slope.
    """
    matrix, h, n = _matrix(shape, work), shape.hidden, work.positions
    w = work.weight_bytes
    scaled = ADAPTER_BYTES if saved_modules(shape, work.saved).last_norm else 0
    norm = Norm(shape, work)
    each = h * (norm.keeps(w) + scaled + 2 * w)
    if not work.frugal:
        chunk = min(work.loss_chunk_tokens or n, n)
        several = n - work.rows > chunk
        forward = casts + matrix.copy + 8 * shape.vocab * chunk
        backward = _backward(shape, work, chunk, matrix, several=several)
        if not (scaled or layers_learn(shape, work)):
            return n * h * w + max(n * h * w + forward, backward)
        return n * each + max(forward, backward)
    tile = min(work.tile_tokens, n)
    sizes = [
        casts + tokens * each + earlier + _in_tile(shape, work, tokens, matrix)
        for tokens, earlier in (
            (tile, 0),
            (min(tile, n - tile), 4 * matrix.entries + tile * h * 2 * w),
        )
        if tokens
    ]
    return n * h * w + max(sizes)


def _in_tile(shape: ModelShape, work: Workload, tokens: int, matrix: _Matrix) -> int:
    chunk = min(work.loss_chunk_tokens or tokens, tokens)
    kept = matrix if not matrix.summed else _Matrix(**{**vars(matrix), "copy": 0})
    most = _backward(shape, work, chunk, kept, several=tokens > chunk)
    return max(most, 4 * matrix.entries + matrix.product)


def _matrix(shape: ModelShape, work: Workload) -> _Matrix:
    entries, c, w = shape.embedding_parameters, work.compute_bytes, work.weight_bytes
    if saved_modules(shape, work.saved).head:
        copy = c * entries if c < ADAPTER_BYTES else 0
        return _Matrix(copy=copy, product=c * entries, summed=True, entries=entries)
    if work.new_tokens:
        copy = (w + (c if c < w else 0)) * entries
        return _Matrix(copy=copy, product=c * entries, summed=False, entries=0)
    factors = work.rank * (shape.vocab + shape.hidden)
    copy = c * factors if c < ADAPTER_BYTES else 0
    return _Matrix(copy=copy, product=c * factors, summed=True, entries=factors)


def _backward(
    shape: ModelShape, work: Workload, chunk: int, matrix: _Matrix, *, several: bool
) -> int:
    """The fullest moment of a chunk that goes back: at its logits, at its product, at the sum with other chunks', at the sum's cast."""
    logits = shape.vocab * chunk
    sums = matrix.product if several and matrix.summed else 0
    softmax = matrix.copy + sums + (16 if shape.caps_logits else 12) * logits
    product = matrix.copy + sums + matrix.product + work.compute_bytes * logits
    added = matrix.product + 2 * sums
    cast = matrix.product + 4 * matrix.entries if work.compute_bytes < ADAPTER_BYTES else 0
    return max(softmax, product, added, cast)
