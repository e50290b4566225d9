"""Texts that a second tokenizer must cut as the first does before it is used: scripts, code, white space, special tokens. It compares nothing."""

from collections.abc import Iterable, Iterator
from itertools import chain, product

_SENTENCES = (
    "The quick brown fox jumps over the lazy dog; it's 12 o'clock, we'll've said \"don't!\" (twice).",
    "Der Fluß fließt über die Straße – „schön“, sagt er: 1.234,56 €.",
    "¿Cuántos años tiene el niño? ¡Qué sé yo! Él cumplió 42 el 3/5/2021.",
    "L’été, où l'on s’aime déjà ; ça coûte 3 % « à peine ».",
    "Người Việt nói tiếng Việt: Đường phố Hà Nội rất đông đúc.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю №5.",
    "Ελληνικά: τὸ γὰρ αὐτὸ νοεῖν ἐστίν τε καὶ εἶναι.",
    "السَّلامُ عليكم، كيف حالك؟ رقم ١٢٣٤ و٥٦٪",
    "שָׁלוֹם עולם, מה שלומך? 7₪",
    "नमस्ते दुनिया, क्या हाल है? १२३ श्री क्ष त्र ज्ञ",
    "ประเทศไทยมีภาษาที่ไม่เว้นวรรค ๑๒๓ ฯลฯ",
    "日本語の文章です。カタカナとひらがな、漢字が混ざる「１２３」ｱｲｳ。",
    "中文句子没有空格，标点符号是全角的：“你好”——２０２１年１２月。",
    "한국어 문장은 띄어쓰기가 있습니다. ㅋㅋㅋ 각나닫",
    "বাংলা தமிழ் తెలుగు ಕನ್ನಡ മലയാളം ગુજરાતી ਪੰਜਾਬੀ සිංහල ລາວ မြန်မာ ខ្មែរ ქართული հայերեն አማርኛ ᏣᎳᎩ",
    "👩‍👩‍👧‍👦 🇩🇪🇫🇷 👍🏽 ❤️ 1️⃣ ✅ ★☆ →← ∀x∈ℝ: x²≥0 ∑∫ 𝒜𝕏 ﬁ ﬂ Å K Ω",
    "e\u0301 a\u0308 \u1100\u1161\u11a8 \u0344 \u2126 ｶﾞ \u0958 \ufb2a q\u0307\u0323 İı ſß",
)
_CODE = (
    "def f(x: int) -> int:\n    return x**2  # 100%\n\n\nclass A(B):\n\t'''doc'''\n\tpass\n",
    "for(int i=0;i<10;++i){a[i]+=b->c&0xFF;}\r\n#include <stdio.h>\r\n\r\n",
    '{"a": [1, 2.50e-3, null, true], "b": "\\u00e9\\n"}\n  </div>\n<!-- -->&nbsp;',
    "SELECT * FROM t WHERE a='x''y' AND b<>3; -- note\n$ ls -la ~/.cache | grep '^d' && echo $?",
    "https://example.org/a_b/c-d?e=f&g=h%20i#j user.name+tag@mail.example v1.2.3-rc4 C:\\dir\\x",
    "HTTPServer camelCase snake_case SCREAMING_CASE x1y2z3 1234567890 3.14159 1,000,000 0b1010 ٣٤٥ ²³ Ⅷ ½",
    r"\frac{a}{b} \begin{align} $x_1^{2}$ \\ | a | b |"
    + "\n|---|:-:|\n\n* item\n  1. other\n```py\n```",
)
_BLANKS = (" ", "\n", "\t", "\r\n", "\r", "\u00a0", "\u3000", "\u2009", "\u2028", "\u0085", "\u200b", "\ufeff", "\x0b", "\x00")  # fmt: skip
_WORDS = ("a", "É", "中", "7", "!", "'s", "_", "👍", "'S", "’s", "'ſ")
_STRETCHES = ((0x0, 0x3400, 64, 4), (0x3400, 0x32000, 1024, 2))
"""Parts of the code space: first, behind last, how many letters share a text, and how many of them it has. Letters close
together mostly share what a rule asks of a letter; a data set's own letters are compared in its own rows besides."""


def probe_texts(special: Iterable[str]) -> list[str]:
    """The texts.

    Args:
        special: Names of added and special tokens, which texts may hold.
    """
    texts = [*_SENTENCES, *_CODE, *_blanks(), *_blocks(), "", "a" * 300, "9" * 100, " " * 100]
    texts += chain.from_iterable(_around(name) for name in special)
    return texts


def _blanks() -> Iterator[str]:
    for place, (one, other) in enumerate(product(_BLANKS, repeat=2)):
        words = [_WORDS[(place + step) % len(_WORDS)] for step in range(4)]
        yield "".join(f"{word}{one}{other}{word}{one * 3}{word}{other}" for word in words)
    for word, after in product(_WORDS, repeat=2):
        yield f"{word}{after} {word}{word}{after} {after}  {word}\n{after}"


def _blocks() -> Iterator[str]:
    """Letters of the whole code space: alone, as words, and between letters and digits."""
    for first, behind, size, count in _STRETCHES:
        for start in range(first, behind, size):
            codes = range(start, start + size, size // count)
            letters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
            yield "".join(letters) + " ".join(f"{one}{one}a {one}1 x{one}" for one in letters)


def _around(name: str) -> Iterator[str]:
    yield f"{name}"
    yield f"a {name} b\n{name}\n{name}{name} 1{name}é"
    yield f"{name[:-1]} {name[1:]} {name.upper()}{name.lower()} {name}s"
