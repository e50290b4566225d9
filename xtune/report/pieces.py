"""Cuts encoded rows into pieces of text that a person can read, each with its tokens; it draws nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from xtune.data.mask import membership
from xtune.data.types import IGNORED, Sequence
from xtune.shown import visible

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BROKEN = "\ufffd"
"""What decoders write for bytes that are no whole character yet."""

_LONGEST_CHARACTER = 4
"""Bytes, and so byte-level tokens, of the longest character in UTF-8 (RFC 3629)."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The text of one token, or of the several tokens that make up one character together."""

    text: str
    ids: tuple[int, ...]
    start: int
    """Position of its first token in the row."""

    weight: float
    """Weight of its tokens in the loss, 0 for none; a row's first token predicts nothing and has none."""

    special: bool
    """Whether it is a special or added token, whose text stands for an id and not for characters."""


@dataclass(frozen=True, kw_only=True)
class ShownRow:
    """One encoded row as training uses it, and its text in pieces."""

    sequence: Sequence
    pieces: tuple[Piece, ...]
    part: int = 1
    """This sequence among those of its row, from 1."""

    parts: int = 1
    """Sequences that the row became: several if it was split."""

    notes: tuple[str, ...] = ()
    """What was done to the row: cut, split."""

    @property
    def trained_tokens(self) -> int:
        """Tokens with a weight in the loss; the first of a row predicts nothing and has none."""
        return int(np.count_nonzero(self.sequence.weights[1:]))

    @property
    def title(self) -> str:
        """Where the row came from, in words."""
        origin = self.sequence.origin
        line = f" (line {origin.line})" if origin.line is not None else ""
        part = f", part {self.part} of {self.parts}" if self.parts > 1 else ""
        return f"{visible(origin.source)}, row {origin.row}{line}{part}"

    @property
    def size(self) -> str:
        """Its tokens and how many are trained on, in words."""
        tokens = len(self.sequence)
        words = "token" if tokens == 1 else "tokens"
        return f"{tokens:,} {words}, {self.trained_tokens:,} trained on"


class Reader:
    """Turns sequences back into text with the tokenizer that made them."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer: Any = tokenizer
        self._added = membership(tokenizer)

    def to_json(self, sequence: Sequence) -> dict[str, Any]:
        """A row as plain JSON types: where it is from, ids, labels (not shifted), and both decoded."""
        return {
            "source": sequence.origin.source,
            "row": sequence.origin.row,
            "input_ids": sequence.input_ids.tolist(),
            "labels": sequence.labels.tolist(),
            "text": self.decode(sequence.input_ids.tolist()),
            "trained_text": self.decode(sequence.input_ids[sequence.labels != IGNORED].tolist()),
        }

    def decode(self, ids: list[int]) -> str:
        """The text of tokens, special ones by their names, nothing cleaned up."""
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def between_special(self, ids: list[int]) -> list[str]:
        """The texts between special and added tokens."""
        special = self._added[np.array(ids, np.int64)]
        borders = [-1, *np.flatnonzero(special).tolist(), len(ids)]
        runs = [ids[before + 1 : after] for before, after in pairwise(borders)]
        return [self._decode(run) for run in runs if run]

    def pieces(self, sequence: Sequence) -> Iterator[Piece]:
        """The row in pieces, in order; every token is in exactly one.

        A token's text is what it adds to the text of those before it, because decoders treat a
        token at the beginning in another way (sentencepiece takes a space off).
        """
        ids: list[int] = sequence.input_ids.tolist()
        special = self._added[np.array(ids, np.int64)]
        known, done, text_before = (
            0,
            0,
            "",
        )  # what is decoded before the next piece; where that begins
        for at in range(len(ids)):
            if special[at]:
                if done < at:
                    yield _piece(
                        sequence, done, at, self._decode(ids[known:at])[len(text_before) :]
                    )
                yield _piece(sequence, at, at + 1, self._name(ids[at]), special=True)
                known, done = at, at + 1
                text_before = self._decode(ids[at : at + 1])
                continue
            text = self._decode(ids[known : at + 1])
            whole = len(text) > len(text_before) and not text.endswith(_BROKEN)
            if whole or at + 1 - done >= _LONGEST_CHARACTER:
                yield _piece(sequence, done, at + 1, text[len(text_before) :])
                known, done = done, at + 1
                text_before = self._decode(ids[known:done])
        if done < len(ids):
            yield _piece(sequence, done, len(ids), self._decode(ids[known:])[len(text_before) :])

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=False)
        return text

    def _name(self, token: int) -> str:
        return str(self._tokenizer.convert_ids_to_tokens(token))


def _piece(sequence: Sequence, start: int, stop: int, text: str, *, special: bool = False) -> Piece:
    return Piece(
        text=text,
        ids=tuple(sequence.input_ids[start:stop].tolist()),
        start=start,
        weight=float(sequence.weights[max(1, start) : stop].max(initial=0)),
        special=special,
    )
