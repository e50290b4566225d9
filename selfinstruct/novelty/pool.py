"""Keeps only texts that are new: ROUGE-L F below a threshold with every text kept so far, exactly.

Comparing each of 132,701 instructions with all before it by `rouge_score` would take weeks. Nearly all pairs
are so different that a bound decides. F >= t means a common subsequence, hence a common multiset of tokens, of
at least t (m + n) / 2, so the two multisets differ in at most (1 - t) (m + n) tokens. Every text keeps a
sketch: one bit for each (token, k-th occurrence), drawn at random, all of them xored into 128 bits. Each
token in which two texts differ flips one bit of the xor of their sketches, so its popcount never exceeds
that difference, and a pair above the limit cannot reach t. What survives is decided by the true longest
common subsequence and the float formula of `rouge_score`. Bits that collide cost time, never truth.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from selfinstruct.novelty.search import Ints, Longs, Nearest, fastest_nearest
from xtune.text import tokenizer

_TEXTS_AT_ONCE = 16_384
"""Texts handed to the compiled search together: enough that calling it costs nothing."""

_TEXTS_NUMBERED = 128
"""Texts whose tokens are held as strings at a time: so few that these stay in the cache until they are looked up."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one text."""

    kept: bool
    nearest: int | None
    """Index, among the kept texts, of the first one with the highest score; None if all are below the threshold."""

    score: float
    """ROUGE-L F with it; 0 if all are below the threshold."""


_NEW = Verdict(kept=True, nearest=None, score=0.0)


class NoveltyPool:
    """The texts kept so far in one language."""

    def __init__(
        self,
        language: str,
        threshold: float = 0.7,
        *,
        keep_ties: bool = False,
        nearest: type[Nearest] | None = None,
    ) -> None:
        """Start with an empty pool.

        Args:
            language: BCP-47 code; decides what a token is (`xtune.text.tokenizer_name`).
            threshold: Texts that reach this F with one in the pool are dropped.
            keep_ties: Drop only what exceeds the threshold, as the older tools do.
            nearest: How to search; the fastest that is installed by default. All give the same verdicts.

        Raises:
            ValueError: The threshold is not above 0 and at most 1, or the language is no code.
        """
        if not 0 < threshold <= 1:
            raise ValueError(f"the threshold is {threshold}; it must be above 0 and at most 1")
        self.language = language
        self.threshold = threshold
        self.keep_ties = keep_ties
        self._tokenize = tokenizer(language)
        self._vocabulary = _Vocabulary()
        self._pool = (nearest or fastest_nearest())(threshold, keep_ties)

    def __len__(self) -> int:
        """Texts kept."""
        return len(self._pool)

    def offer(self, text: str) -> Verdict:
        """Keep a text if it is new; a text without a token is always kept, since it resembles nothing."""
        return self.offer_many([text])[0]

    def offer_many(self, texts: Iterable[str]) -> list[Verdict]:
        """Offer texts one after the other; the same verdicts as `offer`, in less time.

        A pool is rebuilt from the texts it kept in the same way; all of them are kept again.
        """
        verdicts: list[Verdict] = []
        remaining = iter(texts)
        while batch := list(islice(remaining, _TEXTS_AT_ONCE)):
            verdicts += self._offer(batch)
        return verdicts

    def offer_tokens(self, texts: Sequence[Sequence[str]]) -> list[Verdict]:
        """The same for texts that `xtune.text.tokenize` has cut already, in another process say."""
        verdicts: list[Verdict] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            verdicts += self._decide(*self._numbered(texts[start : start + _TEXTS_AT_ONCE]))
        return verdicts

    def _offer(self, batch: Sequence[str]) -> list[Verdict]:
        parts = [
            self._numbered(
                [self._tokenize(text) for text in batch[start : start + _TEXTS_NUMBERED]]
            )
            for start in range(0, len(batch), _TEXTS_NUMBERED)
        ]
        tokens, lengths = zip(*parts, strict=True)
        return self._decide(np.concatenate(tokens), np.concatenate(lengths))

    def _decide(self, tokens: Ints, lengths: Longs) -> list[Verdict]:
        """The verdicts on texts given as the numbers of their tokens, one text behind the other."""
        found = self._pool.offer(tokens, lengths, len(self._vocabulary))
        verdicts = [_NEW] * len(lengths)
        near = np.flatnonzero(found[1] >= 0)
        kept, nearest, scores = (of[near].tolist() for of in found)
        for number, keep, index, score in zip(near.tolist(), kept, nearest, scores, strict=True):
            verdicts[number] = Verdict(kept=keep, nearest=index, score=score)
        return verdicts

    def _numbered(self, texts: Sequence[Sequence[str]]) -> tuple[Ints, Longs]:
        """The tokens' numbers, one text behind the other, and how many each has."""
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        words = chain.from_iterable(texts)
        numbers = map(self._vocabulary.__getitem__, words)
        return np.fromiter(numbers, np.int32, int(lengths.sum())), lengths


class _Vocabulary(dict[str, int]):
    """Numbers tokens in the order they are met."""

    def __missing__(self, token: str) -> int:
        self[token] = number = len(self)
        return number
