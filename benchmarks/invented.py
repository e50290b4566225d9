"""Invented instructions for measuring: words and word frequencies of real ones, put together by chance; they mean nothing.

Words are those of the shipped seeds of a language, in the order of their frequency there; rarer ones than these hold are
made of parts of two (Thai: taken from the segmenter's dictionary, Japanese: katakana). A text is an earlier one with a part
of its words changed, as generated tasks resemble those their prompt showed, or one of some thousand openings and words
drawn by Zipf's law. `python -m benchmarks.invented es FILE` prints what a file of
real instructions and as many invented ones are like.
"""

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from selfinstruct.novelty import NoveltyPool
from xtune.text import tokenize

PAPER = {
    "ar": 14671, "ko": 14402, "ru": 14286, "vi": 13908, "id": 12117, "th": 11496,
    "fr": 11332, "pt": 10825, "ja": 10191, "es": 9958, "de": 9515,
}  # fmt: skip
"""Tasks of MultiAlpaca in each language (arXiv 2307.06018, table 9)."""

_GRAMMAR_WORDS = 40
_SHARE_OF_GRAMMAR = 0.5
_OPENINGS = 2_000
_FIRST_WORDS = 400
_MEAN_LOG_LENGTH = 2.45
_SHARE_CHANGED = 0.75
_REMEMBERED = 5_000
"""Earlier texts that a changed one may come from."""

_TAIL, _OFFSET, _CONTENT_WORDS = 1.0, 500, 150_000
"""Content words rarer than the r-th are 1 / (1 + r / 500) of all, cut at the last."""

_BELOW_LAST = 1 - (1 + _CONTENT_WORDS / _OFFSET) ** -_TAIL

_UNSPACED = frozenset({"ja", "th"})
_KATAKANA = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモラリルレロワンガギグゲゴダデドバビブベボー"


class _Words:
    """The words of a language, the commonest first, without end."""

    def __init__(self, language: str, draw: random.Random) -> None:
        self._language, self._draw = language, draw
        cut_as = language if language in _UNSPACED else "en"  # Korean words, not their parts
        counts = Counter(
            word for text in _seeds(language) for word in tokenize(text, cut_as) if word.isalpha()
        )
        self._real = [word for word, _ in counts.most_common()]
        self._all = dict.fromkeys(self._real)
        self._listed = list(self._real)
        if language == "th":
            known = (files("newmm_tokenizer") / "words_th.txt").read_text(encoding="utf-8").split()
            draw.shuffle(known)
            self._listed = list(dict.fromkeys([*self._real, *known]))

    def __getitem__(self, rank: int) -> str:
        while len(self._listed) <= rank:
            word = self._invented()
            if word not in self._all:
                self._all[word] = None
                self._listed.append(word)
        return self._listed[rank]

    def _invented(self) -> str:
        draw = self._draw
        if self._language == "ja":
            return "".join(draw.choices(_KATAKANA, k=draw.randint(3, 7)))
        a, b = draw.choice(self._real), draw.choice(self._real)
        return a[: draw.randint(1, len(a))] + b[draw.randrange(len(b)) :]


def texts_in(language: str, count: int) -> Iterator[str]:
    """A stream of texts, the same at every call."""
    draw = random.Random(language)
    words = _Words(language, draw)
    openings = _openings(words, draw)
    mean = _MEAN_LOG_LENGTH - (0.4 if language == "ko" else 0)  # its words are several tokens
    gap = "" if language in _UNSPACED else " "
    earlier: list[list[str]] = []
    for _ in range(count):
        if earlier and draw.random() < _SHARE_CHANGED:
            text = _changed(draw.choice(earlier), words, draw)
        else:
            text = list(openings[_zipf(draw, len(openings), 1)])
            length = max(4, round(draw.lognormvariate(mean, 0.4)))
            text += [_word(words, draw) for _ in range(length - len(text))]
        if len(earlier) < _REMEMBERED:
            earlier.append(text)
        else:
            earlier[draw.randrange(_REMEMBERED)] = text
        yield gap.join(text) + draw.choice([".", ".", "?"])


def _openings(words: _Words, draw: random.Random) -> list[list[str]]:
    openings = []
    for _ in range(_OPENINGS):
        first = words[_GRAMMAR_WORDS + _zipf(draw, _FIRST_WORDS, 0.2)]
        second = words[_zipf(draw, _GRAMMAR_WORDS, 0.3)]
        more = [_word(words, draw) for _ in range(draw.randint(0, 10))]
        openings.append([first, second, *more])
    return openings


def _changed(text: Sequence[str], words: _Words, draw: random.Random) -> list[str]:
    """The text with a part of its words changed, its end more than its beginning."""
    share = draw.uniform(0.38, 0.62)
    size = len(text)
    return [
        _word(words, draw) if draw.random() < 2 * share * at / size else word
        for at, word in enumerate(text)
    ]


def _word(words: _Words, draw: random.Random) -> str:
    if draw.random() < _SHARE_OF_GRAMMAR:
        return words[_zipf(draw, _GRAMMAR_WORDS, 2.7)]
    rank = _OFFSET * ((1 - draw.random() * _BELOW_LAST) ** (-1 / _TAIL) - 1)
    return words[_GRAMMAR_WORDS + int(rank)]


def _zipf(draw: random.Random, count: int, offset: float) -> int:
    """A rank below `count`, r with a probability in proportion to 1 / (r + offset) (Mandelbrot 1953)."""
    rank = offset * ((count + offset) / offset) ** draw.random() - offset
    return min(int(rank), count - 1)


def _seeds(language: str) -> Iterator[str]:
    path = files("selfinstruct.seeds") / f"{language}.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        task = json.loads(line)
        yield from (task[part] for part in ("instruction", "input", "output") if task[part])


def _new(texts: Sequence[str], language: str, threshold: float) -> list[str]:
    """Those that are new."""
    verdicts = NoveltyPool(language, threshold).offer_many(texts)
    return [text for text, verdict in zip(texts, verdicts, strict=True) if verdict.kept]


def figures(texts: Sequence[str], language: str) -> dict[str, float]:
    """What texts are like: their lengths, their vocabulary, and how many resemble an earlier one."""
    tokens = [tokenize(text, language) for text in texts]
    lengths = np.array([len(text) for text in tokens])
    counts = Counter(token for text in tokens for token in text)
    ranked = np.cumsum([count for _, count in counts.most_common()]) / lengths.sum()
    openings = Counter(tuple(text[:3]) for text in tokens).most_common(100)
    return {
        "texts": len(texts),
        "tokens of a text, mean": lengths.mean(),
        **{f"tokens of a text, {part} %": np.percentile(lengths, part) for part in (10, 50, 90)},
        "different tokens": len(counts),
        **{f"share of the {top} commonest": ranked[top - 1] for top in (10, 100, 1000)},
        "share met once": sum(count == 1 for count in counts.values()) / len(counts),
        "share of the 100 commonest openings": sum(count for _, count in openings) / len(texts),
        **{
            f"share with an earlier one of F >= {threshold}": 1
            - len(_new(texts, language, threshold)) / len(texts)
            for threshold in (0.4, 0.5, 0.6)
        },
    }


def main() -> None:
    """Print what the instructions of a file and as many invented ones are like, both without those of F >= 0.7."""
    language, path = sys.argv[1:]
    with Path(path).open(encoding="utf-8") as lines:
        given = [json.loads(line)["instruction"] for line in lines]
    random.Random(0).shuffle(given)
    given = _new(given, language, 0.7)
    invented = _new(list(texts_in(language, 2 * len(given))), language, 0.7)[: len(given)]
    theirs, ours = figures(given, language), figures(invented, language)
    for name, figure in theirs.items():
        print(f"{name} | {figure:,.3g} | {ours[name]:,.3g}")


if __name__ == "__main__":
    main()
