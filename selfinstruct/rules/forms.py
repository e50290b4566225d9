"""Texts in the forms that several rules look at, each made once for all of them; it judges nothing."""

import contextlib
import re
import unicodedata
from functools import lru_cache


@lru_cache(maxsize=8)
def compatible(text: str) -> str:
    """A text in NFKC, in which full-width signs are plain ones."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def count_digits(text: str) -> int:
    """How many decimal digits of any script a text has."""
    found = text.encode("utf-8", "surrogatepass").translate(None, _NO_DIGITS)
    # nearly every text in Latin, Cyrillic or ideographic letters has ASCII digits alone
    return len(found) if not found or found.isdigit() else len(_DIGIT.findall(text))


_DIGIT = re.compile(r"\d")
_DIGITS_MAY_FOLLOW = b"\xd9\xdb\xdf\xe0\xe1\xea\xef\xf0\xf1\xf2\xf3\xf4"
"""First bytes in UTF-8 of the characters among which scripts other than Latin have their digits."""

_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789" + _DIGITS_MAY_FOLLOW))


def letters_of(text: str) -> str:
    """The letters of a text without regard to case, as `str.isalpha` knows them."""
    text = text.casefold()
    if max(text[:_FIRST], default="") <= _LAST_LATIN_1:
        # a byte a letter: deleting bytes costs a tenth of looking letters up
        with contextlib.suppress(UnicodeEncodeError):
            return text.encode("latin-1").translate(None, _NO_LETTERS).decode("latin-1")
    letters = "".join(_LETTERS.findall(text))
    # numbers that are no digits, "①" or "½", are among them
    return letters if letters.isalpha() else "".join(filter(str.isalpha, letters))


_FIRST = 16
"""Characters that tell whether it is worth trying."""

_LAST_LATIN_1 = "\xff"
_LETTERS = re.compile(r"[^\W\d_]+")
_NO_LETTERS = bytes(code for code in range(256) if not chr(code).isalpha())
