"""Which writing systems a text uses, and which one a language is written in; it decides no language.

Shares are of letters alone (Unicode category L), by the Script property of Unicode, so that digits, punctuation
and emoji count for nothing.
"""

from collections import Counter
from functools import cache

import regex

_NAMES = (
    "Latin",
    "Cyrillic",
    "Arabic",
    "Thai",
    "Hangul",
    "Hiragana",
    "Katakana",
    "Han",
    "Greek",
    "Hebrew",
    "Devanagari",
    "Bengali",
    "Gurmukhi",
    "Gujarati",
    "Oriya",
    "Tamil",
    "Telugu",
    "Kannada",
    "Malayalam",
    "Sinhala",
    "Lao",
    "Tibetan",
    "Myanmar",
    "Khmer",
    "Georgian",
    "Armenian",
    "Ethiopic",
)
"""Unicode's names of the scripts that are told apart; the rest is `Other`."""

_SCRIPT = regex.compile(
    "(?V1)"
    + "|".join(rf"(?P<{name}>[\p{{Script={name}}}&&\p{{L}}])" for name in _NAMES)
    + r"|(?P<Other>\p{L})"
)

_JAPANESE = frozenset({"Hiragana", "Katakana", "Han"})
_SCRIPTS_OF_LANGUAGE = {
    "ja": _JAPANESE,
    "ko": frozenset({"Hangul"}),
    "th": frozenset({"Thai"}),
    "el": frozenset({"Greek"}),
    "lo": frozenset({"Lao"}),
    "bo": frozenset({"Tibetan"}),
    "dz": frozenset({"Tibetan"}),
    "my": frozenset({"Myanmar"}),
    "km": frozenset({"Khmer"}),
    "ka": frozenset({"Georgian"}),
    "hy": frozenset({"Armenian"}),
    "ta": frozenset({"Tamil"}),
    "te": frozenset({"Telugu"}),
    "kn": frozenset({"Kannada"}),
    "ml": frozenset({"Malayalam"}),
    "si": frozenset({"Sinhala"}),
    "gu": frozenset({"Gujarati"}),
    "or": frozenset({"Oriya"}),
    "sr": frozenset({"Cyrillic", "Latin"}),
    "pa": frozenset({"Gurmukhi", "Arabic"}),
    **dict.fromkeys(("zh", "yue", "wuu"), frozenset({"Han"})),
    **dict.fromkeys(("ar", "arz", "fa", "ur", "ckb", "ps", "ug", "sd"), frozenset({"Arabic"})),
    **dict.fromkeys(
        ("ru", "uk", "bg", "be", "mk", "kk", "ky", "tg", "mn", "tt", "ba"), frozenset({"Cyrillic"})
    ),
    **dict.fromkeys(("he", "yi"), frozenset({"Hebrew"})),
    **dict.fromkeys(("hi", "mr", "ne", "sa"), frozenset({"Devanagari"})),
    **dict.fromkeys(("bn", "as"), frozenset({"Bengali"})),
    **dict.fromkeys(("am", "ti"), frozenset({"Ethiopic"})),
}
"""ISO 639-1 code to the scripts of everyday writing (Unicode CLDR, supplemental data); others are in Latin."""


@cache
def scripts_of_language(language: str) -> frozenset[str]:
    """The scripts a language is written in, `{"Thai"}` for `th`; Latin for a language that has no entry here.

    Args:
        language: BCP-47 code; only its first part counts.
    """
    return _SCRIPTS_OF_LANGUAGE.get(language.partition("-")[0].lower(), frozenset({"Latin"}))


def letters_by_script(text: str) -> Counter[str]:
    """How many letters of each script a text has; a script without letters has no entry."""
    if text.isascii():  # a quarter of the time of looking each one up
        latin = sum(map(str.isalpha, text))
        return Counter({"Latin": latin} if latin else {})
    counts = Counter(map(_SCRIPT_OF.__getitem__, text))
    del counts[""]
    return counts


class _ScriptOf(dict[str, str]):
    """The script of each character met so far, empty for what is no letter: a look-up costs a tenth of the pattern."""

    def __missing__(self, character: str) -> str:
        found = _SCRIPT.fullmatch(character)
        self[character] = name = found.lastgroup or "" if found else ""
        return name


_SCRIPT_OF = _ScriptOf()


def scripts_of(text: str) -> dict[str, float]:
    """The share of a text's letters by script, the largest first: `{"Thai": 0.9, "Latin": 0.1}`; empty without letters."""
    counts = letters_by_script(text)
    total = counts.total()
    return {script: count / total for script, count in counts.most_common()}
