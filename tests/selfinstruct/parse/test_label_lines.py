"""Which lines of a reply have the form of a label: the first word that rules most lines out rules out no label."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfinstruct.labels import label_of, languages, words_for
from selfinstruct.parse.label_lines import labels_of, value_of

PARTS = ("instruction", "input", "output")
WORDS = [
    (language, part, word)
    for language in languages()
    for part in PARTS
    for word in words_for(part, language)
]
FORMS = ["4. {}: x", "**{}:** x", "### {}", "【{}】", "- {}: x", "Task 4. {}: x", "> 4) {} : x", "★ {}: x",
         "④ {}：x", "№4 {}: x", "งาน 4 {}: x"]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_word_for_a_part_is_found_in_every_form(form):
    missing = [
        word
        for language, part, word in WORDS
        for written in (word, word.upper(), word.capitalize())
        if label_of(written, language) == part
        and [label.part for label in labels_of([form.format(written)], language)] != [part]
    ]
    assert missing == []


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(WORDS),
    st.sampled_from(["", "\u200f", "\ufeff", "⭐\ufe0f ", "• ", "1️⃣ ", "(4) ", "Tarea 4: ", "TÂCHE 4 "]),
    st.booleans(),
)  # fmt: skip
def test_a_space_in_a_word_changes_no_label(word, before, spaced):
    language, part, text = word
    if spaced and len(text) > 3 and " " not in text:
        text = f"{text[:2]} {text[2:]}"
    if label_of(text, language) != part:
        return
    found = [label.part for label in labels_of([f"{before}{text}: x"], language)]
    plain = [label.part for label in labels_of([f"{before}{words_for(part, language)[0]}: x"], language)]  # fmt: skip
    assert found == plain


@pytest.mark.parametrize(
    "line", ["2020.", "- pan", "Nota: x", "4.", "", "x = 3: y", "¿Qué: x", "4. Sing: x"]
)
def test_lines_of_text_are_no_labels(line):
    assert labels_of([line], None) == []


@pytest.mark.parametrize(
    ("digits", "value"),
    [("17", 17), ("０４", 4), ("١٢", 12), ("๒๐", 20), ("1٢", 12), ("⑳", 20)],
)
def test_the_number_of_digits_in_any_script(digits, value):
    assert value_of(digits) == value


def test_digits_younger_than_pythons_unicode_number_a_label():
    # Kawi's are of Unicode 15, Python 3.11 has 14
    (label,) = labels_of(["\U00011f54. Instruction: x"], None)
    assert label.number in (0, 4)


def test_no_word_names_two_parts():
    # a word that is a label in a language is one of the same part where no language is named
    assert [word for language, part, word in WORDS if label_of(word) != part] == []
