"""Invented instructions for measuring: made-up words, but the lengths and word frequencies of real ones; they mean nothing.

As in the published Spanish instructions of MultiAlpaca: 14 tokens on average, a tenth below 9, a tenth above 21; the
commonest words are grammar, half of all tokens; content words follow Zipf's law; openings come from a few hundred
patterns. One text in twelve is an earlier one with a few words changed.
"""

import random
from collections.abc import Iterator
from typing import TypeVar

_Item = TypeVar("_Item")

PAPER = {
    "ar": 14671, "ko": 14402, "ru": 14286, "vi": 13908, "id": 12117, "th": 11496,
    "fr": 11332, "pt": 10825, "ja": 10191, "es": 9958, "de": 9515,
}  # fmt: skip
"""Tasks of MultiAlpaca in each language (arXiv 2307.06018, table 9)."""

_CONTENT_WORDS = 30_000
_GRAMMAR_WORDS = 60
_OPENINGS = 300
_SHARE_OF_GRAMMAR = 0.5
_SHARE_CHANGED = 1 / 12
_OFFSET = 2.7
_REMEMBERED = 5_000
"""Earlier texts that a changed one may come from."""

_SYLLABLES = {
    "ar": "با تي سو مر كل نه دا رش قم لي حس فت".split(),  # noqa: SIM905
    "ru": "ба ти ско мер кал не да раш ком ли вес фот".split(),  # noqa: SIM905
    "ko": list("가나다라마바사아자차카타파하고노도로모보소오조초"),
    "ja": list("山川田中日本語学校東西南北かきくけこさしすせそ"),
    "th": "กา ตี สุ มร กล นะ ดา รส คม ลี หส ฟต".split(),  # noqa: SIM905
}
_LATIN = "ba ti sko mer kal ne da ra kom li ves fo é ñu lha ção ung ich".split()  # noqa: SIM905
_UNSPACED = frozenset({"ja", "th"})


def texts_in(language: str, count: int) -> Iterator[str]:
    """A stream of texts, the same at every call."""
    draw = random.Random(language)
    syllables = _SYLLABLES.get(language, _LATIN)
    content = _words(draw, syllables, _CONTENT_WORDS, 2, 4)
    grammar = _words(draw, syllables, _GRAMMAR_WORDS, 1, 2)
    openings = [
        [draw.choice(content[:400]), *(_zipf(draw, grammar) for _ in range(draw.randint(1, 3)))]
        for _ in range(_OPENINGS)
    ]
    gap = "" if language in _UNSPACED else " "
    earlier: list[list[str]] = []
    for _ in range(count):
        if earlier and draw.random() < _SHARE_CHANGED:
            words = list(draw.choice(earlier))
            for _ in range(draw.randint(1, 5)):
                words[draw.randrange(len(words))] = _zipf(draw, content)
        else:
            words = list(_zipf(draw, openings))
            length = max(4, round(draw.lognormvariate(2.45, 0.36)))
            while len(words) < length:
                is_grammar = draw.random() < _SHARE_OF_GRAMMAR
                words.append(_zipf(draw, grammar if is_grammar else content))
        if len(earlier) < _REMEMBERED:
            earlier.append(words)
        else:
            earlier[draw.randrange(_REMEMBERED)] = words
        yield gap.join(words) + draw.choice([".", ".", "?"])


def _words(
    draw: random.Random, syllables: list[str], count: int, least: int, most: int
) -> list[str]:
    """That many different words."""
    words: dict[str, None] = {}
    while len(words) < count:
        longer = len(words) // 2_000 if len(words) > 2_000 else 0
        size = draw.randint(least, most) + (draw.random() < 0.05 * longer)
        words["".join(draw.choices(syllables, k=size))] = None
    return list(words)


def _zipf(draw: random.Random, items: list[_Item]) -> _Item:
    """One of the items, the r-th with a probability in proportion to 1 / (r + 2.7) (Mandelbrot 1953)."""
    rank = _OFFSET * ((len(items) + _OFFSET) / _OFFSET) ** draw.random() - _OFFSET
    return items[min(int(rank), len(items) - 1)]
