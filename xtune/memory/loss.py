"""The end of a model: last norm, head and cross-entropy (`xtune.kernels`), when the loss is computed. Closed formulas."""

from xtune.memory.norms import Norm
from xtune.memory.saved import saved_modules
from xtune.memory.shape import ModelShape
from xtune.memory.workload import (
    HEAD_PART_ROWS,
    HEAD_SLICE_BYTES,
    HEAD_SUM_BYTES,
    QUANTIZATION_BLOCK,
    Workload,
)
from xtune.memory.wrapped_head import wrapped_loss_bytes, wraps_head


def loss_bytes(shape: ModelShape, work: Workload, casts: int = 0) -> int:
    """Hidden states, logits and what surrounds them, and autocast's copies, which are gone when a trained head's gradient is handed on.

    The last norm keeps its input in float32 (4 h), or as it is; there are the normalised state (w h), those of it that are trained on
    (w h), and their gradient (c h). Behind frugal layers there is one hidden state for all, over which its gradient is written, and the
    others for a tile, where float32 states are the norm's input themselves; beside a later tile those of the tile before it that
    are trained on, and their gradient (2 w h).
    """
    if not shape.ends_plainly:
        return casts + _whole_loss(shape, work)
    if wraps_head(shape, work):
        return wrapped_loss_bytes(shape, work, casts)
    h, w, c = shape.hidden, work.weight_bytes, work.compute_bytes
    own = 4 if work.compute_dtype == "float16" else c
    norm = Norm(shape, work)
    scaled = norm.trained_copy
    if saved_modules(shape, work.saved).last_norm:  # in float32, with a copy of its input
        scaled = 4
    each = norm.keeps(w) + scaled + 2 * w + (c if c < w else 0) + own
    n = work.positions
    if work.frugal:
        each -= norm.keeps_itself(w)
        tile = min(work.tile_tokens, n)
        later = min(tile, n - tile)
        sizes = [tile * h * each + _head(shape, work, tile, casts)]
        if later:
            left = tile * h * 2 * w
            sizes.append(left + later * h * each + _head(shape, work, later, casts))
        return n * h * w + max(sizes)
    return n * h * each + _head(
        shape, work, n - work.rows, casts
    )  # a row's last token has no next one


def _whole_loss(shape: ModelShape, work: Workload) -> int:
    """Through the model's own forward, which gives the logits of every token but each row's last, as a whole layer's hidden states.

    There are the logits, a copy of those that are trained on (c each), its float32 copy, and of that the logarithm after softmax (4
    each); going back, the logarithm, the gradient by it and that by the logits (4 each). A factor or a soft cap keeps as much again.
    Of code of which it is known that a norm and a frozen head are its end, beside logits there is what that norm keeps, and no more.
    """
    n, c, w = work.positions, work.compute_bytes, work.weight_bytes
    each = 2 * c + 8 if c < 4 else 3 * c
    if shape.caps_logits:
        each += 8
    elif shape.scales_logits:
        each += 4
    logits, states = each * shape.vocab * (n - work.rows), n * shape.hidden * (8 + 3 * w + c)
    if shape.remote and not (work.is_full or work.saved or wraps_head(shape, work)):
        norm = Norm(shape, work)
        return max(logits + n * shape.hidden * (norm.keeps(w) + norm.trained_copy), states)
    return logits + states


def _head(shape: ModelShape, work: Workload, tokens: int, casts: int) -> int:
    chunk = min(work.loss_chunk_tokens or tokens, tokens)
    if work.head_form != "device":
        return casts + _sliced(shape, work, tokens, chunk)
    logits = _logits(shape, work, tokens, chunk)
    # behind frugal layers autocast is still on, but the head's own copy is gone
    head = work.compute_bytes * _trained_entries(shape, work)
    layers = max(0, casts - head) if work.frugal else 0
    return max(logits + _sums(shape, work) + casts, _handed_on(shape, work) + layers)


def _logits(shape: ModelShape, work: Workload, tokens: int, chunk: int) -> int:
    """Bytes of a chunk's logits, or of the next one's beside them.

    A chunk has float32 logits, over which their slope is written, and the slope once more in float32 and in fewer bits (8 + c).
    Beside the next chunk's logits and their exponentials (8) that slope is still there (4). A factor on the logits keeps
    those without it (4 more), a soft cap its own slope as well (8 more, or 6).
    """
    cast = work.compute_bytes if work.compute_bytes < 4 else 0
    first, later = 8 + cast, 8
    if shape.caps_logits:
        first, later = first + 6, later + 8
    elif shape.scales_logits:
        first, later = first + 4, later + 4
    following = min(chunk, tokens - chunk)
    beside = 4 * chunk + later * following if following else 0
    return shape.vocab * max(first * chunk, beside)


def _trained_entries(shape: ModelShape, work: Workload) -> int:
    return shape.vocab * shape.hidden if work.is_full else 0


def _sums(shape: ModelShape, work: Workload) -> int:
    """A trained head's gradient while logits exist: a float32 sum, of the tiles before another, a part of a product; and the cast head."""
    entries = _trained_entries(shape, work)
    if not entries:
        return 0
    tiles = 4 if work.frugal and work.positions > work.tile_tokens else 0
    part = work.compute_bytes * min(shape.vocab, HEAD_PART_ROWS) * shape.hidden
    return part + entries * (4 + tiles)


def _handed_on(shape: ModelShape, work: Workload) -> int:
    """The same when it is given on: the sum, what is made of it in the compute type, and a part of it in float32 on the way there."""
    entries = _trained_entries(shape, work)
    if not entries:
        return 0
    tiles = 4 if work.frugal and work.positions > work.tile_tokens else 0
    part = 4 * min(shape.vocab, HEAD_PART_ROWS) * shape.hidden
    return part + entries * (tiles + 4 + work.compute_bytes)


def _sliced(shape: ModelShape, work: Workload, tokens: int, chunk: int) -> int:
    """Of a head in slices of r rows: its slices and as many logits as of a whole one, of more tokens.

    For each of a group of tokens the sums of its gradient (4 h) and its label's row (c h) are kept; at the end both once more,
    of the label's row a float32 copy. Of a part of them there are logits and their exponentials (8 r), or their slope, it in the
    compute type, and its product with the slice (4 r + c r + c h). One slice is a whole head.
    """
    h, w, c = shape.hidden, work.weight_bytes, work.compute_bytes
    rows = min(shape.vocab, max(1, HEAD_SLICE_BYTES // (h * w)))
    coming, used = _slice_bytes(shape, work, rows)
    if rows == shape.vocab:
        return max(coming, used + _logits(shape, work, tokens, chunk))
    group = min(tokens, max(1, HEAD_SUM_BYTES // (4 * h)))
    part = min(group, max(1, chunk * shape.vocab // rows))
    sums = group * h * (4 + c)
    each = 12 if shape.caps_logits else 8
    slope = (each - 4 + (c if c < 4 else 0)) * rows + c * h
    return sums + max(coming, used + part * max(each * rows, slope), sums)


def _slice_bytes(shape: ModelShape, work: Workload, rows: int) -> tuple[int, int]:
    """The slices on the device while one comes, and while one is used, each with its copy in the compute type.

    Of a head on the host there are two, one on its way. One in fewer bits is expanded, beside the one before it, out of float32
    scales for every 64 entries (NF4), or on a CPU through float32.
    """
    h, w, c = shape.hidden, work.weight_bytes, work.compute_bytes
    cast = c if w != c else 0
    first = rows * h
    second = min(rows, shape.vocab - rows) * h
    if work.head_form == "host":
        slots = w * (2 * first if second else first)
        return slots + cast * (first + second), slots + cast * first
    scratch = 4.0 if work.device == "cpu" else 0.0  # bytes an entry
    if work.head_form == "nf4":
        scratch = max(scratch, 4 / QUANTIZATION_BLOCK)
    widest = first * (w + max(scratch, cast))
    beside = first * cast + second * w + max(first * w + second * scratch, second * cast)
    return round(max(widest, beside)), first * (w + cast)
