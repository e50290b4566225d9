"""Keeps only texts that are new: ROUGE-L F below a threshold with every text kept so far, exactly.

Comparing each of 132,701 instructions with all before it by `rouge_score` would take weeks. Nearly all pairs
are so different that a bound decides. F >= t means a common subsequence, hence a common multiset of tokens, of
at least t (m + n) / 2, so the two multisets differ in at most (1 - t) (m + n) tokens. Every text keeps a
sketch: one bit for each (token, k-th occurrence), drawn at random, all of them xored into 128 bits. Each
token in which two texts differ flips one bit of the xor of their sketches, so its popcount never exceeds
that difference, and a pair above the limit cannot reach t. What survives is decided by the true longest
common subsequence and the float formula of `rouge_score`. Bits that collide cost time, never truth.
"""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from selfinstruct.novelty.search import Found, Ints, Longs, Nearest, fastest_nearest
from xtune.text import tokenizer

_TEXTS_AT_ONCE = 16_384
"""Texts handed to the compiled search together: enough that calling it costs nothing."""

_TEXTS_NUMBERED = 128
"""Texts whose tokens are held as strings at a time: so few that these stay in the cache until they are looked up."""

_MOMENT_S = 1e-6
"""As short a pause as the system gives, some 60 us."""


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

        Texts are cut while those before them are searched for, so many are best given in one call.
        A pool is rebuilt from the texts it kept in the same way; all of them are kept again.
        """
        remaining = iter(texts)
        batch, following = (list(islice(remaining, _TEXTS_AT_ONCE)) for _ in range(2))
        if not following:
            return self._verdicts(self._search(*self._cut(batch))) if batch else []
        verdicts: list[Verdict] = []
        tokens, lengths = self._cut(batch)
        with ThreadPoolExecutor(1) as searching:
            while following:
                found = searching.submit(self._search, tokens, lengths)
                tokens, lengths = self._cut(following, found)
                verdicts += self._verdicts(found.result())
                following = list(islice(remaining, _TEXTS_AT_ONCE))
        return verdicts + self._verdicts(self._search(tokens, lengths))

    def offer_tokens(self, texts: Sequence[Sequence[str]]) -> list[Verdict]:
        """The same for texts that `xtune.text.tokenize` has cut already, in another process say."""
        verdicts: list[Verdict] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            batch = texts[start : start + _TEXTS_AT_ONCE]
            verdicts += self._verdicts(self._search(*self._numbered(batch)))
        return verdicts

    def _cut(
        self, batch: Sequence[str], meanwhile: Future[Found] | None = None
    ) -> tuple[Ints, Longs]:
        """The texts as `_numbered` gives them; a search that runs meanwhile is let through now and then."""
        parts = []
        for start in range(0, len(batch), _TEXTS_NUMBERED):
            texts = batch[start : start + _TEXTS_NUMBERED]
            parts.append(self._numbered([self._tokenize(text) for text in texts]))
            if meanwhile and not meanwhile.done():
                # it holds the interpreter's lock for moments only, but would wait 5 ms for each
                time.sleep(_MOMENT_S)
        tokens, lengths = zip(*parts, strict=True)
        return np.concatenate(tokens), np.concatenate(lengths)

    def _search(self, tokens: Ints, lengths: Longs) -> Found:
        return self._pool.offer(tokens, lengths, len(self._vocabulary))

    def _verdicts(self, found: Found) -> list[Verdict]:
        verdicts = [_NEW] * len(found[0])
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
