"""The seeds that ship in other languages: complete, in order, in their language and script, and nothing else in them.

Expected values come from the English set and from tables written by hand in this file; what the tasks ask for and
the answers say is in `test_shipped_answers.py`.
"""

import itertools
import re
import unicodedata
from functools import partial
from pathlib import Path

import pytest
from shipped_seeds import LANGUAGES, seeds

from selfinstruct.generate.draw import Drawer
from selfinstruct.generate.settings import GenerateSettings
from selfinstruct.llm.settings import LLMSettings
from selfinstruct.parse import parse_reply
from selfinstruct.prompts import render
from selfinstruct.rules import Rules
from selfinstruct.seeds import check_file, read_seeds, shipped_seeds
from selfinstruct.translate.checks import reasons_against
from selfinstruct.translate.languages import language_of
from selfinstruct.types import Seed
from xtune.text import detect_language, letters_by_script, rouge_l_of, tokenizer

ENGLISH = {seed.id[-3:]: seed for seed in read_seeds("en") if seed.translate != "no"}
FOLDER = Path(str(shipped_seeds("en"))).parent
SCRIPTS = {
    "ar": {"Arabic"},
    "ja": {"Han", "Hiragana", "Katakana"},
    "ko": {"Hangul"},
    "ru": {"Cyrillic"},
    "th": {"Thai"},
}
"""Languages that are not written in Latin letters."""

FIELDS = ("instruction", "input", "output")

pytestmark = pytest.mark.parametrize("language", LANGUAGES)


def written(seed: Seed) -> dict[str, str]:
    """The fields that were written anew, which a kept one was not."""
    return {name: getattr(seed.task, name) for name in FIELDS if name not in seed.keep}


# --- the set -------------------------------------------------------------------------------------


def test_the_162_tasks_are_those_of_the_english_set_in_its_order(language: str) -> None:
    fixed = [
        (seed.id, seed.category, seed.translate, seed.keep, seed.why)
        for seed in seeds(language).values()
    ]
    assert fixed == [
        (seed.id, seed.category, seed.translate, seed.keep, seed.why) for seed in ENGLISH.values()
    ]
    assert len(fixed) == 162


def test_what_machine_translation_must_pass_is_passed(language: str) -> None:
    against = {
        number: reasons_against(
            ENGLISH[number],
            {name: getattr(seed.task, name) for name in FIELDS},
            language_of(language),
        )
        for number, seed in seeds(language).items()
    }
    assert {number: reasons for number, reasons in against.items() if reasons} == {}


def test_the_file_is_one_that_a_run_uses_as_it_is(language: str) -> None:
    report = check_file(FOLDER / f"{language}.jsonl")
    assert (report.problems, report.notes) == ((), ())


def test_no_two_instructions_are_alike(language: str) -> None:
    cut = tokenizer(language)
    tokens = {number: cut(seed.task.instruction) for number, seed in seeds(language).items()}
    alike = {
        (a, b): score
        for a, b in itertools.combinations(tokens, 2)
        if (score := rouge_l_of(tokens[a], tokens[b])) >= 0.7
    }
    assert alike == {}


def test_no_seed_would_be_dropped_by_the_rules_that_generated_tasks_must_pass(
    language: str,
) -> None:
    rules = Rules(language)
    judged = {number: rules.judge(seed.task) for number, seed in seeds(language).items()}
    assert {number: one.dropped for number, one in judged.items() if one.dropped} == {}
    assert {number: one.changes for number, one in judged.items() if one.changes} == {}


@pytest.mark.parametrize("native", [False, True])
def test_a_seed_shown_in_a_prompt_is_read_back_as_it_is(language: str, native: bool) -> None:
    for seed in seeds(language).values():
        prompt = render([seed.task], language, native=native)
        (read,) = parse_reply("1. " + prompt.split("\n\n1. ")[-1]).tasks[:1]
        assert read == seed.task, seed.id


LETTERS = "A B C D E a b c d e g ml x"
"""Option letters, units and the unknown of an equation, which may stand in any task."""

TERMS = {
    "024": "YYYY MM DD",
    "025": "JSON name city occupation",
    "074": "Python",
    "075": "Python",
    "077": "SQL customers id name city Lima",
    "079": "txt",
    "081": "HTML",
    "082": "True False",
    "083": "JSON id price",
    "111": "CSV",
    "149": "H O Fe Au",
    "175": "young salesman native speaker",
}
"""By task, the words in Latin letters that it cannot do without in another script: chemical symbols, terms of computing,
and what must be named as a kept field writes it."""

ENGLISH_WORDS = frozenset(
    re.findall(
        r"\w+",
        "the of and is that it with be at by this had not are but from have they which one you were her all she there would "
        "their we him been has when who more out what its about into than them can only other new some could time these two "
        "then first any now like our over even most made after did many before must through where much your should how give "
        "write each answer task tasks sentence",
    )
)
"""Common English words that are no words of de, es, fr, id, pt or vi; a `list` of Python is one in some of them."""

JSON_SHAPE = '{"tasks": [{"instruction": ..., "input": ..., "output": ...}, ...]}'


def drawn_prompts(language: str, *, native: bool, json: bool) -> list[str]:
    """Prompts as a run makes them, two seeds and a generated task in each; every fourth task serves as a generated one."""
    all_seeds = list(seeds(language).values())
    pool = [seed.task for seed in all_seeds[::4]]
    drawer = Drawer(
        language=language,
        seeds=[seed for at, seed in enumerate(all_seeds) if at % 4],
        render=partial(render, language=language, native=native),
        settings=GenerateSettings(native=native),
        llm=LLMSettings(model="none", context_tokens=8192),
        json=json,
    )
    requests = [drawer.request(2, index, len(pool), pool.__getitem__) for index in range(40)]
    prompts = [request.messages[0]["content"] for request in requests]
    # three were shown, so the fourth is asked for
    assert json or all(prompt.splitlines()[-1].startswith("4. ") for prompt in prompts)
    return prompts


def foreign_words(text: str, language: str, terms: str) -> set[str]:
    """What is English in a text, but for terms and the fields that are kept as they are."""
    for seed in seeds(language).values():
        for name in seed.keep:
            kept = getattr(seed.task, name)
            text = text.replace(kept, "") if len(kept) > 1 else text
    if language in SCRIPTS:
        return set(re.findall(r"[A-Za-z]+", text)) - set(f"{LETTERS} {terms}".split())
    return set(re.findall(r"[^\W\d_]+", text.casefold())) & ENGLISH_WORDS


@pytest.mark.parametrize("json", [False, True])
def test_a_native_prompt_of_the_seeds_holds_the_language_and_nothing_else(
    language: str, json: bool
) -> None:
    terms = " ".join(TERMS.values())
    for prompt in drawn_prompts(language, native=True, json=json):
        assert detect_language(prompt) == language
        assert foreign_words(prompt.replace(JSON_SHAPE, ""), language, terms) == set(), prompt


def test_the_tasks_in_an_english_prompt_hold_the_language_and_nothing_else(language: str) -> None:
    terms = " ".join(TERMS.values())
    for prompt in drawn_prompts(language, native=False, json=False):
        rules, _, shown = prompt.partition("\n\nTasks 1 to 20:\n\n")
        assert rules.startswith("You write tasks")
        shown = re.sub(r"^\d\. (Instruction|Input|Output):", "", shown, flags=re.MULTILINE)
        shown = shown.replace("<noinput>", "")
        assert detect_language(shown) == language, shown
        assert foreign_words(shown, language, terms) == set(), shown


# --- the language --------------------------------------------------------------------------------


def test_the_language_is_the_one_that_the_file_is_named_for(language: str) -> None:
    text = "\n".join(seed.task.instruction for seed in seeds(language).values())
    assert detect_language(text) == language
    for seed in seeds(language).values():
        counts = letters_by_script(" ".join(written(seed).values()))
        own = sum(counts[name] for name in SCRIPTS.get(language, {"Latin"}))
        assert own >= 0.6 * counts.total(), seed.id


def test_no_english_is_left(language: str) -> None:
    left = {
        number: words
        for number, seed in seeds(language).items()
        if (
            words := foreign_words(
                " ".join(written(seed).values()), language, TERMS.get(number, "")
            )
        )
    }
    assert left == {}


def test_texts_are_in_nfc_and_without_stray_spaces_and_signs(language: str) -> None:
    for seed in seeds(language).values():
        for text in written(seed).values():
            assert unicodedata.is_normalized("NFC", text), seed.id
            assert text == text.strip(), seed.id
            assert not re.search(r"[^\S\n]\n|[^\S\n]{2}|\n{3}|\t|\r", text), seed.id
            strange = {
                char
                for char in text
                if unicodedata.category(char) in {"Cc", "Cf", "Co", "Cs", "Cn"} and char != "\n"
            }
            assert strange == set(), seed.id
            for opening, closing in ("()", "（）", "[]", "「」", "『』", "«»"):
                assert text.count(opening) <= text.count(closing), seed.id


def test_korean_particles_agree_with_the_syllable_before(language: str) -> None:
    if language != "ko":
        pytest.skip("no particles that follow the sound of the word")
    wrong = [
        word
        for number, seed in seeds(language).items()
        if number != "016"  # a task to be corrected
        for word in re.findall(r"[가-힣]{2,}[을를과와]\b", " ".join(written(seed).values()))
        # composed syllables: 28 for each pair of consonant and vowel, the first of them open
        if ((ord(word[-2]) - 0xAC00) % 28 > 0) != (word[-1] in "을과")
    ]
    assert wrong == []
