"""Whether Latin letters spell the sound of a word of another script; rough on purpose, it transliterates for no reader.

Each script's letters are turned into what the usual romanisations agree on, consonants above all, and the two
spellings are compared; kanji have no fixed sound, so Japanese is held to the grammar of romaji instead.
"""

import unicodedata

import regex
from rapidfuzz.distance import LCSseq

_INITIALS = [
    "g",
    "kk",
    "n",
    "d",
    "tt",
    "r",
    "m",
    "b",
    "pp",
    "s",
    "ss",
    "-",
    "j",
    "jj",
    "ch",
    "k",
    "t",
    "p",
    "h",
]
_VOWELS = [
    "a",
    "ae",
    "ya",
    "yae",
    "eo",
    "e",
    "yeo",
    "ye",
    "o",
    "wa",
    "wae",
    "oe",
    "yo",
    "u",
    "wo",
    "we",
    "wi",
    "yu",
    "eu",
    "ui",
    "i",
]
_FINALS = [
    "",
    "k",
    "k",
    "k",
    "n",
    "n",
    "n",
    "t",
    "l",
    "k",
    "m",
    "l",
    "l",
    "l",
    "p",
    "l",
    "m",
    "p",
    "p",
    "t",
    "t",
    "ng",
    "t",
    "t",
    "k",
    "t",
    "p",
    "t",
]
"""Revised Romanization of Korean (2000), syllable = initial, vowel, final (Unicode, Hangul syllables)."""

_CYRILLIC = dict(
    zip(
        "абвгдеёжзийклмнопрстуфхцчшщъыьэюяіїєґ",
        [
            "a",
            "b",
            "v",
            "g",
            "d",
            "e",
            "e",
            "zh",
            "z",
            "i",
            "y",
            "k",
            "l",
            "m",
            "n",
            "o",
            "p",
            "r",
            "s",
            "t",
            "u",
            "f",
            "kh",
            "ts",
            "ch",
            "sh",
            "shch",
            "-",
            "y",
            "-",
            "e",
            "yu",
            "ya",
            "i",
            "yi",
            "ye",
            "g",
        ],
        strict=True,
    )
)
_ARABIC = dict(
    zip(
        "بتثجحخدذرزسشصضطظعغفقكلمنهوي",
        [
            "b",
            "t",
            "th",
            "j",
            "h",
            "kh",
            "d",
            "dh",
            "r",
            "z",
            "s",
            "sh",
            "s",
            "d",
            "t",
            "z",
            "-",
            "gh",
            "f",
            "q",
            "k",
            "l",
            "m",
            "n",
            "h",
            "w",
            "y",
        ],
        strict=True,
    )
)
_THAI = {
    **dict.fromkeys("กขฃคฅฆ", "k"),
    **dict.fromkeys("จฉชฌ", "ch"),
    **dict.fromkeys("ซศษส", "s"),
    **dict.fromkeys("ญย", "y"),
    **dict.fromkeys("ดฎ", "d"),
    **dict.fromkeys("ตฏทธฑฒถฐ", "t"),
    **dict.fromkeys("ณน", "n"),
    **dict.fromkeys("บ", "b"),
    **dict.fromkeys("ปผพภ", "p"),
    **dict.fromkeys("ฝฟ", "f"),
    **dict.fromkeys("มว", "m"),
    **dict.fromkeys("รลฬ", "l"),
    **dict.fromkeys("หฮ", "h"),
    "ง": "ng",
    "ว": "w",
}
_KANA_ROWS = {
    "k": "カキクケコ", "s": "サシスセソ", "t": "タチツテト", "n": "ナニヌネノン", "h": "ハヒフヘホ", "m": "マミムメモ", "y": "ヤユヨャュョ",
    "r": "ラリルレロ", "w": "ワヲ", "g": "ガギグゲゴ", "z": "ザジズゼゾヂ", "d": "ダヅデド", "b": "バビブベボ", "p": "パピプペポ",
}  # fmt: skip
_KANA = {kana: row for row, listed in _KANA_ROWS.items() for kana in listed}

_ROMAJI_WORD = regex.compile(
    r"(?:(?:[kgsztdnhbpmrj]y?|ky|gy|sh|ch|ts|dz|j|f|w|y|kk?|pp?|tt?|ss?)?(?:[aiueoāīūēōâîûêô])|n['’]?|tch|ssh|ssh|kk|pp|tt|ss)+",
    flags=regex.IGNORECASE,
)
_PARTICLE = regex.compile(
    r"\b(?:wa|ga|wo|o|ni|no|to|de|mo|ka|desu|masu|da|shimasu|suru|kudasai|shita)\b|(?:desu|masu|masen|mashita)\b",
    flags=regex.IGNORECASE,
)
_ALIKE = 0.7
_FEWEST_SOUNDS = 3
_VOWELS_LEFT_OUT = frozenset({"th", "ar", "fa", "ur", "he"})
"""Languages whose words have few consonants to compare."""


def sounds_like(own: str, latin: str, language: str) -> bool:
    """Whether `latin` spells the sound of the end of `own`, a text in `language`."""
    words = regex.findall(r"[\p{Latin}\p{M}'’]+", unicodedata.normalize("NFC", latin))
    if language == "ja":
        return _is_romaji(own, words)
    romanised = "".join(_sound(character) for character in own.strip().casefold())
    if len("".join(words)) >= _FEWEST_SOUNDS and romanised.endswith("".join(words).casefold()):
        return True  # letter by letter, vowels and all
    spelled = _skeleton("".join(words))
    sounds = _skeleton(romanised)
    if min(len(spelled), len(sounds)) < _FEWEST_SOUNDS - (language in _VOWELS_LEFT_OUT):
        return False
    # the gloss belongs to the last words only
    return (
        max(
            _likeness(spelled, sounds[-length:])
            for length in range(len(spelled) - 1, len(spelled) + 2)
        )
        >= _ALIKE
    )


def _likeness(a: str, b: str) -> float:
    return 2 * LCSseq.similarity(a, b) / (len(a) + len(b))


def has_romaji_form(latin: str) -> bool:
    """Whether Latin letters are lower-case syllables of romaji; some English words, "tomato", are as well."""
    words = regex.findall(r"[\p{Latin}\p{M}'’]+", unicodedata.normalize("NFC", latin))
    return bool(words) and all(word.islower() and _ROMAJI_WORD.fullmatch(word) for word in words)


def _is_romaji(own: str, words: list[str]) -> bool:
    """Whether words keep to the syllables of romaji, with a particle among several, or with the kana beside them."""
    if not words or not all(_ROMAJI_WORD.fullmatch(word) for word in words):
        return False
    if len(words) > 2 and _PARTICLE.search(" ".join(words)):
        return True
    katakana = "".join(chr(ord(c) + 0x60) if "ぁ" <= c <= "ゖ" else c for c in own)
    sounds = (
        _skeleton("".join(_KANA.get(character, "") for character in katakana))
        .replace("j", "z")
        .replace("f", "h")
    )
    spelled = _skeleton("".join(words)).replace("j", "z").replace("f", "h")
    if regex.search(r"\p{Han}", own):
        # a kanji's sound is open: the syllables of romaji, long vowels or a marker of Japanese have to do
        long = any(mark in "".join(words) for mark in "āīūēōâîûêô") or regex.search(
            r"ou|uu|shi|tsu|kyo|ryo|sho|chi\b|ji\b", "".join(words).lower()
        )
        return bool(long)
    tail = sounds[-len(spelled) - 1 :]
    return len(spelled) > 1 and len(tail) > 1 and _likeness(spelled, tail) >= _ALIKE


def _sound(character: str) -> str:
    """What the romanisations write for a letter; nothing for vowels that a script leaves out."""
    if "가" <= character <= "힣":
        index = ord(character) - ord("가")
        return _INITIALS[index // 588].strip("-") + _VOWELS[index % 588 // 28] + _FINALS[index % 28]
    for table in (_CYRILLIC, _ARABIC, _THAI):
        if character in table:
            return table[character].strip("-")
    return ""


def _skeleton(text: str) -> str:
    """The consonants of a spelling, without accents, doubled letters and what romanisations differ in."""
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", text.casefold()) if c.isascii() and c.isalpha()
    )
    for pair, one in (
        ("kh", "k"),
        ("ph", "p"),
        ("th", "t"),
        ("sh", "s"),
        ("ch", "c"),
        ("gh", "g"),
        ("dh", "d"),
        ("zh", "z"),
        ("ts", "t"),
        ("q", "k"),
        ("r", "l"),
    ):
        plain = plain.replace(pair, one)
    consonants = regex.sub("[aeiouwyh]", "", plain)
    return str(regex.sub(r"(.)\1+", r"\1", consonants))
