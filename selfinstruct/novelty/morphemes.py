"""Reads the dictionaries of MeCab as arrays over its own files; it cuts no text.

The files are those of MeCab 0.996 (Kudo, Yamamoto and Matsumoto 2004), mapped into memory: `sys.dic` and `unk.dic` hold a
double array (Aoe 1989) of words in UTF-8, and what each can be; `matrix.bin` what it costs that one stands behind another;
`char.bin` the kinds of characters, by which unknown words are made.
"""

import mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from selfinstruct.novelty.search import Ints

Shorts = npt.NDArray[np.int16]
Kinds = npt.NDArray[np.uint32]

_MAGIC, _VERSION = 0xEF718F77, 102
_HEADER = 72
"""Ten numbers and 32 bytes for the encoding's name."""

_NAME = 32
"""Bytes for the name of a kind of character."""

_BMP = 0x10000
_ENTRY = 8
"""Numbers of an entry: left context, right context, part of speech, cost and, in the others, where its features stand."""


_CHANGING = frozenset({"userdic", "max-grouping-size", "partial", "nbest", "all-morphs"})
"""Settings by which MeCab cuts otherwise."""


class Lexicon(NamedTuple):
    """What MeCab knows of a language, in its own files."""

    units: Ints
    """(units, 2) the double array: base and check."""

    entries: Shorts
    """(entries, 8) what words can be."""

    unknown: Shorts
    """(entries, 8) what unknown words can be."""

    unknown_of: Ints
    """(kinds of characters, 2) where the entries of a kind begin in `unknown`, and how many there are."""

    costs: Shorts
    """(left contexts * right contexts,) by the left context of the word behind, and then the right one of that before."""

    rights: int
    """Right contexts, which is how far the costs of a left context lie apart."""

    lefts: int
    kinds: Kinds
    """(65,536,) of characters, from the lowest bit: 18 for the kinds it is of, 8 for the one that names its entries, 4 for
    the longest unknown word, 1 for whether those of one kind make one, 1 for whether even where a word is known."""


class UnreadableLexiconError(ValueError):
    """A dictionary is no such files, or of another version."""


def lexicon_in(folder: Path, settings: Path) -> Lexicon:
    """The dictionary of a folder.

    Args:
        folder: With `sys.dic`, `unk.dic`, `matrix.bin` and `char.bin`.
        settings: MeCab's file of settings.

    Raises:
        UnreadableLexiconError: It has another version, other sizes, or settings that change how texts are cut.
        OSError: A file cannot be read.
    """
    for file in {settings, folder / "dicrc"}:
        if _CHANGING & {line.partition("=")[0].strip() for line in _lines(file)}:
            raise UnreadableLexiconError(f"{file} has settings that are not known here")
    units, entries = _dictionary(folder / "sys.dic")
    unknown_units, unknown = _dictionary(folder / "unk.dic")
    data = _mapped(folder / "matrix.bin")
    right, left = (int(size) for size in np.frombuffer(data, np.uint16, 2))
    costs: Shorts = np.frombuffer(data, np.int16, offset=4)
    if len(costs) != left * right:
        raise UnreadableLexiconError(f"{folder}/matrix.bin has another size than it says")
    names, kinds = _kinds(folder / "char.bin")
    unknown_of = [_entries_of(name, unknown_units) for name in names]
    return Lexicon(
        units=units,
        entries=entries,
        unknown=unknown,
        unknown_of=np.array(unknown_of, np.int32),
        costs=costs,
        rights=right,
        lefts=left,
        kinds=kinds,
    )


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []


def _mapped(file: Path) -> mmap.mmap:
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


def _dictionary(file: Path) -> tuple[Ints, Shorts]:
    """The double array of a dictionary, and its entries.

    Raises:
        UnreadableLexiconError: It is none.
    """
    data = _mapped(file)
    if len(data) < _HEADER:
        raise UnreadableLexiconError(f"{file} is cut off")
    magic, version, *_, units, entries, _, _ = np.frombuffer(data, np.uint32, 10).tolist()
    if magic ^ _MAGIC != len(data) or version != _VERSION:
        raise UnreadableLexiconError(f"{file} is no dictionary of MeCab in version {_VERSION}")
    if data[40:_HEADER].rstrip(b"\0").lower() not in {b"utf8", b"utf-8"}:
        raise UnreadableLexiconError(f"{file} is not in UTF-8")
    double_array: Ints = np.frombuffer(data, np.int32, units // 4, _HEADER)
    words: Shorts = np.frombuffer(data, np.int16, entries // 2, _HEADER + units)
    return double_array.reshape(-1, 2), words.reshape(-1, _ENTRY)


def _kinds(file: Path) -> tuple[list[bytes], Kinds]:
    """Names of the kinds of characters, and what each character of the BMP is.

    Raises:
        UnreadableLexiconError: The file says otherwise how long it is.
    """
    data = file.read_bytes()
    (count,) = np.frombuffer(data, np.uint32, 1).tolist()
    if len(data) != 4 + _NAME * count + 4 * (_BMP - 1):
        raise UnreadableLexiconError(f"{file} has another size than it says")
    starts = range(4, 4 + _NAME * count, _NAME)
    names = [data[at : at + _NAME].partition(b"\0")[0] for at in starts]
    kinds: Kinds = np.zeros(_BMP, np.uint32)  # MeCab reads the last one from behind the file
    kinds[:-1] = np.frombuffer(data, np.uint32, offset=4 + _NAME * count)
    return names, kinds


def _entries_of(word: bytes, units: Ints) -> tuple[int, int]:
    """Where the entries of a word begin, and how many it has.

    Raises:
        UnreadableLexiconError: It has none.
    """
    base = int(units[0, 0])
    for byte in word:
        at = base + byte + 1
        if units[at, 1] != base:
            raise UnreadableLexiconError(f"unk.dic has no entries for {word!r}")
        base = int(units[at, 0])
    value = -int(units[base, 0]) - 1
    if units[base, 1] != base or value < 0:
        raise UnreadableLexiconError(f"unk.dic has no entries for {word!r}")
    return value >> 8, value & 0xFF
