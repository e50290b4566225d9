"""What a plain YAML scalar means by the core schema of YAML 1.2; not the YAML 1.1 rules of PyYAML.

By those `1e-4` is text, `no` is false, `1:30` is ninety and `2024-01-01` a date.
"""

import re
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None

# YAML 1.2.2, section 10.3.2, "Tag Resolution" of the core schema
_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)")
_NOT_A_NUMBER = re.compile(r"\.nan|\.NaN|\.NAN")

# Nothing in a recipe counts higher, and what reads it after us (numpy, torch) has 64 bits.
_LARGEST = 2**63 - 1
_MOST_DIGITS = 30


def resolve_scalar(text: str) -> Scalar:
    """Return the value of an unquoted scalar.

    Raises:
        ValueError: If it is a whole number that does not fit 64 bits, or has a character that
            no file can hold.
    """
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    for pattern, base in ((_INT, 10), (_OCTAL, 8), (_HEXADECIMAL, 16)):
        if pattern.fullmatch(text):
            return _whole(text, base)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", "").lower())
    if _NOT_A_NUMBER.fullmatch(text):
        return float("nan")
    return sound_text(text)


def sound_text(text: str) -> str:
    """Return the text as it is.

    Raises:
        ValueError: If it has a character that no file name, tokenizer or UTF-8 file can hold.
    """
    for character in text:
        if character == "\0" or "\ud800" <= character <= "\udfff":
            raise ValueError(
                f"has the character U+{ord(character):04X}, which no text file can hold"
            )
    return text


def _whole(text: str, base: int) -> int:
    # Python itself refuses to read very long decimal numbers, with an error of its own.
    value = int(text, 0 if base != 10 else 10) if len(text) <= _MOST_DIGITS else _LARGEST + 1
    if abs(value) > _LARGEST:
        raise ValueError("is a whole number beyond 64 bits")
    return value
