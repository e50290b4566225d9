"""Patterns that are looked for by what they cannot match without, beside the same patterns alone."""

import random
import sys

import pytest
import regex

from selfinstruct.rules import phrases
from selfinstruct.rules.asking import asking
from selfinstruct.rules.patterns import Patterns, Texts
from selfinstruct.rules.refusing import LANGUAGES, denying, refusing
from selfinstruct.rules.stems import alternatives_of, commonness, fold, needs_of
from selfinstruct.seeds import read_seeds

ODD = ["", " ", ". ", ", ", "\n", "’", "'", "-", "_", "\x00", "\ud800", "😀", "ß", "ẞ", "İ", "ı", "ſ", "\u212a", "ς", "ﬁ", "e\u0301", "٣", "7"]  # fmt: skip


def stems_of(pattern):
    return [set(need.stems) for need in needs_of(pattern)]


@pytest.mark.parametrize(
    ("pattern", "stems"),
    [
        (r"\b(?:draw|paint)(?: me)? a\b", [{" draw a ", " draw me a ", " paint a ", " paint me a "}]),
        (r"I (?:refuse|decline) \w+", [{"i refuse ", "i decline "}]),
        ("GRÖßE[.!]", [{"größe "}]),
        (r"(?!never)ab{0,3}cde{2,}f?[xyz]+", [{"a"}, {"cde"}, {x + y for x in ("ef", "e") for y in "xyz"}, set("xyz")]),
        (r"(?:why)+\b", [{"why"}, {"why "}]),
        (r"\bno\b[^.]{0,9}\bI\b", [{" no "}, {" i "}]),
        (r"(?:a big\w+ dog|cat)s", [{"a big", "cat"}, {"s"}]),
        (r"x\b-\by", [{"x y"}]),
        (r"[a-z]+ (?=w)we\s", [{" we "}]),
        (r"(?:私は)?寝ない", [{"私は寝ない", "寝ない"}]),
    ],
)  # fmt: skip
def test_what_a_pattern_cannot_match_without_is_read_off_it(pattern, stems):
    assert stems_of(pattern) == stems


def test_what_a_match_holds_is_told_with_how_far_from_its_beginning():
    begins = [need.before for need in needs_of(r"(?:see|watch) ?[^.]{0,8}the\w*film")]
    assert begins == [0, 5 + 1 + 8, float("inf")]
    (need,) = needs_of(r"(?:we[^.]{0,3}leave|go\w? away)")
    assert need == ({"leave", " away"}, 2 + 3)


def test_too_many_texts_are_not_put_together():
    letters = "|".join("abcdefghijk")
    assert stems_of(f"(?:{letters})(?:{letters})1") == [
        set("abcdefghijk"),
        {f"{one}1" for one in "abcdefghijk"},
    ]


def test_rarer_is_what_has_more_letters_and_fewer_texts():
    assert commonness({"dog"}) < commonness({"dog", "cat"}) < commonness({"do"})
    assert commonness({"寝る"}) < commonness({"do"}) < commonness({"d "})


@pytest.mark.parametrize("pattern", [r"(?i)word", r"(\w+) \1", r"(?P<name>word)", r"\p{L}a", "[a"])
def test_a_pattern_that_the_stems_cannot_be_read_off_is_refused_with_the_place(pattern):
    with pytest.raises(ValueError, match="is not read here"):
        Patterns(pattern)


def test_a_pattern_that_may_match_anything_is_refused():
    with pytest.raises(ValueError, match="no text that every match holds"):
        Patterns(r"word|\d+")


def test_alternatives_of_groups_are_not_cut():
    assert alternatives_of(r"a(?:b|c)|\(d|[|]e") == (r"a(?:b|c)", r"\(d", "[|]e")
    assert alternatives_of("") == ()


def test_characters_that_match_each_other_are_folded_alike():
    """Each letter of the patterns against each character that has another case, with `regex` itself."""
    letters = {one for name in LANGUAGES for build in (refusing, denying, asking) for one in build(name)}  # fmt: skip
    cased = "".join(
        one
        for one in map(chr, range(sys.maxunicode + 1))
        if len({one, one.upper(), one.lower(), one.casefold()}) > 1
    )
    assert len(cased) > 2000
    for letter in letters:
        for one in regex.findall(regex.escape(letter), cased, flags=regex.IGNORECASE):
            assert fold(one) == fold(letter)


def odd_texts(pattern, language, count):
    """Pieces of a pattern's texts and of seeds in any order and case, some of which nearly match."""
    draw = random.Random(language)
    needs = [needs_of(one) for one in alternatives_of(pattern)]
    seeds = [part for seed in read_seeds(language) for part in (seed.task.instruction, seed.task.output)]  # fmt: skip
    for _ in range(count):
        pieces = [draw.choice(sorted(need.stems)) for need in draw.choice(needs)]
        text = draw.choice(seeds)[: draw.randrange(120)] + "".join(
            piece + draw.choice(ODD) for piece in pieces
        )
        yield draw.choice([str, str.upper, str.title])(text)


@pytest.mark.parametrize("build", [refusing, denying, asking])
@pytest.mark.parametrize("language", ["ar", "de", "en", "ja", "ko", "th", "vi"])
def test_patterns_find_together_what_each_finds_alone(build, language):
    pattern = build(language)
    alone = [regex.compile(one, flags=regex.IGNORECASE).search for one in alternatives_of(pattern)]
    patterns = Patterns(pattern)
    texts = [*odd_texts(pattern, language, 150), "", " "]
    expected = [[found.span() for search in alone if (found := search(text))] for text in texts]
    assert [[found.span() for found in patterns.find(Texts([text]))] for text in texts] == expected
    assert patterns.match(Texts(texts)) == [bool(spans) for spans in expected]
    early = [any(start <= 60 for start, _ in spans) for spans in expected]
    assert patterns.match(Texts(texts), lambda _: 60) == early
    assert sum(early) > 10


def test_a_match_may_be_asked_to_begin_early():
    texts = Texts(["so I can't", "I can't", "Indeed and in truth, I can't"])
    patterns = Patterns(r"\bI can't\b|indeed\W+\w+ IN")
    assert patterns.match(texts, lambda at: (3, 0, 0)[at]) == [True, True, True]
    assert patterns.match(texts, lambda at: (2, 0, -1)[at]) == [False, True, False]


def test_patterns_of_none_match_nothing():
    assert Patterns("").match(Texts(["a", ""])) == [False, False]
    assert Patterns("abc").match(Texts([])) == []
    assert list(Patterns("").find(Texts(["a"]))) == []


@pytest.mark.parametrize("table", ["ABOUT_REFUSAL", "IN_A_VOICE", "HOW_TO", "CODE_TASK"])
def test_words_of_phrases_are_found_with_their_stems_as_without(table):
    of_table = getattr(phrases, table)
    for pattern in [of_table] if isinstance(of_table, str) else of_table.values():
        search, patterns = regex.compile(pattern, flags=regex.IGNORECASE).search, Patterns(pattern)
        texts = [
            f"{seed.task.instruction}\n{seed.task.output}".upper()
            for language in ("de", "en", "vi")
            for seed in read_seeds(language)
        ]
        assert patterns.match(Texts(texts)) == [search(text) is not None for text in texts]
