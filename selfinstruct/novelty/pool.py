"""Keeps only texts that are new: ROUGE-L F below a threshold with every text kept so far, exactly.

Comparing each of 132,701 instructions with all before it by `rouge_score` would take weeks. Nearly all pairs
are so different that a bound decides. F >= t means a common subsequence, hence a common multiset of tokens, of
at least t (m + n) / 2, so the two multisets differ in at most (1 - t) (m + n) tokens. Every text keeps a
sketch: one bit for each (token, k-th occurrence), drawn at random, all of them xored into 128 bits. Each
token in which two texts differ flips one bit of the xor of their sketches, so its popcount never exceeds
that difference, and a pair above the limit cannot reach t. What survives is decided by the true longest
common subsequence and the float formula of `rouge_score`. Bits that collide cost time, never truth.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from threading import Event
from typing import Any, NamedTuple

import numpy as np

from selfinstruct.novelty.packed import parted, travels_uncut
from selfinstruct.novelty.search import Found, Longs, Nearest, fastest_nearest
from selfinstruct.novelty.turns import SHORT_TURNS
from xtune.text import tokenizer, tokenizer_name

_TEXTS_AT_ONCE = 16_384
"""Texts handed to the compiled search together: enough that calling it costs nothing."""

_TEXTS_FIRST = 2048
"""The first texts handed over, and so many more each time: the search begins soon, and cutting stays ahead of it."""

_TEXTS_PACKED = 128
"""Texts cut at a time: so few that their tokens, where these are strings, stay in the cache until they are packed."""


class Verdict(NamedTuple):
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
        search = nearest or fastest_nearest()
        self._vocabulary = search.vocabulary()
        self._cutter = search.vocabulary.cutter(tokenizer_name(language))
        self._pool = search(threshold, keep_ties)

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
        batches = _growing(texts)
        first = list(islice(batches, 2))
        if len(first) < 2:
            return [verdict for batch in first for verdict in self._searched(*self._cut(batch))]
        verdicts: list[Verdict] = []
        searches: deque[_Search] = deque()
        self._rest()  # of what another segmenter has read of the same files
        with ThreadPoolExecutor(1) as executor, SHORT_TURNS:
            for batch in chain(first, batches):
                if len(searches) == 2:
                    # one waits and one runs; until that leaves a core idle, cutting would take one from it
                    searches[0].on_one_thread.wait()
                cut, on_one_thread = self._cut(batch), Event()
                found = executor.submit(self._search, *cut, on_one_thread)
                searches.append(_Search(found, on_one_thread))
                if len(searches) == 3:
                    verdicts += self._verdicts(searches.popleft().found.result())
            for search in searches:
                verdicts += self._verdicts(search.found.result())
        self._rest()
        return verdicts

    def offer_packed(self, data: bytes, lengths: Sequence[int]) -> list[Verdict]:
        """The same for texts that were packed in another process, say, and cut there where that takes less time in all.

        Args:
            data: As `packed.packed_for_travel` packs texts of the pool's language.
            lengths: As it gives them.
        """
        if not lengths:
            return []
        if not travels_uncut(self.language):
            sizes = np.array(lengths, np.int64)
            return self._searched([self._vocabulary.taken(data, int(sizes.sum()))], sizes)
        cut = self._cutter.cut(data, np.array(lengths, np.int32)) if self._cutter else None
        if cut is None:
            return self.offer_many(parted(data, lengths))
        piece, counts = cut
        return self._searched([piece], counts)

    def _cut(self, batch: Sequence[str]) -> tuple[list[Any], Longs]:
        """The texts as the vocabulary packs them, some at a time, and how many tokens each has."""
        starts = range(0, len(batch), _TEXTS_PACKED)
        parts = [self._cut_some(batch[start : start + _TEXTS_PACKED]) for start in starts]
        pieces, lengths = zip(*parts, strict=True)
        return list(pieces), np.concatenate(lengths)

    def _rest(self) -> None:
        if self._cutter:
            self._cutter.rest()

    def _cut_some(self, texts: Sequence[str]) -> tuple[Any, Longs]:
        cut = self._cutter(texts) if self._cutter else None
        return cut or self._packed([self._tokenize(text) for text in texts])

    def _packed(self, texts: Sequence[Sequence[str]]) -> tuple[Any, Longs]:
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        return self._vocabulary.packed(texts, int(lengths.sum())), lengths

    def _searched(self, pieces: Sequence[Any], lengths: Longs) -> list[Verdict]:
        return self._verdicts(self._search(pieces, lengths, Event()))

    def _search(self, pieces: Sequence[Any], lengths: Longs, on_one_thread: Event) -> Found:
        """Search for texts as `_cut` gives them; see `Nearest.offer`."""
        try:
            tokens = self._vocabulary.numbers_of(pieces, int(lengths.sum()))
            return self._pool.offer(tokens, lengths, len(self._vocabulary), on_one_thread)
        finally:
            on_one_thread.set()

    def _verdicts(self, found: Found) -> list[Verdict]:
        verdicts = [_NEW] * len(found[0])
        near = np.flatnonzero(found[1] >= 0)
        kept, nearest, scores = (of[near].tolist() for of in found)
        for number, *of_text in zip(near.tolist(), kept, nearest, scores, strict=True):
            verdicts[number] = Verdict(*of_text)
        return verdicts


class _Search(NamedTuple):
    """A search on the other thread, or one that waits for it."""

    found: Future[Found]
    on_one_thread: Event
    """Set once the search takes one thread only, however many it may use."""


def _growing(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in batches, each twice as large as the one before up to the largest."""
    remaining, size = iter(texts), _TEXTS_FIRST
    while batch := list(islice(remaining, size)):
        yield batch
        size = min(2 * size, _TEXTS_AT_ONCE)
