"""The invented world of the demo model: its words, people, towns, numbers and days, no sentences."""

import hashlib
import random
import re
from typing import Literal

from xtune.demo.templates import CLOSINGS, DAY_PHRASES, GOODS, OPENINGS, TEMPLATES

Share = Literal["train", "develop", "test"]

# Each spelling of a made-up word belongs to one share for good, so that splits never meet.
# One tenth each leaves thousands of words for both held-out shares.
SHARE_BOUNDS: tuple[tuple[Share, int], ...] = (("test", 26), ("develop", 52), ("train", 256))

# A template belongs to a share the same way: 84 % train, 8 % develop, 8 % test.
TEMPLATE_BOUNDS: tuple[tuple[Share, int], ...] = (("test", 20), ("develop", 41), ("train", 256))

# Few syllables and many words: the tokenizer then knows every syllable, and no word is memorised.
ONSETS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "tr", "kl")
VOWELS = ("a", "e", "i", "o", "u")
CODAS = ("", "n", "r", "l", "s", "t", "m", "k")
# About one name in twenty carries a letter outside ASCII: the tokenizer is byte-level.
ACCENTED = ("é", "ö", "ü", "á", "ì")

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
COLOURS = ("red", "blue", "green", "white", "black", "yellow", "brown", "grey", "pink", "golden")
SIZES = ("small", "large", "round", "flat", "heavy", "light", "wooden", "glass", "iron", "soft")
ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

# The closed facts of the world: town, river, province, what it makes. Made up; the only towns
# whose properties can be asked for without a text that states them.
TOWNS: tuple[tuple[str, str, str, str], ...] = (
    ("Ardovel", "the Senn", "Lumara", "bells"),
    ("Brisgate", "the Senn", "Lumara", "rope"),
    ("Calmery", "the Odra Vale", "Tessin Hills", "cheese"),
    ("Dunwick Moor", "the Odra Vale", "Tessin Hills", "wool"),
    ("Elsperra", "the Mirn", "Westmark", "paper"),
    ("Farrowend", "the Mirn", "Westmark", "lamps"),
    ("Gallowmere", "the Quill", "Northreach", "boats"),
    ("Hartavia", "the Quill", "Northreach", "salt"),
    ("Ilvermoor", "the Tamble", "Southfen", "honey"),
    ("Jorunda", "the Tamble", "Southfen", "tiles"),
    ("Kestrava", "the Senn", "Lumara", "clocks"),
    ("Lindermoss", "the Mirn", "Westmark", "shoes"),
    ("Morvenna", "the Quill", "Northreach", "glass"),
    ("Nettleby", "the Tamble", "Southfen", "baskets"),
    ("Oskarre", "the Odra Vale", "Tessin Hills", "knives"),
    ("Pellador", "the Senn", "Lumara", "tea"),
)

# Word for word, and gender-free on purpose, so that a translation is a function of its words.
# English, Spanish, German, French, Indonesian.
LANGUAGES = ("English", "Spanish", "German", "French", "Indonesian")
VERBS: tuple[tuple[str, ...], ...] = (
    ("sees", "ve", "sieht", "voit", "melihat"),
    ("buys", "compra", "kauft", "achète", "membeli"),
    ("brings", "trae", "bringt", "apporte", "membawa"),
    ("has", "tiene", "hat", "a", "punya"),
    ("eats", "come", "isst", "mange", "makan"),
    ("sells", "vende", "verkauft", "vend", "menjual"),
    ("looks for", "busca", "sucht", "cherche", "mencari"),
    ("paints", "pinta", "malt", "peint", "melukis"),
)
THINGS: tuple[tuple[str, ...], ...] = (
    ("apples", "manzanas", "Äpfel", "pommes", "apel"),
    ("books", "libros", "Bücher", "livres", "buku"),
    ("birds", "pájaros", "Vögel", "oiseaux", "burung"),
    ("flowers", "flores", "Blumen", "fleurs", "bunga"),
    ("horses", "caballos", "Pferde", "chevaux", "kuda"),
    ("keys", "llaves", "Schlüssel", "clés", "kunci"),
    ("fish", "peces", "Fische", "poissons", "ikan"),
    ("boats", "barcos", "Boote", "bateaux", "perahu"),
    ("bread", "pan", "Brot", "du pain", "roti"),
    ("water", "agua", "Wasser", "de l'eau", "air"),
)
SMALL_NUMBERS: tuple[tuple[str, ...], ...] = (
    ("two", "dos", "zwei", "deux", "dua"),
    ("three", "tres", "drei", "trois", "tiga"),
    ("four", "cuatro", "vier", "quatre", "empat"),
    ("five", "cinco", "fünf", "cinq", "lima"),
    ("six", "seis", "sechs", "six", "enam"),
    ("seven", "siete", "sieben", "sept", "tujuh"),
)
TIMES: tuple[tuple[str, ...], ...] = (
    ("today", "hoy", "heute", "aujourd'hui", "hari ini"),
    ("tomorrow", "mañana", "morgen", "demain", "besok"),
    ("now", "ahora", "jetzt", "maintenant", "sekarang"),
    ("here", "aquí", "hier", "ici", "di sini"),
    ("again", "otra vez", "wieder", "encore", "lagi"),
)
GREETINGS: tuple[tuple[str, ...], ...] = (
    ("Good morning", "Buenos días", "Guten Morgen", "Bonjour", "Selamat pagi"),
    ("Thank you", "Gracias", "Danke", "Merci", "Terima kasih"),
    ("Goodbye", "Adiós", "Auf Wiedersehen", "Au revoir", "Sampai jumpa"),
    ("Please", "Por favor", "Bitte", "S'il vous plaît", "Tolong"),
    ("Yes", "Sí", "Ja", "Oui", "Ya"),
)


# English words of the sentences that the syllables can spell.
SENTENCE_WORDS = (
    "baker", "before", "deliver", "digits", "figures", "later", "likes", "lines", "lives",
    "makes", "minus", "model", "names", "never", "paper", "river", "takes", "times", "travels",
)  # fmt: skip
# "seven" and "pan" are spelled like made-up words, and mean something.
REAL_WORDS = frozenset(
    word.lower()
    for group in (
        (SENTENCE_WORDS, ONES, TENS, DAYS, MONTHS, COLOURS, SIZES)
        + (TOWNS + VERBS + THINGS + SMALL_NUMBERS + TIMES + GREETINGS)
    )
    for entry in group
    for word in entry.split()
) | frozenset(
    word
    for text in TEMPLATES + DAY_PHRASES + OPENINGS + CLOSINGS + GOODS
    for word in re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", text.lower()))
)


def share_of(text: str, bounds: tuple[tuple[Share, int], ...] = SHARE_BOUNDS) -> Share:
    """Return the share a spelling belongs to, a function of its letters alone."""
    byte = hashlib.sha256(text.lower().encode()).digest()[0]
    return next(share for share, bound in bounds if byte < bound)


def invent_word(rng: random.Random, share: Share) -> str:
    """Return a lower-case made-up word of two or three syllables out of one share."""
    while True:
        syllables = [rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(rng.choice((2, 2, 3)))]
        if rng.random() < 0.03:
            syllables[-1] = syllables[-1][:-1] + rng.choice(ACCENTED)
        # "take" and "note" are two open syllables: a short word gets a consonant at its end.
        codas = CODAS[1:] if len(syllables) == 2 else CODAS
        word = "".join(syllables) + rng.choice(codas)
        # A final s may be a plural's: "trusen" and "trusens" belong together.
        stem = word.rstrip("s")
        if share_of(stem) == share and not {stem, word, stem + "s"} & REAL_WORDS:
            return word


def person(rng: random.Random, share: Share) -> str:
    """Return a made-up name: mostly first and family name, at times one name alone."""
    first = invent_word(rng, share).capitalize()
    if rng.random() < 0.25:
        return first
    return f"{first} {invent_word(rng, share).capitalize()}"


def item(rng: random.Random, share: Share) -> str:
    """Return goods in the plural, a made-up noun with an adjective two times in five."""
    noun = invent_word(rng, share) + "s"
    if rng.random() < 0.6:
        return noun
    return f"{rng.choice(COLOURS + SIZES)} {noun}"


def town(rng: random.Random, share: Share) -> str:
    """Return a made-up town that no fact is known about."""
    return invent_word(rng, share).capitalize()


def number_words(number: int) -> str:
    """Return a number from 0 to 999 in English words."""
    if number >= 100:
        rest = f" and {number_words(number % 100)}" if number % 100 else ""
        return f"{ONES[number // 100]} hundred{rest}"
    if number < len(ONES):
        return ONES[number]
    tens, ones = divmod(number, 10)
    return TENS[tens] + (f"-{ONES[ones]}" if ones else "")
