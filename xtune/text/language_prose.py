"""Takes out of a text what is in no language: code, addresses, numbers, quotations. It names no language."""

import re
import unicodedata
from functools import cache, lru_cache

import regex

from xtune.text.language_classes import written_out
from xtune.text.scripts import letters_by_script

MOST_LETTERS = 2_000
"""Letters past these change no decision: fastText averages over n-grams."""

_CODE = regex.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|(?<!\S)[^\s@]++@\S++|</?[A-Za-z][^<>\n]{0,200}>|\{[^{}\n]{0,200}\}",
    flags=regex.DOTALL,
)
_MARKS_OF_CODE = (b"`", b"@", b"<", b"{")
"""What `_CODE` cannot do without, `://` apart."""

_CODE_SIGNS = b"(){}[]=<>;"
_CODE_SHARE = 0.08
"""Prose has a bracket per sentence; source code has several a line."""

SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}"
MARKS = r"\d_/\\=#$%{}|~^<>+*"
_NO_WORD = regex.compile(
    rf"(?<![^\s{SPACELESS}])[^\s{MARKS}{SPACELESS}]*+[{MARKS}][^\s{SPACELESS}]*|(?<![\p{{L}}.])[\p{{L}}.]++\([^()\n]{{0,200}}\)\S*|(?<!\S)[^\s;]++;(?=\s|$)"
)
"""Numbers, paths, identifiers, formulas; the scripts without spaces are left standing beside them."""

_QUOTED = regex.compile(r"[\"“„«「『][^\"“”„«»「」『』]{8,}[\"”“»」』]")
_QUOTATION_MARKS = tuple('"“”„«»「」『』')
"""What `_QUOTED` cannot do without."""

_ENOUGH_LETTERS = 16
"""What is quoted may be in any language; it is left out where this many letters remain without it."""

_ASCII_MARKS = rb"0123456789_/\=#$%{}|~^<>+*"
_DIGITS_MAY_FOLLOW = b"\xd9\xdb\xdf\xe0\xe1\xea\xef"
"""First bytes in UTF-8 of the characters among which other scripts have their digits, below U+10000."""

_BEYOND_BMP = b"\xf0\xf1\xf2\xf3\xf4"
_SEPARATORS = b"\x1c\x1d\x1e\x1f"
"""Information separators: white space to `re`, and none to `regex` and to Unicode."""

_SIGNS = _ASCII_MARKS + b"()[];`@:" + _DIGITS_MAY_FOLLOW + _BEYOND_BMP + _SEPARATORS
_NO_SIGNS = bytes(set(range(256)) - set(_SIGNS))


@lru_cache(maxsize=8)
def prose_of(text: str) -> str:
    """A text without what is in no language, in NFC, on one line, cut to what matters."""
    head = text[:MOST_LETTERS]
    signs = _signs(head)
    most = len(head) * _CODE_SHARE
    if len(signs) > most and _count(signs, _CODE_SIGNS) > most:
        return ""
    text = unicodedata.normalize("NFC", text[: 4 * MOST_LETTERS])
    if text != head:
        signs = _signs(text)
    if any(map(signs.__contains__, _MARKS_OF_CODE)) or (b":" in signs and "://" in text):
        text = str(_CODE.sub(" ", text))
        signs = _signs(text)
    if signs:
        text = _without_no_words(text, signs)
    if any(map(text.__contains__, _QUOTATION_MARKS)):
        own = _QUOTED.sub(" ", text)
        text = own if letters_by_script(own).total() >= _ENOUGH_LETTERS else text
    if not text.isprintable() or "  " in text or text.strip(" ") != text:
        text = " ".join(text.split())  # white space other than a space is not printable
    return text[:MOST_LETTERS]


def _signs(text: str) -> bytes:
    """What of a text may be a sign of code or of numbers, in order; most texts have a few bytes of it, found in one pass."""
    return text.encode("utf-8", "surrogatepass").translate(None, _NO_SIGNS)


def _count(signs: bytes, among: bytes) -> int:
    return len(signs) - len(signs.translate(None, among))


def _without_no_words(text: str, signs: bytes) -> str:
    """`_NO_WORD` taken out, in a tenth of its time where a word with a mark in it is all that it can match."""
    if _count(signs, _BEYOND_BMP) and not _MARK.search(text):
        return text
    if _count(signs, _SEPARATORS) or (b"(" in signs and _CALL_WITH_SPACES.search(text)):
        return str(_NO_WORD.sub(" ", text))
    if b";" in signs or _count(signs, _BEYOND_BMP) or (b"(" in signs and _CALL.search(text)):
        # no match reaches beyond white space
        return _SUSPECT.sub(lambda found: str(_NO_WORD.sub(" ", found[0])), text)
    if _count(signs, _ASCII_MARKS) or (_count(signs, _DIGITS_MAY_FOLLOW) and _DIGIT.search(text)):
        return _marked_word().sub(" ", text)
    return text


_CALL = re.compile(r"\S\(")
_CALL_WITH_SPACES = re.compile(r"\S\([^()]*\s")
_SUSPECT = re.compile(rf"(?<!\S)\S*[{MARKS}(;\U00010000-\U0010ffff]\S*")
_DIGIT = re.compile(r"\d")
_MARK = re.compile(f"[{MARKS}(;]")
"""What `_NO_WORD` is looked for by."""


@cache
def _marked_word() -> "re.Pattern[str]":
    """The first alternative of `_NO_WORD` for `re`."""
    spaceless = written_out(SPACELESS)
    return re.compile(rf"(?<![^\s{spaceless}])[^\s{MARKS}{spaceless}]*[{MARKS}][^\s{spaceless}]*")
