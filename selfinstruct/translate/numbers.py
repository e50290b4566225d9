"""Numbers in texts of any language, to be compared: in whatever digits, and what English words say in numbers."""

import re
import unicodedata
from collections import Counter

_NUMBER = re.compile(r"\d+(?:[.,\u066b\u066c'\u2019]\d+|[\u00a0\u202f ](?=\d{3}(?!\d))\d{3})*")
"""Digits, with the marks that languages put between thousands and before decimals."""

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_ORDINALS = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
]
_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_WORDS = {
    **{word: number for number, word in enumerate(_ONES)},
    **{word: 10 * number for number, word in enumerate(_TENS, start=2)},
    **{word: number for number, word in enumerate(_ORDINALS, start=1)},
    **{word: number for number, word in enumerate(_MONTHS, start=1)},
    "once": 1, "twice": 2, "half": 2, "eightieth": 80, "noon": 12, "midnight": 0, "single": 1, "both": 2,
}  # fmt: skip
_MULTIPLES = {"hundred": 100, "thousand": 1000}
_SINGLE = frozenset({"a", "an"})


def numbers_in(text: str) -> Counter[str]:
    """The numbers that a text has in digits, without the marks inside them: `9,000`, `9.000` and `٩٠٠٠` are `9000`."""
    plain = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)
    return Counter(re.sub(r"\D", "", number) for number in _NUMBER.findall(plain))


def numbers_meant(text: str) -> Counter[str]:
    """The numbers that an English text has in words, months included, which other languages write in digits.

    "Two hundred" means 200, and also 2 and 100, since a language may have it as "2 hundred"; "half past nine" may
    become 9:30, and "a" one.
    """
    words = re.findall(r"[a-z]+", text.lower())
    meant: Counter[str] = Counter()
    value, open_number = 0, False
    for word in [*words, ""]:
        if word in _MULTIPLES:
            value = (value or 1) * _MULTIPLES[word]
            open_number = True
            meant[str(_MULTIPLES[word])] += 1
        elif word in _WORDS and word not in _MONTHS:
            value = value + _WORDS[word] if open_number else _WORDS[word]
            open_number = True
            meant[str(_WORDS[word])] += 1
        elif word != "and" or not open_number:
            if open_number:
                meant[str(value)] += 1
            value, open_number = 0, False
            if word in _MONTHS:
                meant[str(_WORDS[word])] += 1
            meant["1"] += word in _SINGLE
        if word == "half":
            meant.update(["30", "05", "1"])
        if word == "noon":
            meant["00"] += 1
    return meant
