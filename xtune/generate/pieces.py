"""Text from tokens, whole or as they arrive; which tokens is decided elsewhere."""

import re
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from transformers import PreTrainedTokenizerBase


def decoded(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], *, skip_special_tokens: bool = True
) -> str:
    """The text of tokens, as they are."""
    text: Any = tokenizer.decode(
        list(ids),
        skip_special_tokens=skip_special_tokens,
        clean_up_tokenization_spaces=False,
    )
    return str(text)


def bytes_of(tokenizer: PreTrainedTokenizerBase, token: int, *, first: bool = False) -> bytes:
    """The bytes that a token stands for, which may be a part of a character.

    Args:
        tokenizer: The model's.
        token: The token.
        first: Whether a text begins with it: SentencePiece's tokens lose their space there.
    """
    text = decoded(tokenizer, [token], skip_special_tokens=False)
    if not first and "\ufffd" not in text:
        twice = decoded(tokenizer, [token, token], skip_special_tokens=False)
        text = twice[len(text) :] if twice.startswith(text) else text
    name: Any = tokenizer.convert_ids_to_tokens(token)
    if "\ufffd" not in text or not isinstance(name, str) or "\ufffd" in name:
        return text.encode()
    if found := _BYTE.fullmatch(name):
        return bytes([int(found[1], 16)])
    known = _byte_letters()
    return bytes(known[one] for one in name) if known.keys() >= set(name) else text.encode()


_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
"""How tokenizers with byte fallback (SentencePiece) name a byte."""


@cache
def _byte_letters() -> dict[str, int]:
    """The letters that byte-level tokenizers write bytes in (Radford et al. 2019, GPT-2's encoder)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(0x100 + place): byte for place, byte in enumerate(others)
    }


class Pieces:
    """Text from tokens that arrive one by one, where one character may take several tokens."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        keep: Collection[int] = (),
        *,
        before: Sequence[int] = (),
    ) -> None:
        """Begin.

        Args:
            tokenizer: The model's.
            keep: Special tokens that are part of the text; the others are not.
            before: Tokens of a text that this one goes on with.
        """
        self._tokenizer = tokenizer
        self._dropped: set[int] = set()
        if keep:
            added: Any = tokenizer.added_tokens_decoder
            self._dropped = {token for token, what in added.items() if what.special} - set(keep)
        self._skip = not keep
        self._ids: list[int] = list(before)
        # Tokens before `_start` are out of play; those up to `_given` are given out already but stay
        # in view, as a word's leading space appears only when something stands before it.
        self._start = 0
        self._given = len(self._ids)

    def add(self, token: int) -> str:
        """The text that this token completes; empty in the middle of a character."""
        if token in self._dropped:
            return ""
        self._ids.append(token)
        text = self._new_text()
        if not text or text.endswith("�"):
            return ""
        self._start, self._given = self._given, len(self._ids)
        return text

    def rest(self) -> str:
        """What is left at the end: bytes of an unfinished character."""
        text = self._new_text()
        self._start = self._given = len(self._ids)
        return text

    def _new_text(self) -> str:
        before = self._text(self._ids[self._start : self._given])
        return self._text(self._ids[self._start :])[len(before) :]

    def _text(self, ids: Sequence[int]) -> str:
        return decoded(self._tokenizer, ids, skip_special_tokens=self._skip)
