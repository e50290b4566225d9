"""Encodes pieces of rows with the fast tokenizer straight into flat arrays; rows that are not usual take the usual way.

Usual is a conversation that fits into `max_tokens` whole, has something to train on, and whose tokens are
the bytes of its text. Its ids, weights and records are the very ones that `encode` and `store.make_block` give.
"""

from collections.abc import Collection
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from xtune.data.chunk import Chunk
from xtune.data.comparing import Difference, compare
from xtune.data.encode import JOINED, Encoder, Text
from xtune.data.encoded import Encoded
from xtune.data.fast_tokens import FastTokenizer, Flags, Tiles
from xtune.data.problems import Problems
from xtune.data.spans import Span
from xtune.data.store import EVENT, ROW, RUN, Block, make_block
from xtune.data.types import Conversation
from xtune.errors import DataError

Array: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float32]


@dataclass(kw_only=True)
class _Batch:
    """The conversations of a piece that may be usual."""

    texts: list[Text] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Place of each in the piece."""

    results: list[Encoded] = field(default_factory=list)
    """What is worth a note about each."""


class FlatEncoder:
    """Encodes pieces of rows with both tokenizers."""

    def __init__(self, encoder: Encoder, fast: FastTokenizer) -> None:
        self._encoder = encoder
        self._fast = fast

    def encode(self, chunk: Chunk, compared: Collection[int]) -> Block | Difference:
        """The rows of a piece.

        Args:
            chunk: The piece.
            compared: Places of rows that are encoded by both tokenizers.

        Raises:
            DataError: All rows that do not fit the template or `max_tokens`.
        """
        batch, others, dropped = self._rendered(chunk)
        if not batch.texts:
            return self._usual(chunk)
        texts = [text.text for text in batch.texts]
        try:
            tiles = self._fast.encode(texts)
        except UnicodeEncodeError:  # half a surrogate pair: the usual way has words for it
            return self._usual(chunk)
        chosen = [number for number, place in enumerate(batch.places) if place in compared]
        names = [str(text.row.origin) for text in batch.texts]
        difference = compare(texts, names, tiles, self._encoder.backend, chosen)
        if difference is not None:
            return difference
        weights, sound = self._weights(batch, tiles)
        counts = np.diff(tiles.first)
        sound &= tiles.sound & (counts > 0)
        trained = _sums(weights != 0, tiles.first)
        usual = sound & (counts <= self._encoder.max_tokens) & (trained > 0)
        others += [batch.places[number] for number in np.flatnonzero(~sound)]
        kept = np.flatnonzero(usual).tolist()
        happened = dropped + [(batch.places[number], batch.results[number]) for number in kept]
        block = self._block(chunk, [batch.places[number] for number in kept], usual, tiles, weights)
        block = _with_events(block, chunk, happened, (int(sound.sum()), len(chosen)))
        if (sound & ~usual).any():
            unusual = np.flatnonzero(sound & ~usual).tolist()
            block = _merged(block, self._fitted(chunk, batch, unusual, tiles, weights))
        if others:
            block = _merged(block, self._by_usual_way(chunk, sorted(others)))
        return block

    def _rendered(self, chunk: Chunk) -> tuple[_Batch, list[int], list[tuple[int, Encoded]]]:
        """Conversations as texts, the places of other rows, and what became of rows that are dropped."""
        batch, others, dropped = _Batch(), [], []
        for place, row in enumerate(chunk.rows):
            if not isinstance(row, Conversation):
                others.append(place)
                continue
            result, problems = Encoded(), Problems()
            text = self._encoder.as_text(row, result, problems)
            if problems.count:
                others.append(place)
            elif text is None:
                dropped.append((place, result))
            else:
                batch.texts.append(text)
                batch.places.append(place)
                batch.results.append(result)
        return batch, others, dropped

    def _usual(self, chunk: Chunk) -> Block:
        return make_block(
            self._encoder.encode_rows(chunk.rows), chunk.rows, chunk.files, chunk.first
        )

    def _fitted(
        self, chunk: Chunk, batch: _Batch, numbers: Many[int], tiles: Tiles, weights: Floats
    ) -> Block:
        """Rows that are too long or without anything to train on, or what `over_length` makes of them.

        Raises:
            DataError: It refuses them.
        """
        result, problems = Encoded(), Problems()
        for number in numbers:
            part = slice(int(tiles.first[number]), int(tiles.first[number + 1]))
            row = batch.texts[number].row
            for what, origins in batch.results[number].notes.items():
                result.notes.setdefault(what, []).extend(origins)
            self._encoder.fit(tiles.ids[part], weights[part], row, result, problems)
        if problems.count:
            self._encoder.encode_rows(chunk.rows)  # all that is wrong together, in its order
        problems.raise_any()
        return self._placed(chunk, [batch.places[number] for number in numbers], result)

    def _by_usual_way(self, chunk: Chunk, places: Many[int]) -> Block:
        """Some rows of a piece as `encode` makes them.

        Raises:
            DataError: What is wrong with rows, all of them.
        """
        try:
            encoded = self._encoder.encode_rows(chunk.rows[place] for place in places)
        except DataError:
            self._encoder.encode_rows(chunk.rows)  # all that is wrong together, in its order
            raise
        return self._placed(chunk, places, encoded)

    @staticmethod
    def _placed(chunk: Chunk, places: Many[int], encoded: Encoded) -> Block:
        """Some rows of a piece as a block."""
        rows = [chunk.rows[place] for place in places]
        files = [chunk.files[place] for place in places]
        block = make_block(encoded, rows, files, 0)
        ordinals = np.array(places, np.int64) + chunk.first
        for records in (block.rows, block.events):
            records["ordinal"] = ordinals[records["ordinal"]]
        return block

    def _weights(self, batch: _Batch, tiles: Tiles) -> tuple[Floats, Flags]:
        """Weight of every token, (tokens,), and which texts are as they should be, (texts,); notes what joins the prompt."""
        encoder = self._encoder
        weights = np.full(len(tiles.ids), encoder.outside, np.float32)
        fit = np.ones(len(batch.texts), np.bool_)
        spans: list[tuple[int, Span, int, int]] = []  # text, span, first and behind-last byte
        pieces: list[tuple[int, int, float]] = []
        for number, text in enumerate(batch.texts):
            begin = int(tiles.begins[number])
            at = _bytes_before(text.text, begin)
            for span in text.spans:
                spans.append((number, span, at(span.start), at(span.end)))
                weight = encoder.weight_of(text.row, span.message)
                pieces += [(at(start), at(end), weight) for start, end in span.parts()]
        if not spans:
            return weights, fit
        special = encoder.added[tiles.ids]
        edges = np.array([(start, end) for start, end, _ in pieces], np.int64)
        first = np.searchsorted(tiles.ends, edges[:, 0], side="right")
        behind = np.searchsorted(tiles.starts, edges[:, 1], side="left")
        into = _straddles(tiles, first, edges[:, 0]) & special[np.minimum(first, len(special) - 1)]
        for low, high, (_, _, weight) in zip(first + into, behind, pieces, strict=True):
            weights[low:high] = weight
        self._check_edges(batch, tiles, spans, special, fit)
        return weights, fit

    def _check_edges(
        self,
        batch: _Batch,
        tiles: Tiles,
        spans: Many[tuple[int, Span, int, int]],
        special: Flags,
        fit: Flags,
    ) -> None:
        starts = np.array([start for _, _, start, _ in spans], np.int64)
        ends = np.array([end for *_, end in spans], np.int64)
        first = np.searchsorted(tiles.ends, starts, side="right")
        joined = _straddles(tiles, first, starts) & ~special[np.minimum(first, len(special) - 1)]
        last = np.maximum(np.searchsorted(tiles.starts, ends, side="left") - 1, 0)
        closed = special[last] & (tiles.ends[last] >= ends)
        for (number, span, _, _), joins, closes in zip(spans, joined, closed, strict=True):
            text = batch.texts[number]
            if joins:
                batch.results[number].note(JOINED, text.row.origin)
            if not self._encoder.ends_well(text.row, span, in_token=bool(closes)):
                fit[number] = False

    def _block(
        self,
        chunk: Chunk,
        places: Many[int],
        usual: Flags,
        tiles: Tiles,
        weights: Floats,
    ) -> Block:
        """The usual rows; `places` are theirs."""
        counts = np.diff(tiles.first)
        ids = tiles.ids
        if not usual.all():
            kept = np.repeat(usual, counts)
            ids, weights, counts = ids[kept], weights[kept], counts[usual]
        stops = np.cumsum(counts)
        begins = stops - counts
        changes = np.ones(len(ids), np.bool_)
        changes[1:] = weights[1:] != weights[:-1]
        changes[begins] = True
        starts = np.flatnonzero(changes)
        runs = np.empty(len(starts), RUN)
        runs["tokens"] = np.diff(np.append(starts, len(ids)))
        runs["weight"] = weights[starts]
        counted = np.flatnonzero(weights)
        seen = np.searchsorted(counted, [begins + 1, stops])  # the first token predicts nothing
        prompts = counted[np.minimum(seen[0], len(counted) - 1)] - begins if len(counted) else begins  # fmt: skip
        rows = np.zeros(len(places), ROW)
        rows["stop"], rows["length"] = stops, counts
        rows["run_stop"] = np.searchsorted(starts, stops)
        rows["trained"] = seen[1] - seen[0]
        rows["loss_weight"] = _loss_weights(weights, begins, stops, rows["trained"])
        origins = [chunk.rows[place].origin for place in places]
        rows["file"] = [chunk.files[place] for place in places]
        rows["row"] = [origin.row for origin in origins]
        rows["line"] = [origin.line or 0 for origin in origins]
        rows["ordinal"] = np.array(places, np.int64) + chunk.first
        raw = memoryview(ids.astype("<i4").tobytes())
        for name, behind in (("digest", stops), ("prompt", begins + prompts)):
            rows[name] = [
                _digest(raw[4 * low : 4 * high])
                for low, high in zip(begins.tolist(), behind.tolist(), strict=True)
            ]
        rows["prompt"][prompts <= 1] = 0
        return Block(
            tokens=ids.astype("<i4"),
            runs=runs,
            rows=rows,
            events=np.zeros(0, EVENT),
            kinds=(),
            read=len(chunk.rows),
        )


def _bytes_before(text: str, begin: int) -> Any:
    """Tells how many bytes stand before a letter, `begin` of them before the text."""
    if text.isascii():
        return lambda position: begin + position
    return lambda position: begin + len(text[:position].encode())


def _straddles(tiles: Tiles, token: Array, border: Array) -> Flags:
    """Whether tokens begin before a border that they do not end before."""
    inside = token < len(tiles.starts)
    flags: Flags = inside & (tiles.starts[np.minimum(token, len(tiles.starts) - 1)] < border)
    return flags


def _sums(flags: Flags, first: Array) -> Array:
    """Flags of each text but of its first token, (texts,)."""
    sums = np.concatenate(([0], np.cumsum(flags)))
    begins = np.minimum(first[:-1] + 1, first[1:])
    result: Array = sums[first[1:]] - sums[begins]
    return result


def _loss_weights(weights: Array, begins: Array, stops: Array, trained: Array) -> Array:
    """Sum of the weights of each text but of its first token, (texts,)."""
    if ((weights == 0) | (weights == 1)).all():
        return trained.astype(np.float64)
    return np.array(
        [
            float(weights[low + 1 : high].sum(dtype=np.float64))
            for low, high in zip(begins, stops, strict=True)
        ],
        np.float64,
    )


def _digest(raw: memoryview) -> int:
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), "little")


def _with_events(
    block: Block, chunk: Chunk, happened: Many[tuple[int, Encoded]], counts: tuple[int, int]
) -> Block:
    """The block with drops and notes of rows, and how many rows are the fast tokenizer's and were compared."""
    kinds: dict[tuple[str, str], int] = {}
    events = []
    for place, result in happened:
        row = chunk.rows[place].origin
        told = [("drop", drop.reason) for drop in result.drops]
        told += [("note", what) for what, some in result.notes.items() for _ in some]
        events += [
            (chunk.first + place, kinds.setdefault(kind, len(kinds)), chunk.files[place], row.row, row.line or 0)
            for kind in told
        ]  # fmt: skip
    return Block(
        tokens=block.tokens,
        runs=block.runs,
        rows=block.rows,
        events=np.array(sorted(events, key=lambda event: event[0]), EVENT),
        kinds=tuple(kinds),
        read=block.read,
        fast=counts[0],
        compared=counts[1],
    )


def _merged(one: Block, other: Block) -> Block:
    """Two blocks of one piece as one, in the order of the rows."""
    kinds = dict.fromkeys((*one.kinds, *other.kinds))
    numbers = {kind: number for number, kind in enumerate(kinds)}
    events = np.concatenate((one.events, other.events))
    for part, kinds_of in ((events[: len(one.events)], one.kinds), (events[len(one.events) :], other.kinds)):  # fmt: skip
        if len(part):
            part["kind"] = np.array([numbers[kind] for kind in kinds_of], np.int32)[part["kind"]]
    rows = np.concatenate((one.rows, other.rows))
    lengths = rows["length"].astype(np.int64)
    run_counts = np.concatenate([np.diff(block.rows["run_stop"], prepend=0) for block in (one, other)])  # fmt: skip
    order = np.argsort(rows["ordinal"], kind="stable")
    tokens = _reordered(np.concatenate((one.tokens, other.tokens)), lengths, order)
    runs = _reordered(np.concatenate((one.runs, other.runs)), run_counts, order)
    rows = rows[order]
    rows["stop"], rows["run_stop"] = np.cumsum(lengths[order]), np.cumsum(run_counts[order])
    return Block(
        tokens=tokens,
        runs=runs,
        rows=rows,
        events=events[np.argsort(events["ordinal"], kind="stable")],
        kinds=tuple(kinds),
        read=one.read,
        fast=one.fast,
        compared=one.compared,
    )


def _reordered(flat: Array, counts: Array, order: Array) -> Array:
    """Parts of a flat array in another order."""
    stops = np.cumsum(counts)
    begins = (stops - counts)[order]
    sizes = counts[order]
    shift = np.repeat(begins - (np.cumsum(sizes) - sizes), sizes)
    result: Array = flat[shift + np.arange(len(flat))]
    return result
