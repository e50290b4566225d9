"""What reading and quantising a base takes for a moment, before there is an adapter: on the device, and in host memory. Closed formulas.

A table has t = v h entries, a matrix of a layer E, the largest; a stored number has s bytes, a weight w. The loader reads in this
order (`xtune.models.load_layers`): head and embedding, then layer after layer, of each a matrix after another, which is
cast to w bytes by the processor (s E, and w E beside it where they differ), carried to the device and quantised there. So the last
matrix is quantised beside everything that stays:

- on a GPU, 4 bits (bitsandbytes 0.50): the matrix (w E), scales of 64 numbers in float32, and these less their mean (E / 8);
- on a GPU, 8 bits: transformers takes the matrix to the processor and back in float16, and keeps what it came as (w E + 2 E);
- on a processor: `CPU_SCRATCH`, from what its kernels hold at one time: for nf4 the matrix, it and its scaled numbers in float32, what these
  become as 32-bit indices, those of 8 bits, and halves (2 + 4 + 4 + 4 + 1 + 1, and as much again as the allocator rounds up to).

Where layers rest elsewhere one at a time is on the device. Experts are merged from their files' parts: parts, stacks, and
what is made of them are there together (4 e i h w beyond what stays). A head that is used in slices is quantised slice by
slice behind the layers. Models that are neither quantised nor moved are mapped and not read; pages of files come and go as the
system likes and are not counted, only what is cast.

In host memory, beside what waits there anyway: the tensor on its way, four of them where nothing is quantised (transformers reads with
so many threads); a layer on its way to the disk; a head on the host once more, as it is copied into pinned memory; a
head that becomes 4 or 8 bits, whole. And where layers rest there the processor makes an adapter's start of them: a matrix
taken apart (`start`), DoRA's norms (16 E + 4 i i, `dora`), and for PiSSA and OLoRA, which change the base, each changed matrix
until the layer is put to rest anew.
"""

from collections.abc import Mapping

from xtune.memory.resident import embedding_bytes, head_bytes, layer_weight_bytes, resident_weights
from xtune.memory.shape import ModelShape
from xtune.memory.start import changes_base, matrix_start_bytes
from xtune.memory.workload import DTYPE_BYTES, HEAD_SLICE_BYTES, Workload

CPU_SCRATCH: Mapping[str, int] = {"nf4": 18, "fp4": 34, "int8": 12}
"""Bytes a weight of one matrix while a processor quantises it from 16 bits (int8: 4 more from 32); measured were 17.6, 32 and 10.7
(15 from 32) on two AMD EPYC cores, bitsandbytes 0.50.2, 2026-11-29, as growth of resident memory."""

READERS = 4
"""Threads that read weights where nothing is quantised (transformers 5.23, `GLOBAL_WORKERS`)."""


def loading_bytes(shape: ModelShape, work: Workload) -> int:
    """Most bytes on the device while the base is loaded; what a program has before, and an adapter, not among them."""
    held = embedding_bytes(shape, work)
    sliced = work.head_form in {"nf4", "int8"}
    if not sliced:
        held += head_bytes(shape, work)
    elif work.device == "cpu":  # whole, until it is quantised
        held += _table(shape, work)
    away = work.base_place != "device"
    layers = layer_weight_bytes(shape, work) if away else resident_weights(shape, work)
    sizes = [held + _read_here(shape, work), held + layers + _layer_scratch(shape, work)]
    if sliced:
        sizes.append(
            held
            + resident_weights(shape, work)
            + head_bytes(shape, work)
            + _slice_scratch(shape, work)
        )
    return max(sizes)


def host_loading_bytes(shape: ModelShape, work: Workload) -> int:
    """Most bytes in host memory while the base is loaded and an adapter is attached; the program itself not among them."""
    tables, base = _host_tables(shape, work), _host_layers(shape, work)
    if work.device == "cpu":  # what is read is among the device's
        reading, matrices = 0, 0
    else:
        reading, matrices = _table_on_its_way(shape, work), _matrices_on_their_way(shape, work)
    pinned = _table(shape, work) if work.head_form == "host" else 0
    after = tables if work.device != "cpu" else 0  # a head that was quantised is let go
    after = after - (_table(shape, work) if _is_sliced_apart(shape, work) and after else 0)
    return max(
        tables + reading,
        tables + base + matrices,
        tables + base + pinned,
        after + base + _start(shape, work),
    )


def _table(shape: ModelShape, work: Workload) -> int:
    return shape.embedding_parameters * work.weight_bytes


def _stored(shape: ModelShape) -> int:
    """s: bytes of a number in the files, as the config says; 2 where it does not: published ones are in 16 bits."""
    return DTYPE_BYTES[shape.stored_dtype or "bfloat16"]


def _largest(shape: ModelShape) -> int:
    """E: entries of the largest matrix of a layer."""
    return max((linear.weights for _, linear in shape.linears), default=0)


def _is_layered(work: Workload) -> bool:
    """Whether files are read layer by layer, and not mapped."""
    elsewhere = (work.base_place, work.embeddings_place, work.head_form)
    return work.quantization is not None or elsewhere != ("device", "device", "device")


def _matrix_scratch(work: Workload, form: str, entries: int) -> int:
    """What quantising so many entries takes beside what comes of it."""
    w = work.weight_bytes
    if work.device == "cpu":
        return (CPU_SCRATCH[form] + (4 if form == "int8" and w == 4 else 0)) * entries
    return (w + 2) * entries if form == "int8" else w * entries + entries // 8


def _layer_scratch(shape: ModelShape, work: Workload) -> int:
    scratch = 0
    if work.quantization is not None:
        scratch = _matrix_scratch(work, work.quantization, _largest(shape))
    experts = shape.experts * shape.expert_intermediate * shape.hidden if shape.expert_layers else 0
    merged = 0 if shape.has_sinks else 4 * experts * work.weight_bytes
    return max(scratch, merged)


def _slice_scratch(shape: ModelShape, work: Workload) -> int:
    """A slice of the head's rows while it is quantised: in 8 bits float32 rows, their quotients and what comes of them (9 a number)."""
    entries = min(shape.embedding_parameters, HEAD_SLICE_BYTES // work.weight_bytes)
    if work.head_form == "int8":
        return 9 * entries
    return _matrix_scratch(work, work.head_form, entries)


def _read_here(shape: ModelShape, work: Workload) -> int:
    """On a CPU, the table that is being cast, as it was stored."""
    if work.device != "cpu" or not _is_layered(work):
        return 0
    stored = _stored(shape)
    return 0 if stored == work.weight_bytes else stored * shape.embedding_parameters


def _is_sliced_apart(shape: ModelShape, work: Workload) -> bool:
    """Whether a head that becomes 4 or 8 bits is a matrix of its own."""
    shared = shape.tied and work.embeddings_place == "host"
    return work.head_form in {"nf4", "int8"} and not shared


def _host_tables(shape: ModelShape, work: Workload) -> int:
    """Embedding and head as they are read into host memory; of a CPU what becomes 4 or 8 bits is among the device's."""
    count = int(work.embeddings_place == "host")
    if work.head_form == "host" and not (shape.tied and count):
        count += 1
    if work.device != "cpu" and _is_sliced_apart(shape, work):
        count += 1
    return count * _table(shape, work)


def _host_layers(shape: ModelShape, work: Workload) -> int:
    """Layers that rest in host memory; of those on disk two, as they pass through it."""
    layer = layer_weight_bytes(shape, work)
    if work.base_place == "disk":
        return min(shape.layers, 2) * layer
    return shape.layers * layer if work.base_place == "host" else 0


def _on_its_way(shape: ModelShape, work: Workload, entries: int, *, stays: bool = False) -> int:
    """A tensor as it was stored, if that is read into memory, and as it is carried on, if that is another; one that stays is counted there."""
    s, w = _stored(shape), work.weight_bytes
    size = s if _is_layered(work) and not (stays and s == w) else 0
    return (size + (w if s != w and not stays else 0)) * entries


def _table_on_its_way(shape: ModelShape, work: Workload) -> int:
    sizes = [_on_its_way(shape, work, shape.embedding_parameters)]
    if work.embeddings_place == "host":
        sizes = [_on_its_way(shape, work, shape.embedding_parameters, stays=True)]
    if not shape.tied:
        stays = work.head_form != "device"
        sizes.append(_on_its_way(shape, work, shape.embedding_parameters, stays=stays))
    return max(sizes) if work.quantization is not None else sum(sizes)


def _matrices_on_their_way(shape: ModelShape, work: Workload) -> int:
    largest = _largest(shape)
    one = _on_its_way(shape, work, largest)
    if work.quantization is None:
        return READERS * one
    return one + ((work.weight_bytes + 2) * largest if work.quantization == "int8" else 0)


def _start(shape: ModelShape, work: Workload) -> int:
    """What an adapter's start takes of host memory where the processor makes it of layers that rest there."""
    if work.is_full or work.base_place == "device":
        return 0
    linears = shape.target_linears(work.targets)
    start = matrix_start_bytes(shape, work)
    if work.dora:
        start = max((16 * each.weights + 4 * each.inputs**2 for _, each in linears), default=0)
    if changes_base(work):
        start += work.weight_bytes * sum(count * each.weights for count, each in linears)
    return start
