"""Holds the fast tokenizer to the usual one: on texts that try it first, then on rows of the data itself. It decides nothing.

Every row with a letter that no row before it had is encoded by both, and one row in `SAMPLE` besides.
"""

import json
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any

import numpy as np

from xtune.data.fast_tokens import FastTokenizer, Places, Tiles, Unsuitable
from xtune.data.formats import Row
from xtune.data.mask import covered
from xtune.data.probe_texts import probe_texts
from xtune.data.types import Document

SAMPLE = 32
"""One row in so many is encoded by both: a fault of one row in a thousand shows in 10,000 rows with a chance of 27 %, in
100,000 with 96 %, and costs 5 us a row (two EPYC cores, 2026-11-25)."""

_SEED = 0
_PROBED_NAMES = 64
"""Special tokens that the probe tries; some tokenizers reserve a thousand."""

_LETTERS = 0x110000


@dataclass(frozen=True)
class Difference:
    """A text that the two tokenizers cut differently."""

    where: str
    text: str
    """What of it stands about the first token that differs."""

    def __str__(self) -> str:
        return f"{self.where}, near {self.text!r}"


class Comparisons:
    """Chooses which rows both tokenizers encode, by the rows before and by a seed: the same for any number of workers."""

    def __init__(self) -> None:
        self._seen = np.zeros(_LETTERS, np.bool_)

    def choose(self, rows: Many[Row], first: int) -> frozenset[int]:
        """Places of rows to compare.

        Args:
            rows: The rows that come next.
            first: How many came before.
        """
        drawn = np.random.default_rng((_SEED, first)).random(len(rows)) < 1 / SAMPLE
        codes = [_codes(row) for row in rows]
        if not self._seen[np.concatenate(codes)].all():
            for place, found in enumerate(codes):
                if not self._seen[found].all():
                    self._seen[found] = True
                    drawn[place] = True
        return frozenset(np.flatnonzero(drawn).tolist())


def _codes(row: Row) -> Any:
    """Code points of a row's texts, (letters,)."""
    if isinstance(row, Document):
        text = row.text
    else:
        parts = [message.content for message in row.messages]
        more = [message.extra for message in row.messages if message.extra]
        if more or row.tools:
            parts.append(json.dumps((more, row.tools), ensure_ascii=False, default=str))
        text = "".join(parts)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def probe(fast: FastTokenizer, backend: Any) -> None:
    """Compare the tokenizers on texts that try them.

    Args:
        fast: One of them.
        backend: The other, a `tokenizers.Tokenizer`.

    Raises:
        Unsuitable: A text is cut differently.
    """
    names = [token.content for _, token in sorted(backend.get_added_tokens_decoder().items())]
    few = names[:: max(1, len(names) // _PROBED_NAMES)]
    texts = probe_texts(name for name in few if name)
    difference = compare(texts, ["a text made to try it"] * len(texts), fast.encode(texts), backend)
    if difference is not None:
        raise Unsuitable(f"it differs from tokenizers on {difference}")


def compare(texts: Many[str], names: Many[str], tiles: Tiles, backend: Any, chosen: Many[int] | None = None) -> Difference | None:  # fmt: skip
    """The first of some texts that is cut differently, or whose tokens stand for other letters.

    Args:
        texts: What was encoded.
        names: What to call each text.
        tiles: What the fast tokenizer made of them.
        backend: The usual tokenizer.
        chosen: Which of them to compare; default: all.
    """
    places = [place for place in (range(len(texts)) if chosen is None else chosen) if tiles.sound[place]]  # fmt: skip
    encodings = backend.encode_batch([texts[place] for place in places], add_special_tokens=False)
    for place, encoding in zip(places, encodings, strict=True):
        part = slice(int(tiles.first[place]), int(tiles.first[place + 1]))
        expected, found = np.array(encoding.ids, np.int64), tiles.ids[part]
        if len(expected) == 0 and len(found) == 0:
            continue
        edges = np.array(encoding.offsets, np.int64).reshape(-1, 2)
        starts, ends = covered(edges) if len(edges) else (edges, edges)
        begin = int(tiles.begins[place])
        ours = _letters_of(texts[place], tiles.starts[part] - begin, tiles.ends[part] - begin)
        alike = len(expected) == len(found) and bool(
            (expected == found).all() and (starts == ours[0]).all() and (ends == ours[1]).all()
        )
        if not alike:
            return Difference(names[place], _near(texts[place], expected, found, ours[0]))
    return None


def _letters_of(text: str, starts: Places, ends: Places) -> tuple[Places, Places]:
    """First and behind-last letter of tokens from their first and behind-last bytes."""
    if text.isascii():
        return starts, ends
    leads = (np.frombuffer(text.encode(), np.uint8) & 0xC0) != 0x80  # the first byte of each letter
    letter = np.append(np.cumsum(leads) - 1, len(text))  # (bytes + 1,)
    return letter[starts], np.where(ends > 0, letter[np.maximum(ends - 1, 0)] + 1, 0)


def _near(text: str, expected: Any, found: Any, starts: Places) -> str:
    length = min(len(expected), len(found))
    differ = np.flatnonzero(expected[:length] != found[:length])
    place = int(differ[0]) if len(differ) else 0
    at = int(starts[place]) if place < len(starts) else 0
    return text[max(0, at - 10) : at + 20]
