"""A second tokenizer, fastokens, that is many times faster than the usual one: where it can be used, and its tokens as flat arrays.

It is used for byte-level BPE alone. There the bytes of the tokens, one after another, are the bytes of
the text, which is checked for every text: so the characters of each token are known without asking.
What that check cannot show is whether the text is cut as `tokenizers` cuts it; see `comparing`.
"""

import importlib
import json
import unicodedata
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int32]
Places: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

PACKAGE = "fastokens"

_NORMALIZERS = {"NFC"}
"""What a text must be already, so that nothing is normalized and the tokens' bytes are the text's."""


class Unsuitable(Exception):  # noqa: N818 - no fault: `tokenizers` is used then
    """This tokenizer cannot be accelerated; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Some texts as tokens, end to end, each with the bytes it stands for."""

    ids: Ints
    """(tokens,)"""

    first: Places
    """(texts + 1,): the first token of each text."""

    begins: Places
    """(texts + 1,): the first byte of each text, all texts end to end."""

    ends: Places
    """(tokens,): behind-last byte of each token, trailing blanks not counted where `tokenizers` does not count them."""

    starts: Places
    """(tokens,): where the token before ends."""

    sound: Flags
    """(texts,): whether the tokens are, byte for byte, the text."""


class FastTokenizer:
    """One tokenizer in fastokens, without special tokens at the ends of a text."""

    def __init__(self, text: str) -> None:
        """Load a tokenizer.

        Args:
            text: The whole tokenizer as JSON, as `tokenizers` writes it.

        Raises:
            Unsuitable: It cannot be accelerated.
        """
        self._text = text
        described = json.loads(text)
        self._form = _form_of(described)
        self._tokenizer = _loaded(text)
        pieces, blanks = _pieces_of(described, trimmed=_trims(described["post_processor"]))
        lengths = [len(piece) for piece in pieces]
        self._lengths = np.array(lengths, np.int32)
        self._blanks = np.array(blanks, np.int32)
        self._bytes = np.frombuffer(b"".join(pieces), np.uint8)
        self._places = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int32)

    @property
    def size(self) -> int:
        """Tokens of the vocabulary."""
        return len(self._lengths)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_tokenizer": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _tokenizer=_loaded(state["_text"]))

    def encode(self, texts: Many[str]) -> Tiles:
        """The tokens of some texts, together at most 2 GiB."""
        raw, offsets = self._tokenizer.encode_batch_flat(list(texts))
        ids = np.frombuffer(raw, np.uint32).view(np.int32)
        first = np.frombuffer(offsets, np.uint64).astype(np.int64)
        encoded = [text.encode() for text in texts]
        sizes = np.array([len(one) for one in encoded], np.int64)
        begins = np.concatenate(([0], np.cumsum(sizes)))
        lengths = self._lengths[ids]  # (tokens,)
        sums = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        counts = np.diff(first)
        ends: Places = np.repeat(begins[:-1] - sums[first[:-1]], counts) + sums[1:]
        ends -= self._blanks[ids]
        sound = np.diff(sums[first]) == sizes
        if sound.all():
            places = np.repeat(self._places[ids] - sums[:-1].astype(np.int32), lengths)
            places += np.arange(len(places), dtype=np.int32)
            same = self._bytes[places] == np.frombuffer(b"".join(encoded), np.uint8)
            if not same.all():
                sound[np.searchsorted(begins, np.flatnonzero(~same), side="right") - 1] = False
        else:
            ends = np.minimum(ends, np.repeat(begins[1:], counts))  # in order, whatever they are
            for number in np.flatnonzero(sound).tolist():
                part = ids[first[number] : first[number + 1]]
                sound[number] = self._written(part) == encoded[number]
        if self._form is not None:
            for place, text in enumerate(texts):
                if not (text.isascii() or unicodedata.is_normalized(self._form, text)):
                    sound[place] = False
        starts = np.empty_like(ends)
        starts[1:] = ends[:-1]
        starts[first[:-1][counts > 0]] = begins[:-1][counts > 0]
        return Tiles(ids=ids, first=first, begins=begins, ends=ends, starts=starts, sound=sound)

    def _written(self, ids: Ints) -> bytes:
        """The bytes of some tokens."""
        return b"".join(
            self._bytes[place : place + length].tobytes()
            for place, length in zip(self._places[ids], self._lengths[ids], strict=True)
        )


def _loaded(text: str) -> Any:
    """The tokenizer in fastokens.

    Raises:
        Unsuitable: It is not installed, or knows no such tokenizer.
    """
    try:
        native = importlib.import_module(f"{PACKAGE}._native")
    except ImportError as error:
        raise Unsuitable(
            f"{PACKAGE} cannot be imported (pip install 'xtune[fast]'): {error}"
        ) from error
    try:
        return native.Tokenizer.from_json_str(text)
    except ValueError as error:
        raise Unsuitable(f"{PACKAGE} refuses it: {error}") from error


def _form_of(described: Mapping[str, Any]) -> Any:
    """The Unicode form that texts must have, None for any.

    Raises:
        Unsuitable: The tokenizer is no byte-level BPE, or its tokens are not the bytes of the text.
    """
    model = described["model"]
    if model.get("type") != "BPE" or model.get("byte_fallback") or model.get("dropout"):
        raise Unsuitable(f"its model is {model.get('type')}, not byte-level BPE without dropout")
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise Unsuitable("its tokens have a prefix or suffix of their own")
    levels = [one for one in _parts(described["pre_tokenizer"]) if one["type"] == "ByteLevel"]
    if len(levels) != 1 or levels[0]["add_prefix_space"]:
        raise Unsuitable("it does not cut the bytes of the text as they are")
    if described["truncation"] or described["padding"]:
        raise Unsuitable("it truncates or pads")
    forms = {one["type"] for one in _parts(described["normalizer"])}
    if not forms <= _NORMALIZERS:
        raise Unsuitable(f"it normalizes texts ({', '.join(sorted(forms))})")
    return next(iter(forms), None)


def _parts(described: Any) -> Iterator[Mapping[str, Any]]:
    """The steps of a part of a tokenizer, which may be one step, a sequence of them, or none."""
    if not described:
        return
    if described["type"] != "Sequence":
        yield described
        return
    for key in ("normalizers", "pretokenizers", "processors"):
        for inner in described.get(key, ()):
            yield from _parts(inner)


def _trims(post_processor: Any) -> bool:
    """Whether offsets leave out the blanks at the ends of tokens.

    Raises:
        Unsuitable: In a way of its own at the beginning of a text.
    """
    steps = [one for one in _parts(post_processor) if one.get("trim_offsets")]
    if any(one["add_prefix_space"] for one in steps):
        raise Unsuitable("its offsets treat the first blank of a text in a way of their own")
    return bool(steps)


def _pieces_of(described: Mapping[str, Any], *, trimmed: bool) -> tuple[list[bytes], list[int]]:
    """The bytes of each token by its id, and how many blanks at their end its offsets leave out."""
    vocabulary: Mapping[str, int] = described["model"]["vocab"]
    added = {int(token["id"]): str(token["content"]) for token in described["added_tokens"]}
    size = 1 + max([*vocabulary.values(), *added], default=-1)
    pieces, blanks = [b""] * size, [0] * size
    table = _byte_table()
    for token, number in vocabulary.items():
        try:
            pieces[number] = token.translate(table).encode("latin-1")
        except UnicodeEncodeError:
            continue  # no bytes of a text are written like that
    for number, content in added.items():
        pieces[number] = content.encode()
    if trimmed:
        for number, piece in enumerate(pieces):
            if piece[-1:].isspace() or number in added:
                blanks[number] = _blanks_behind(added.get(number), piece)
    return pieces, blanks


def _blanks_behind(content: str | None, piece: bytes) -> int:
    """Blanks at the end of a token that has something else, too; of a token of the vocabulary, spaces alone count."""
    bare = piece.rstrip(b" ") if content is None else content.rstrip().encode()
    return len(piece) - len(bare) if bare else 0


def _byte_table() -> dict[int, str]:
    """From the letters that byte-level tokenizers write for bytes (GPT-2, `bytes_to_unicode`) to letters of Latin-1."""
    printed = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printed]
    return {
        **dict.fromkeys(range(256), "\uffff"),
        **{byte: chr(byte) for byte in printed},
        **{256 + place: chr(byte) for place, byte in enumerate(others)},
    }
