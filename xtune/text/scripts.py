"""Which writing systems a text uses, and which one a language is written in; it decides no language.

Shares are of letters alone (Unicode category L), by the Script property of Unicode, so that digits, punctuation
and emoji count for nothing.
"""

import sys
from collections import Counter
from functools import cache

import numpy as np
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
    counts: Counter[str] = Counter()
    try:
        # nearly every text in Latin letters fits, and deleting bytes costs a tenth of looking letters up
        data = text.encode("cp1252")
    except UnicodeEncodeError:
        for number, letters in enumerate(_counted(text).tolist()):
            if letters and number > _NO_LETTER:
                counts[_BY_NUMBER[number]] = letters
        return counts
    if latin := len(data.translate(None, _NO_LATIN_LETTERS)):
        counts["Latin"] = latin
    if not text.isascii() and (other := sum(map(text.count, _OTHER_LETTERS))):
        counts["Other"] = other
    return counts


def _counted(text: str) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """How often each `_script_number` occurs, by a table of all characters that is filled as they are met."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)  # (characters,)
    counts = np.bincount(_SCRIPT_NUMBERS.take(codes))
    if counts[0]:
        for code in np.unique(codes[_SCRIPT_NUMBERS[codes] == 0]).tolist():
            _SCRIPT_NUMBERS[code] = _script_number(chr(code))
        return _counted(text)
    return counts


_NO_LETTER = 1
_BY_NUMBER = ("", "", *_NAMES, "Other")
_SCRIPT_NUMBERS = np.zeros(sys.maxunicode + 1, np.uint8)
"""Where each character's script stands in `_BY_NUMBER`, 0 for a character that was not met yet."""


def _script_number(character: str) -> int:
    script = script_of(character)
    return _BY_NUMBER.index(script) if script else _NO_LETTER


def script_of(character: str) -> str | None:
    """The script of one character, `Other` where it is not told apart here; None if it is no letter."""
    found = _SCRIPT.fullmatch(character)
    return str(found.lastgroup) if found else None


_CP1252 = bytes(range(256)).decode("cp1252", "ignore")
_NO_LATIN_LETTERS = "".join(
    one for one in _CP1252 if _BY_NUMBER[_script_number(one)] != "Latin"
).encode("cp1252")
_OTHER_LETTERS = "".join(one for one in _CP1252 if _BY_NUMBER[_script_number(one)] == "Other")


def scripts_of(text: str) -> dict[str, float]:
    """The share of a text's letters by script, the largest first: `{"Thai": 0.9, "Latin": 0.1}`; empty without letters."""
    counts = letters_by_script(text)
    total = counts.total()
    return {script: count / total for script, count in counts.most_common()}
