"""Rules out, for many texts at once, that they are in another language than the wanted one; what it leaves open is asked text by text.

Two ways. Where a script has one language, or kana are Japanese, letters are counted. Elsewhere a text is its words:
what each says, to the function words and to fastText's model, is computed once and kept, and a text is the sum of what its
words say; the model is asked where function words and letters do not decide. Both ways say "not another" only where `is_surely_another` says it too; see `tests/text/test_language_batch.py`.
"""

import math
import re
from collections.abc import Sequence
from functools import cache
from typing import Any
from unicodedata import combining, is_normalized

import numpy as np
import regex
from numpy.typing import NDArray

from xtune.text.language import (
    FLOOR,
    IDEOGRAPH_LETTERS,
    MAY_BE,
    MOST_OF_THE_MODEL,
    has_enough_kana,
)
from xtune.text.language_evidence import (
    MOST_EVIDENCE,
    RARE_WEIGHT,
    WORD_WEIGHT,
    speakers,
    weights_of_others,
    words_of,
)
from xtune.text.language_model import language_model
from xtune.text.language_prose import MARKS, MOST_LETTERS, SPACELESS, prose_of
from xtune.text.language_tables import ONE_LANGUAGE, RARE
from xtune.text.scripts import script_of, scripts_of_language
from xtune.text.word_table import Places, Words, WordTable

Truths = NDArray[np.bool_]
Doubles = NDArray[np.float64]

_MARGIN = 0.01
"""By how much more than `MAY_BE` is asked for, since rounding differs; fastText's own differs by a millionth."""

_MOST_WORDS = 1 << 14
"""Words that are kept for a language, 130 bytes each; then they are forgotten, and the commonest are back at once."""

_LEAST_KNOWN = 0.05
"""What the model has to give a language to be among the forty likeliest of 176, which alone are looked at: 1/40 and some room."""

_INFORMATION_SEPARATORS = "\x1c\x1d\x1e\x1f"


def may_be_another(texts: Sequence[str], language: str) -> list[bool]:
    """For each text: False where `is_surely_another` says False and the text has no letters, or some of the language's scripts.

    True has to be asked. Most texts in the language are ruled out, at a tenth of the time.

    Args:
        texts: Any texts; a few dozen together take least time.
        language: BCP-47 code; only its first part counts.
    """
    wanted = language.partition("-")[0].lower()
    if not texts:
        return []
    if (words := _words_of(wanted)) is not None:
        return words.may_be_another(texts)
    if (letters := _letters_of(wanted)) is not None:
        return letters.may_be_another(texts)
    return [True] * len(texts)


@cache
def _words_of(wanted: str) -> "_Words | None":
    scripts = scripts_of_language(wanted)
    (script,) = scripts if len(scripts) == 1 else ("",)
    known = wanted in speakers(script).languages and language_model().knows(wanted)
    return _Words(script, wanted) if known else None


@cache
def _letters_of(wanted: str) -> "_Letters | None":
    scripts = scripts_of_language(wanted)
    is_own = {ONE_LANGUAGE.get(script) for script in scripts} == {wanted}
    return _Letters(wanted, scripts) if is_own or wanted == "ja" else None


_NEEDS_PROSE = regex.compile(
    rf"[`@<{{;\"“”„«»「」『』\0\ud800-\udfff\U00010000-\U0010ffff]|(?<=.)\(|://|[{MARKS}].*[{SPACELESS}]|[{SPACELESS}].*[{MARKS}]"
)
"""What in a word `prose_of` has to look at; without it, it takes out the words that have a mark, and no others."""

_MARK = regex.compile(rf"[{MARKS}]")
_UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")
"""What fastText is not given as it is."""

_PROSE, _MARKED = 1, 2
"""Of a word: that `_NEEDS_PROSE` finds something in it, and that it has a mark."""


_OWN_BIT, _OTHER_BIT, _SIGN_BIT, _LOOK, _CUTS = (1 << bit for bit in range(1, 6))
"""What a character of a word is: a letter of the script, of another one, a mark of `MARKS`, one that `_NEEDS_PROSE` or NFC may
turn on, one that parts words."""


def _word_kind(character: str, script: str) -> int:
    found, of = 1, script_of(character)
    if of is not None:
        found |= _OWN_BIT if of == script else _OTHER_BIT
    found |= _SIGN_BIT * bool(_MARK.search(character))
    found |= _CUTS * (words_of(character) != [character.lower()])
    is_plain = not combining(character) and is_normalized("NFKC", character)
    is_jamo = "\u1100" <= character <= "\u11ff"
    looked_at = bool(_NEEDS_PROSE.search(character)) or character in "(/:"
    return found | _LOOK * (looked_at or is_jamo or not is_plain)


class _Words:
    """The words of a language that shares its script with others, which were met."""

    def __init__(self, script: str, wanted: str) -> None:
        self._script = script
        speaking = speakers(script)
        self._own = speaking.languages.index(wanted)
        self._count = len(speaking.languages)
        self._model = language_model()
        known = [name for name in speaking.languages if self._model.knows(name)]
        arabic = ["arz"] if script == "Arabic" else []  # Egyptian counts as Arabic
        self._questions = self._model.questions([*known, *arabic])
        self._places = [speaking.languages.index(name) for name in known]
        self._places += [speaking.languages.index("ar")] if arabic else []
        self._weights = np.array(
            [RARE_WEIGHT if name in RARE else 1.0 for name in known] + [1.0 for _ in arabic]
        )
        letters = sorted(speaking.owners)
        self._letters = {letter: number for number, letter in enumerate(letters)}
        self._kinds = np.zeros(0x110000, np.uint8)
        self._owners = np.zeros((64 * -(-len(letters) // 64), self._count), np.float32)
        for letter, number in self._letters.items():
            self._owners[number, list(speaking.owners[letter])] = 1
        self._weights_of_others = np.array(weights_of_others(script, wanted))
        self._forget()

    def _forget(self) -> None:
        self._numbers: dict[str, int] = {}
        self._table = WordTable(_MOST_WORDS)
        self._flags = np.zeros(_MOST_WORDS, np.uint8)
        self._letter_counts = np.zeros((2, _MOST_WORDS), np.int32)
        """Letters of the script, and of the others."""

        self._masks = np.zeros((_MOST_WORDS, len(self._owners) // 64), np.uint64)
        self._speaks = np.zeros(_MOST_WORDS, np.bool_)
        self._worth = np.zeros((_MOST_WORDS, self._count), np.float32)
        """What each word is worth to each language, nothing where it does not speak."""

        self._vectors = np.zeros((_MOST_WORDS, self._model.dimensions + 1), np.float32)
        """Sums of the model's vectors, and how many these are."""

    def may_be_another(self, texts: Sequence[str]) -> list[bool]:
        """See `may_be_another`."""
        everything = "".join(texts)
        if any(map(everything.__contains__, _INFORMATION_SEPARATORS)):
            return [True] * len(texts)
        words = self._table.find(texts)
        if len(words.numbers) > _MOST_WORDS:
            return [True] * len(texts)
        numbers, lengths = self._numbered(texts, words)
        again = _reduced(np.bitwise_or, self._flags[numbers], lengths) & _PROSE > 0
        again |= np.fromiter(map(len, texts), np.intp, len(texts)) > MOST_LETTERS
        may: Truths = np.ones(len(texts), np.bool_)
        may[~again] = ~self._vouched(numbers[np.repeat(~again, lengths)], lengths[~again])
        if again.any():
            prose = [prose_of(texts[at]) for at in np.flatnonzero(again).tolist()]
            numbers, lengths = self._numbered(prose, self._table.find(prose))
            # a mark that is still there stands beside letters that are read
            unread = _reduced(np.bitwise_or, self._flags[numbers], lengths) & _MARKED > 0
            may[again] = unread | ~self._vouched(numbers, lengths)
        found: list[bool] = may.tolist()
        return found

    def _numbered(self, texts: Sequence[str], words: Words) -> tuple[Places, Places]:
        """The numbers of all words of texts, and how many words each text has; new ones are added."""
        new = [word for word in dict.fromkeys(words.strings) if word not in self._numbers]
        if len(self._numbers) + len(new) > _MOST_WORDS:
            self._forget()
            return self._numbered(texts, self._table.find(texts))
        if new:
            self._add(new)
        words.numbers[words.others] = list(map(self._numbers.__getitem__, words.strings))
        return words.numbers, words.lengths

    def _add(self, words: Sequence[str]) -> None:
        start, end = len(self._numbers), len(self._numbers) + len(words)
        self._numbers.update(zip(words, range(start, end), strict=True))
        self._table.add(words, start)
        self._vectors[start:end] = self._model.sums(
            [_UNSPEAKABLE.sub("", word) or "\ufffd" for word in words]
        )
        signs = self._count_letters(words, self._letter_counts[:, start:end])
        known, letters = speakers(self._script).words, speakers(self._script).letters
        for row, word, sign in zip(range(start, end), words, signs, strict=True):
            # a mark beside a letter of another script, which may be one that writes no spaces
            if sign & _LOOK or (sign & _SIGN_BIT and sign & _OTHER_BIT):
                needs = bool(_NEEDS_PROSE.search(word)) or not is_normalized("NFC", word)
                self._flags[row] |= _PROSE * needs
            if sign & _SIGN_BIT or (sign & _LOOK and _UNSPEAKABLE.search(word)):
                self._letter_counts[:, row] = self._vectors[row] = 0
                self._flags[row] |= _MARKED
                continue
            lower = word.lower()
            for one in words_of(word) if sign & _CUTS else (lower,):
                for language, worth in known.get(one, ()):
                    self._worth[row, language] += worth
                    self._speaks[row] = True
            for letter in () if word.isascii() else letters(lower):
                number = self._letters[letter]
                self._masks[row, number // 64] |= np.uint64(1 << number % 64)

    def _count_letters(self, words: Sequence[str], counts: "NDArray[np.int32]") -> Sequence[int]:
        """Put down how many letters words have; returns for each word what else is in it."""
        codes = np.frombuffer(" ".join(words).encode("utf-32-le", "surrogatepass"), np.uint32)
        kinds = self._kinds.take(codes)
        if not kinds.all():
            for code in np.unique(codes[kinds == 0]).tolist():
                self._kinds[code] = _word_kind(chr(code), self._script)
            kinds = self._kinds.take(codes)
        lengths = np.fromiter(map(len, words), np.intp, len(words)) + 1
        starts = np.cumsum(lengths) - lengths
        for row, bit in enumerate((_OWN_BIT, _OTHER_BIT)):
            counts[row] = np.add.reduceat(kinds & bit, starts, dtype=np.intp) // bit
        # the space behind each word cuts nothing
        inside = np.where(codes == ord(" "), np.uint8(0), kinds)
        found: list[int] = np.bitwise_or.reduceat(inside, starts).tolist()
        return found

    def _vouched(self, numbers: Places, lengths: Places) -> Truths:
        """Of which texts letters, function words and the model give the wanted language enough.

        Args:
            numbers: Of the words of all texts.
            lengths: How many words each text has.
        """
        own, others = (_reduced(np.add, each[numbers], lengths) for each in self._letter_counts)
        hits = np.minimum(self._hits(numbers, lengths), MOST_EVIDENCE)
        factors = np.exp(math.log(WORD_WEIGHT) * hits)  # half the time of a power
        least = MAY_BE * (1 + _MARGIN)
        # at worst the model gives all it has to the other language with the most evidence
        worst = np.maximum(1, (factors * self._weights_of_others).max(axis=1))
        given = FLOOR * factors
        needed = least * (given.sum(axis=1) + MOST_OF_THE_MODEL * worst)
        is_of_script: Truths = own > IDEOGRAPH_LETTERS * others
        vouched: Truths = is_of_script & (given[:, self._own] >= needed)
        asked = is_of_script & ~vouched
        if asked.any():
            shares = self._shares(numbers[np.repeat(asked, lengths)], lengths[asked])
            shares[:, :-1] *= factors[asked]
            vouched[asked] = shares[:, self._own] >= least * shares.sum(axis=1)
        return vouched

    def _hits(self, numbers: Places, lengths: Places) -> Doubles:
        """What function words and letters say for each language: (texts, languages)."""
        speak = self._speaks[numbers]
        said = _reduced(np.add, speak, lengths, np.intp)
        hits = _reduced(np.add, self._worth.take(numbers[speak], 0), said)
        masks = _reduced(np.bitwise_or, self._masks.take(numbers, 0), lengths)
        letters = np.unpackbits(masks.view(np.uint8), axis=1, bitorder="little")
        found: Doubles = hits.astype(np.float64) + letters @ self._owners
        return found

    def _shares(self, numbers: Places, lengths: Places) -> Doubles:
        """What the model gives each language, weighed, and last what it may give to those that it is not asked for: (texts, languages + 1)."""
        vectors = _reduced(np.add, self._vectors.take(numbers, 0), lengths) + self._model.end()
        given = self._questions.probabilities(vectors[:, :-1] / vectors[:, -1:])
        shares = np.full((len(lengths), self._count + 1), FLOOR)
        shares[:, -1] = np.maximum(0, MOST_OF_THE_MODEL - given.sum(axis=1))
        weighed = given * self._weights
        own = np.array(self._places) == self._own
        weighed[:, own] *= given[:, own] > _LEAST_KNOWN
        for column, place in enumerate(self._places):
            shares[:, place] += weighed[:, column]
        return shares


def _reduced(
    ufunc: np.ufunc, values: "NDArray[Any]", lengths: Places, kind: Any = None
) -> "NDArray[Any]":
    """What a ufunc makes of each run of some lengths; 0 of an empty one."""
    kind = kind or values.dtype
    found = np.zeros((len(lengths), *values.shape[1:]), kind)
    some = lengths > 0
    if len(values):
        starts = np.cumsum(lengths) - lengths
        found[some] = ufunc.reduceat(values, starts[some], dtype=kind)
    return found


_MET, _LETTER, _KANA, _FOREIGN, _SPECIAL, _SIGN = range(1, 7)
"""What a character is: nothing, an own letter, kana, another script's letter, a sign of code or quotation, a mark."""


class _Letters:
    """The letters of a script that has one language, or of Japanese."""

    def __init__(self, wanted: str, scripts: frozenset[str]) -> None:
        self._wanted, self._scripts = wanted, scripts
        self._kinds = np.zeros(0x110000, np.uint8)

    def may_be_another(self, texts: Sequence[str]) -> list[bool]:
        """See `may_be_another`."""
        counts = self._counted(texts)
        return [
            not self._is_ruled_out(text, *row[_LETTER:])
            for text, row in zip(texts, counts, strict=True)
        ]

    def _is_ruled_out(
        self, text: str, letters: int, kana: int, foreign: int, special: int, signs: int
    ) -> bool:
        japanese = self._wanted == "ja"
        if not foreign and not japanese:
            return True  # whatever is taken out, no other language is left
        if special or len(text) > MOST_LETTERS or (signs and "://" in text):
            return False
        if not is_normalized("NFC", text):
            return False  # Hangul in parts: three letters are one
        # a word with a mark goes, but for letters of scripts without spaces
        if signs and self._wanted not in _SPACELESS_LANGUAGES:
            return False
        enough = letters + kana > IDEOGRAPH_LETTERS * foreign
        return enough and (not japanese or has_enough_kana(kana, letters))

    def _counted(self, texts: Sequence[str]) -> list[list[int]]:
        """How many characters of each kind each text has."""
        data = "".join(texts).encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(data, np.uint32)
        kinds = self._kinds.take(codes)
        if len(kinds) and not kinds.all():
            for code in np.unique(codes[kinds == 0]).tolist():
                self._kinds[code] = self._kind(chr(code))
            kinds = self._kinds.take(codes)
        owners = np.repeat(np.arange(len(texts)) * 8, list(map(len, texts)))
        counts = np.bincount(owners + kinds, minlength=8 * len(texts))
        found: list[list[int]] = counts.reshape(-1, 8)[:, : _SIGN + 1].tolist()
        return found

    def _kind(self, character: str) -> int:
        script = script_of(character)
        if script is not None and script not in self._scripts:
            return _FOREIGN
        if _NEEDS_PROSE.search(character) or character in _ALWAYS_SPECIAL:
            return _SPECIAL
        if not is_normalized("NFC", character):
            return _SPECIAL
        if script is None:
            return _SIGN if _MARK.search(character) else _MET
        return _KANA if script in {"Hiragana", "Katakana"} else _LETTER


_SPACELESS_LANGUAGES = frozenset({"ja", "th"})
_ALWAYS_SPECIAL = frozenset(f"({_INFORMATION_SEPARATORS}")
