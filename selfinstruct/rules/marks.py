"""What kinds of characters texts hold, seen for all texts of a reply in one pass: most rules need a sign that most texts lack.

A kind is that of the character in NFKC too, in which full-width signs are plain ones. It judges nothing.
"""

import unicodedata
from collections.abc import Sequence

import numpy as np
import regex
from numpy.typing import NDArray

Kinds = NDArray[np.uint16]

LABEL, SLASH, GAP, DIGIT, AT, BRACKET = (1 << bit for bit in range(1, 7))
TWO_W, TWO_X = 1 << 7, 1 << 8
"""Two such letters side by side."""

SPEECH, SPELLING = 1 << 11, 1 << 12
"""What opens a quotation or follows a speaker's name; apostrophes and marks of vowels that may be written otherwise or left out."""

_MET, _W, _X = 1, 1 << 9, 1 << 10
_PAIRS = ((_W, TWO_W), (_X, TWO_X))

SIGNS = {
    LABEL: "<＜:：",
    GAP: "[［<＜{〇○◯△▲×✕",
    BRACKET: "(（",
    SPEECH: '"“„«「『:',
    SPELLING: "’" + "".join(map(chr, range(0x64B, 0x653))),
}
"""Signs that are looked for as they are."""

_PLAIN_SIGNS = {SLASH: "/", AT: "@", _W: "wW"}
"""Signs that are looked for in NFKC."""

_X_LETTERS = "xXХ"
_DIGIT = regex.compile(r"\d")

_kinds: Kinds = np.zeros(0x110000, np.uint16)
"""The kinds of each character, 0 for one that was not met yet."""


def kinds_of(texts: Sequence[str]) -> NDArray[np.intp]:
    """The kinds of characters in each of some texts."""
    # a space behind each keeps letters of two texts apart, and an empty one has a place as well
    data = f"{' '.join(texts)} ".encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(data, np.uint32)
    kinds = _kinds.take(codes)
    if not kinds.all():
        for code in np.unique(codes[kinds == 0]).tolist():
            _kinds[code] = _kind(chr(code))
        kinds = _kinds.take(codes)
    both = kinds[1:] & kinds[:-1]
    lengths = np.fromiter(map(len, texts), np.intp, len(texts)) + 1
    starts = np.cumsum(lengths) - lengths
    found = np.bitwise_or.reduceat(kinds, starts).astype(np.intp)
    pairs = np.bitwise_or.reduceat(np.append(both, np.uint16(0)), starts)
    for one, two in _PAIRS:
        found[(pairs & one) > 0] |= two
    return found


def _kind(character: str) -> int:
    found = _MET
    for kind, signs in SIGNS.items():
        found |= kind * (character in signs)
    plain = unicodedata.normalize("NFKC", character)
    for kind, signs in _PLAIN_SIGNS.items():
        found |= kind * any(sign in plain for sign in signs)
    found |= DIGIT * bool(_DIGIT.search(plain))
    found |= TWO_W * ("ww" in plain.lower())
    return found | _X * (character in _X_LETTERS)
