"""Numbers tokens in the order in which they are met, in a dictionary; `words` does it compiled."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from selfinstruct.novelty.packed import unpacked

Ints: TypeAlias = npt.NDArray[np.int32]


Longs: TypeAlias = npt.NDArray[np.int64]


class Cutter(Protocol):
    """Cuts and packs texts at once. One is for one thread at a time."""

    def __call__(self, texts: Sequence[str]) -> tuple[Any, Longs] | None:
        """The texts as `Vocabulary.numbers_of` takes them, and how many tokens each has; None for texts it cannot cut."""
        ...

    def cut(self, data: bytes, lengths: Ints) -> tuple[Any, Longs] | None:
        """The same for texts in NFC and UTF-8, one behind the other, given how many characters each has."""
        ...

    def rest(self) -> None:
        """Let go of memory that is not needed until the next call."""
        ...


class Vocabulary(Protocol):
    """The tokens met so far.

    Texts are packed on the thread that cuts them, some at a time, and numbered on the one that searches.
    """

    def __len__(self) -> int: ...

    @staticmethod
    def cutter(name: str) -> Cutter | None:
        """What cuts and packs texts faster than `xtune.text.tokenizer` and `packed`, to the same tokens; None if nothing does.

        Args:
            name: As `xtune.text.tokenizer_name` has it.
        """
        ...

    def packed(self, texts: Sequence[Sequence[str]], tokens: int) -> Any:
        """The texts, which have so many tokens, as `numbers_of` takes them."""
        ...

    def taken(self, data: bytes, tokens: int) -> Any:
        """The same for texts that `packed.packed` has packed already."""
        ...

    def numbers_of(self, pieces: Sequence[Any], tokens: int) -> Ints:
        """(tokens,) the numbers of the tokens of all texts that were packed, piece by piece."""
        ...


class DictVocabulary(dict[str, int]):
    """Looks each token up when it is packed."""

    def __missing__(self, token: str) -> int:
        self[token] = number = len(self)
        return number

    @staticmethod
    def cutter(name: str) -> None:
        """None."""
        del name

    def packed(self, texts: Sequence[Sequence[str]], tokens: int) -> Ints:
        """The numbers."""
        return np.fromiter(map(self.__getitem__, chain.from_iterable(texts)), np.int32, tokens)

    def taken(self, data: bytes, tokens: int) -> Ints:
        """The numbers."""
        return self.packed([unpacked(data)], tokens)

    def numbers_of(self, pieces: Sequence[Ints], tokens: int) -> Ints:
        """One piece behind the other."""
        del tokens
        return np.concatenate(pieces)
