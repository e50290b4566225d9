"""The novelty pool decides as rouge_score would, in both searches, whatever is offered."""

import json
import os
import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import _score_lcs

from selfinstruct.novelty import NoveltyPool, Verdict, bounds, lists
from selfinstruct.novelty.compiled import CompiledNearest
from selfinstruct.novelty.packed import packed, packed_for_travel, travels_uncut
from selfinstruct.novelty.search import Nearest, NumpyNearest, limit_of
from selfinstruct.novelty.turns import SHORT_TURNS
from selfinstruct.novelty.vocabulary import DictVocabulary, Vocabulary
from selfinstruct.novelty.words import CompiledVocabulary
from xtune.text import f_measure, tokenize, tokenizer_name
from xtune.text.segment import LONGEST_PIECE


class SealsEachText(CompiledNearest):
    """Puts every text into posting lists at once, and merges these all the time; reads those of rare tokens first."""

    tail_texts = 1
    least_in_parts = 1


class SealsFew(CompiledNearest):
    """Searches both posting lists and texts that are in none yet, more or fewer at a time."""

    tail_texts = 3
    most_near = 2


class OnTwoThreads(SealsFew):
    """Starts both for two texts, whatever cores there are; reads the lists of rare tokens first."""

    least_per_thread = 1
    least_in_parts = 1

    def __init__(self, threshold: float, keep_ties: bool) -> None:
        super().__init__(threshold, keep_ties)
        self.threads = 2


class OnThreeThreads(SealsEachText):
    """Starts all of them for three texts."""

    least_per_thread = 1

    def __init__(self, threshold: float, keep_ties: bool) -> None:
        super().__init__(threshold, keep_ties)
        self.threads = 3


SEARCHES = [
    NumpyNearest,
    CompiledNearest,
    SealsEachText,
    SealsFew,
    OnTwoThreads,
    OnThreeThreads,
]
SHARED = Path(__file__).parents[3] / "shared" / "data" / "selfinstruct"


def verdicts_of_rouge_score(
    texts: list[str], threshold: float = 0.7, keep_ties: bool = False
) -> list[Verdict]:
    """Every text against every kept one, with rouge_score's own dynamic programme."""
    pool: list[list[str]] = []
    verdicts = []
    for text in texts:
        tokens = tokenize(text, "es")
        scores = [_score_lcs(other, tokens).fmeasure for other in pool]
        best = max(scores, default=0.0)
        near = best >= threshold
        kept = not near or (keep_ties and best == threshold)
        verdicts.append(
            Verdict(
                kept=kept, nearest=scores.index(best) if near else None, score=best if near else 0.0
            )
        )
        if kept:
            pool.append(tokens)
    return verdicts


def near_duplicates(count: int, seed: int) -> list[str]:
    """Texts of 1 to 24 words, half of them an earlier one with a few words changed, moved or cut."""
    draw = random.Random(seed)
    words = [f"w{number}" for number in range(40)]
    texts = [draw.choices(words, k=draw.randint(1, 24)) for _ in range(count // 2)]
    while len(texts) < count:
        text = list(draw.choice(texts))
        for _ in range(draw.randint(0, 8)):
            at = draw.randrange(len(text) + 1)
            match draw.randrange(3):
                case 0:
                    text.insert(at, draw.choice(words))
                case 1:
                    del text[at : at + 1]
                case _:
                    draw.shuffle(text[:2])
                    text.insert(at, text.pop() if text else "w0")
        texts.append(text)
    draw.shuffle(texts)
    return [" ".join(text) for text in texts]


@cache
def verdicts_of_four_hundred(keep_ties: bool) -> list[Verdict]:
    """Computed once for both searches."""
    return verdicts_of_rouge_score(near_duplicates(400, seed=0), keep_ties=keep_ties)


def tie(common: int, m: int, n: int, name: str) -> list[str]:
    """Two texts of m and n words with `common` in common."""
    shared = [f"{name}s{number}" for number in range(common)]
    return [
        " ".join([*shared, *(f"{name}a{number}" for number in range(m - common))]),
        " ".join([*(f"{name}b{number}" for number in range(n - common)), *shared]),
    ]


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("keep_ties", [False, True])
def test_forty_thousand_pairs_get_the_verdict_of_rouge_score(
    search: type[Nearest], keep_ties: bool
) -> None:
    texts = near_duplicates(400, seed=0)
    expected = verdicts_of_four_hundred(keep_ties)
    assert 200 < sum(verdict.kept for verdict in expected) < 350
    pool = NoveltyPool("es", keep_ties=keep_ties, nearest=search)
    assert pool.offer_many(texts) == expected


@pytest.mark.parametrize("search", SEARCHES)
def test_all_ties_up_to_sixty_words_get_the_verdict_of_rouge_score(search: type[Nearest]) -> None:
    """Every (common, m, n) with 2 common / (m + n) = 0.7 exactly; the doubles fall on both sides."""
    ties = [
        (7 * (m + n) // 20, m, n)
        for m in range(1, 61)
        for n in range(1, 61)
        if (m + n) % 20 == 0 and 7 * (m + n) // 20 <= min(m, n)
    ]
    assert (21, 23, 37) in ties
    assert (7, 7, 13) in ties
    kept = []
    for keep_ties in (False, True):
        for number, (common, m, n) in enumerate(ties):
            pair = tie(common, m, n, f"t{number}")
            a, b = (text.split() for text in pair)
            score = _score_lcs(a, b).fmeasure if number % 20 == 0 else None
            pool = NoveltyPool("es", keep_ties=keep_ties, nearest=search)
            verdict = pool.offer_many(pair)[1]
            precision, recall = common / n, common / m
            expected = 2 * precision * recall / (precision + recall)
            assert score is None or score == expected
            assert verdict.kept is (expected <= 0.7 if keep_ties else expected < 0.7)
            assert verdict.score == (expected if expected >= 0.7 else 0.0)
            kept.append(verdict.kept)
    assert {True, False} == set(kept)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcdefg"), max_size=9).map(" ".join), max_size=40),
    st.sampled_from([1e-12, 0.01, 0.3, 0.5, 0.6, 2 / 3, 0.7, 0.8, 0.9, 0.95, 1.0]),
    st.booleans(),
)
def test_all_searches_give_the_verdict_of_rouge_score_at_any_threshold(
    texts: list[str], threshold: float, keep_ties: bool
) -> None:
    expected = verdicts_of_rouge_score(texts, threshold, keep_ties)
    for search in SEARCHES:
        pool = NoveltyPool("es", threshold, keep_ties=keep_ties, nearest=search)
        assert pool.offer_many(texts) == expected
        assert len(pool) == sum(verdict.kept for verdict in expected)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=30), st.sampled_from(["es", "zh", "hi"]))
def test_all_searches_agree_on_any_text(texts: list[str], language: str) -> None:
    expected = NoveltyPool(language, nearest=NumpyNearest).offer_many(texts)
    for search in SEARCHES[1:]:
        assert NoveltyPool(language, nearest=search).offer_many(texts) == expected


@pytest.mark.parametrize("tail_texts", [7, 500, 2048])
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_both_searches_agree_on_thousands_of_texts_offered_in_uneven_batches(
    tail_texts: int, threshold: float
) -> None:
    texts = [*near_duplicates(4000, seed=3), *long_near_duplicates(500, seed=4)]
    draw, verdicts, start = random.Random(5), [], 0
    draw.shuffle(texts)
    expected = verdicts_of_numpy(tuple(texts), threshold)
    assert any(verdict.kept for verdict in expected)
    assert not all(verdict.kept for verdict in expected)
    search = type("Sealing", (CompiledNearest,), {"tail_texts": tail_texts})
    pool = NoveltyPool("es", threshold, nearest=search)
    while start < len(texts):
        size = draw.choice([1, 2, 17, 500])
        verdicts += pool.offer_many(texts[start : start + size])
        start += size
    assert verdicts == expected


@cache
def verdicts_of_numpy(texts: tuple[str, ...], threshold: float) -> list[Verdict]:
    """Computed once for all sizes of the tail."""
    return NoveltyPool("es", threshold, nearest=NumpyNearest).offer_many(texts)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same_verdicts(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enough texts for several lists, offered in one call, with texts cut while those before them are searched for."""
    texts = [*near_duplicates(4000, seed=3), *long_near_duplicates(500, seed=4)]
    random.Random(5).shuffle(texts)
    monkeypatch.setattr("selfinstruct.novelty.pool._TEXTS_AT_ONCE", 1000)
    monkeypatch.setattr("selfinstruct.novelty.pool._TEXTS_FIRST", 150)
    pool = NoveltyPool("es", nearest=CompiledNearest)
    pool._pool.tail_texts, pool._pool.threads = 100, threads
    assert pool.offer_many(texts) == verdicts_of_numpy(tuple(texts), 0.7)
    assert len(pool._pool._rooms) == threads


def long_near_duplicates(count: int, seed: int) -> list[str]:
    """Texts of 1 to 400 words as frequent as in a language, each fifth one an earlier one with words changed."""
    draw = random.Random(seed)
    texts: list[list[str]] = []
    for number in range(count):
        if number % 5 == 4:
            share = draw.random() / 2
            text = [w if draw.random() > share else f"w{number}" for w in draw.choice(texts)]
        else:
            text = [f"w{int(5000 ** draw.random())}" for _ in range(int(400 ** draw.random()))]
        texts.append(text)
    return [" ".join(text) for text in texts]


@pytest.mark.parametrize("threshold", [0.5, 0.6, 2 / 3, 0.7, 0.8, 0.9, 1.0])
def test_no_bound_rules_out_what_reaches_the_threshold(threshold: float) -> None:
    """Every pair of lengths up to 80, and longer ones, with the fewest common tokens that do, counted by the formula of rouge_score."""
    limit = limit_of(threshold)
    lengths = [*range(1, 81), 254, 300]
    for m in lengths:
        for n in lengths:
            reaching = [c for c in range(min(m, n) + 1) if f_measure(c, m, n) >= threshold]
            if not reaching:
                continue
            common = reaching[0]
            # the rarest shared token can stand no later than before the others, in either text
            for place in range(m - common + 1):
                assert place < bounds.prefix(m, limit)
                assert n <= bounds.longest(m, place, limit)
            for place in range(n - common + 1):
                assert n >= bounds.shortest(m, place, limit)
            assert m + n - 2 * common <= bounds.differing(m, n, limit)
            assert common >= bounds.half(limit) * (m + n)
            # and where a text with the same score, or one as high as these reach, was found before
            for more in reaching:
                tight = bounds.tightened(limit, f_measure(more, m, n))
                assert tight <= limit
                assert m - more < bounds.prefix(m, tight)
                assert (
                    bounds.shortest(m, n - more, tight) <= n <= bounds.longest(m, m - more, tight)
                )
                assert m + n - 2 * more <= bounds.differing(m, n, tight)
                assert more >= bounds.half(tight) * (m + n)
                assert bounds.share_of(m + n - 2 * more, m, n) <= 256 * tight


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 50), max_size=60), min_size=1, max_size=8))
def test_the_tokens_of_each_text_are_sorted(texts: list[list[int]]) -> None:
    tokens = np.array([token for text in texts for token in text], np.int32)
    starts = np.cumsum([0, *map(len, texts)])
    expected = [token for text in texts for token in sorted(text, reverse=True)]
    assert lists.rarest_first(tokens, starts).tolist() == expected


@pytest.mark.parametrize("vocabulary", [DictVocabulary, CompiledVocabulary])
@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.lists(
            st.lists(
                st.text(max_size=5) | st.sampled_from(["\n", "a\nb", "\xff", "\ud800", "a\x00"]),
                max_size=6,
            ),
            max_size=5,
        ),
        max_size=6,
    )
)
def test_tokens_are_numbered_in_the_order_in_which_they_are_met(
    vocabulary: type[Vocabulary], pieces: list[list[list[str]]]
) -> None:
    """Any strings, line feeds and halves of surrogate pairs among them, some texts at a time, twice."""
    known: list[str] = []
    numbering = vocabulary()
    for _ in range(2):
        tokens = [token for piece in pieces for text in piece for token in text]
        known += [token for token in dict.fromkeys(tokens) if token not in known]
        sizes = [sum(map(len, of)) for of in pieces]
        packed_here = [numbering.packed(of, size) for of, size in zip(pieces, sizes, strict=True)]
        packed_elsewhere = [
            numbering.taken(packed(of, size), size) for of, size in zip(pieces, sizes, strict=True)
        ]
        for given_pieces in (packed_here, packed_elsewhere) if pieces else ():
            numbers = numbering.numbers_of(given_pieces, len(tokens))
            assert numbers.tolist() == [known.index(token) for token in tokens]
    assert len(numbering) == len(known)


@pytest.mark.parametrize("language", ["es", "hi", "ja", "ko", "th", "zh"])
@pytest.mark.parametrize("search", SEARCHES)
def test_texts_that_were_packed_elsewhere_have_the_same_verdicts(
    search: type[Nearest], language: str
) -> None:
    """Cut or not, one at a time and many; some have characters or lengths that a cutter does not take."""
    draw = random.Random(language)
    words = [
        *"のはに、。กข가는한 ab.\n\0\ud800",
        " c",
        " d ",
        "e\u0301",
        "é",
        "\u1100",
        "\u1161",
        "น้ำ",
        "犬が",
    ]
    texts = ["".join(draw.choices(words, k=draw.randrange(9))) for _ in range(300)]
    texts += [text[::-1] for text in texts[::3]] + ["のは" * (LONGEST_PIECE // 2 + 1)] * 2
    pool = NoveltyPool(language, nearest=search)
    verdicts, at = [], 0
    while at < len(texts):
        some = texts[at : at + draw.choice([0, 1, 2, 40])]
        verdicts += pool.offer_packed(*packed_for_travel(some, language, tokenize))
        at += len(some)
    assert verdicts == NoveltyPool(language, nearest=NumpyNearest).offer_many(texts)
    assert verdicts[-1].score == 1.0


@pytest.mark.parametrize("language", ["es", "hi", "pt-BR"])
def test_texts_travel_uncut_where_a_cutter_is_compiled(language: str) -> None:
    assert travels_uncut(language)
    assert CompiledVocabulary.cutter(tokenizer_name(language)) is not None


@pytest.mark.parametrize("language", ["ja", "ko", "th", "zh"])
def test_texts_that_take_long_to_cut_travel_as_tokens(language: str) -> None:
    assert not travels_uncut(language)


def test_a_vocabulary_grows_to_any_number_of_tokens_of_any_length() -> None:
    words = [f"w{number}" for number in range(30_000)]
    words += ["".join(words[:length]) for length in (2000, 20_000)]
    vocabulary = CompiledVocabulary()
    for of in (words, words[::-1]):
        numbers = vocabulary.numbers_of([vocabulary.packed([of], len(of))], len(of)).tolist()
        assert [words[number] for number in numbers] == of


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("length", [63, 64, 65, 128, 1000])
def test_long_texts_are_compared_beyond_one_word_of_bits(
    search: type[Nearest], length: int
) -> None:
    draw = random.Random(length)
    words = draw.choices([f"w{number}" for number in range(50)], k=length)
    changed = [word if draw.random() < 0.8 else "x" for word in words]
    texts = [
        " ".join(words),
        " ".join(changed),
        " ".join(sorted(words)),
        " ".join(words[: length // 2]),
    ]
    assert NoveltyPool("es", nearest=search).offer_many(texts) == verdicts_of_rouge_score(texts)


@pytest.mark.parametrize("search", SEARCHES)
def test_long_texts_may_differ_in_more_tokens_than_a_sketch_has_bits(search: type[Nearest]) -> None:
    """180 words in common of 250 each; those that are not are rarer than all others."""
    shared = [f"s{number}" for number in range(180)]
    texts = [" ".join(shared[::-1])]
    for name in "ab":
        others = [f"{name}{number}" for number in range(70)]
        texts.append(" ".join([*shared[:90], *others, *shared[90:]]))
    verdicts = NoveltyPool("es", nearest=search).offer_many(texts)
    assert verdicts == verdicts_of_rouge_score(texts)
    assert verdicts[2] == Verdict(kept=False, nearest=1, score=f_measure(180, 250, 250))


@pytest.mark.parametrize("search", SEARCHES)
def test_a_text_of_a_hundred_thousand_words_is_compared(search: type[Nearest]) -> None:
    text = " ".join(f"w{number % 30_000}" for number in range(100_000))
    pool = NoveltyPool("es", nearest=search)
    assert pool.offer(text).kept
    assert pool.offer(text) == Verdict(kept=False, nearest=0, score=1.0)


@pytest.mark.parametrize("search", SEARCHES)
def test_texts_without_a_token_resemble_nothing(search: type[Nearest]) -> None:
    pool = NoveltyPool("es", nearest=search)
    texts = ["", " ", "hola", "\n", "hola"]
    assert [verdict.kept for verdict in pool.offer_many(texts)] == [True, True, True, True, False]
    assert pool.offer_many([]) == []
    assert pool.offer("hola") == Verdict(kept=False, nearest=2, score=1.0)


def test_the_nearest_is_the_first_of_the_highest() -> None:
    pool = NoveltyPool(language="es", threshold=0.7)
    texts = ["a b c d e f g x y z", "a b c d e f g u v w", "a b c d e f g h u i"]
    assert [pool.offer(text).kept for text in texts] == [True, False, False]
    pool = NoveltyPool(language="es", threshold=0.9)
    assert all(pool.offer(text).kept for text in texts)
    # 8 of 10 in common with both, then 10 of 10
    assert pool.offer(texts[2]) == Verdict(kept=False, nearest=2, score=1.0)
    assert NoveltyPool("es", 0.5).offer("").nearest is None


def test_equal_letters_in_other_normal_forms_are_duplicates() -> None:
    pool = NoveltyPool("vi")
    assert pool.offer("Vi\u1ebft m\u1ed9t c\u00e2u th\u01a1").kept
    assert pool.offer("Vie\u0302\u0301t mo\u0323\u0302t ca\u0302u tho\u031b").score == 1.0


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, float("nan")])
def test_a_threshold_outside_zero_to_one_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        NoveltyPool("es", threshold)


def test_a_language_that_is_no_code_is_refused() -> None:
    with pytest.raises(ValueError, match="no language code"):
        NoveltyPool("Spanish!")


def test_a_pool_is_rebuilt_from_what_it_kept() -> None:
    texts = near_duplicates(2000, seed=5)
    pool = NoveltyPool("es")
    kept = [
        text for text, verdict in zip(texts, pool.offer_many(texts), strict=True) if verdict.kept
    ]
    rebuilt = NoveltyPool("es")
    assert all(verdict.kept for verdict in rebuilt.offer_many(iter(kept)))
    more = near_duplicates(500, seed=6)
    assert rebuilt.offer_many(more) == pool.offer_many(more)


def test_the_search_compiles_where_no_cache_can_be_written(tmp_path: Path) -> None:
    """Folders that are files stand for a read-only file system, which even root cannot write."""
    blocked = tmp_path / "file"
    blocked.touch()
    code = (
        "import numba.core.caching as caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "from selfinstruct.novelty.compiling import popcount, compiled\n"
        "import numpy as np\n"
        "print(compiled(lambda word: popcount(word))(np.uint64(255)))\n"
    )
    environment = {**os.environ, "HOME": str(blocked), "NUMBA_CACHE_DIR": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.stdout, done.returncode) == ("8\n", 0), done.stderr


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="third-party files are not beside the repository")
def test_published_spanish_instructions_are_all_new() -> None:
    lines = (SHARED / "multialpaca_es.jsonl").read_text(encoding="utf-8").splitlines()
    pool = NoveltyPool("es")
    assert all(
        verdict.kept
        for verdict in pool.offer_many(json.loads(line)["instruction"] for line in lines)
    )
    assert len(pool) == 9958


def test_turns_are_short_while_any_thread_asks_for_it() -> None:
    before = sys.getswitchinterval()
    with SHORT_TURNS:
        short = sys.getswitchinterval()
        with SHORT_TURNS:
            assert sys.getswitchinterval() == short < before
        assert sys.getswitchinterval() == short
    assert sys.getswitchinterval() == before
