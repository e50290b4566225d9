"""The forms of a text that rules share are what Python's own functions say, letter by letter."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.rules.forms import compatible, count_digits, letters_of

TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(st.sampled_from("aÑßẞİıſµÿŸªœж語ไทยำ한①½²Ⅳ٣๓３𝟛😀 1_-’“\u0301\ud800"), max_size=40),
)


@settings(max_examples=500, deadline=None)
@given(TEXTS)
def test_letters_are_those_of_isalpha_without_case(text):
    assert letters_of(text) == "".join(filter(str.isalpha, text.casefold()))


@settings(max_examples=500, deadline=None)
@given(TEXTS)
def test_digits_are_those_of_any_script(text):
    assert count_digits(text) == sum(map(str.isdecimal, text))


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_compatible_forms_are_those_of_unicode(text):
    assert compatible(text) == unicodedata.normalize("NFKC", text)


@pytest.mark.parametrize("digits", ["٠١٢", "۳۴", "߁", "१२", "๑๒", "០១", "꘠", "１２", "𝟘𝟙"])
def test_digits_of_scripts_far_apart_count(digits):
    assert count_digits(f"uno {digits} dos") == len(digits)
