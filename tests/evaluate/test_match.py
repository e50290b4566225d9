"""Exact match and JSON match, against hand-made pairs and a binomial brute force."""

import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtune.evaluate.match import Share, final_answer, is_exact, is_same_json, parse_json, share


@pytest.mark.parametrize(
    ("answer", "expected", "same"),
    [
        ("Paris", "Paris", True),
        ("  Paris\n", "Paris", True),
        ("paris", "Paris", False),
        ("Paris.", "Paris", False),
        ("Vie\u0302\u0323t", "Vi\u1ec7t", True),  # decomposed and composed Vietnamese
        ("\uff21", "A", False),  # full width is another text: NFC, not NFKC
        ("", "", True),
    ],
)
def test_exact_match_ignores_outer_space_and_unicode_composition_alone(
    answer: str, expected: str, same: bool
) -> None:
    assert is_exact(answer, expected) is same


@pytest.mark.parametrize(
    ("answer", "expected", "same"),
    [
        ('{"a":1,"b":[2]}', '{ "b": [2], "a": 1 }', True),
        ('{"a":1}', '{"a":1.0}', True),
        ('{"a":1}', '{"a":true}', False),
        ("[1,2]", "[2,1]", False),
        ('{"a":NaN}', '{"a":NaN}', False),
        ('{"a":1} and more', '{"a":1}', False),
        ("", '{"a":1}', False),
        ("[" * 100_000, "[]", False),
    ],
)
def test_json_match_compares_meaning(answer: str, expected: str, same: bool) -> None:
    assert is_same_json(answer, expected) is same


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON_VALUES))
def test_a_rewritten_object_is_the_same_json(value: dict[str, object]) -> None:
    rewritten = json.dumps(dict(reversed(value.items())), indent=3, ensure_ascii=False)
    assert is_same_json(rewritten, json.dumps(value, ensure_ascii=False))


def test_a_bare_number_or_word_is_not_an_answer_in_json() -> None:
    assert parse_json("42") is None
    assert parse_json('"word"') is None
    assert parse_json("[]") == []


def test_reasoning_before_an_answer_is_left_out_unless_it_is_expected() -> None:
    assert final_answer("<think>\n\n</think>\n\nParis", expected="Paris").strip() == "Paris"
    assert final_answer("Paris", expected="Paris") == "Paris"
    with_thought = "<think>France.</think>Paris"
    assert final_answer(with_thought, expected=with_thought) == with_thought


def test_the_standard_error_is_the_spread_of_all_samples_with_that_share() -> None:
    # the standard deviation of the mean of n draws with p = 1/4, by enumerating all 4^5 samples
    n = 5
    means = [sum(draw) / n for draw in itertools.product([1, 0, 0, 0], repeat=n)]
    mean = sum(means) / len(means)
    spread = math.sqrt(sum((value - mean) ** 2 for value in means) / len(means))
    assert Share(right=50, rows=200).value == pytest.approx(mean)
    assert Share(right=50, rows=200).standard_error * math.sqrt(200 / n) == pytest.approx(spread)


def test_a_share_of_no_rows_is_none() -> None:
    assert share([]) is None
    assert str(share([True, False, True, True])) == "75.0% ± 21.7%"
