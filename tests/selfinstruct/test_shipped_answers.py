"""The answers of the seeds that ship in other languages: right, and as long as was asked for, where it can be computed.

Expected values come from arithmetic, and from tables written by hand in this file.
"""

import itertools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import TypeAlias

import pytest
from shipped_seeds import LANGUAGES, task

pytestmark = pytest.mark.parametrize("language", LANGUAGES)


def digits(text: str) -> list[str]:
    """The numbers of a text, without marks inside them: `52.000`, `52,000` and `52 000` are `52000`."""
    plain = unicodedata.normalize("NFKC", text)
    found = re.findall(r"\d+(?:[.,]\d+| (?=\d{3}(?!\d))\d{3})*", plain)
    return [re.sub(r"\D", "", number) for number in found]


def cells(table: str) -> list[list[str]]:
    """The rows of a table below its head."""
    rows = [line.strip().strip("|").split("|") for line in table.splitlines() if "|" in line]
    return [[cell.strip() for cell in row] for row in rows][2:]


def parts(text: str) -> list[str]:
    """The entries of a list that is written in a line."""
    return [part.strip().casefold() for part in re.split(r"[,،、，;؛\n]", text) if part.strip()]


# --- what was asked for in numbers ---------------------------------------------------------------

Count: TypeAlias = Callable[[str], int]


def spaced_words(text: str) -> int:
    return sum(any(map(str.isalnum, word)) for word in text.split())


def thai_words(text: str) -> int:
    newmm = pytest.importorskip("newmm_tokenizer.tokenizer")
    return sum(any(map(str.isalnum, word)) for word in newmm.word_tokenize(text))


def characters(text: str) -> int:
    return sum(not char.isspace() for char in text)


COUNTS: dict[str, Count] = {"ja": characters, "th": thai_words}
"""What a limit of length counts where it is not words between spaces: the Japanese limits are of characters."""


@pytest.mark.parametrize(
    ("number", "least", "most"),
    [("004", 1, 50), ("008", 54, 66), ("012", 1, 100), ("015", 1, 10), ("115", 54, 66), ("141", 1, 5)],
)  # fmt: skip
def test_answers_keep_to_the_length_asked_for(
    language: str, number: str, least: int, most: int
) -> None:
    count = COUNTS.get(language, spaced_words)(task(language, number).output)
    assert least <= count <= most


SENTENCE = re.compile(r"[.!?。！？؟]+[\"”»」)]*(?=\s|$|[^\s\d])")


@pytest.mark.parametrize(
    ("number", "least", "most"),
    [("002", 2, 2), ("009", 3, 3), ("011", 2, 3), ("018", 1, 1), ("082", 2, 2), ("084", 2, 3), ("102", 2, 2),
     ("103", 1, 1), ("108", 2, 2), ("114", 2, 2), ("125", 1, 3), ("139", 1, 1), ("143", 3, 3)],
)  # fmt: skip
def test_answers_have_the_number_of_sentences_asked_for(
    language: str, number: str, least: int, most: int
) -> None:
    if language == "th":
        pytest.skip("no mark ends a sentence")
    text = re.sub(r"(?<=\d)\.(?=\d)", "", task(language, number).output)
    assert least <= len(SENTENCE.findall(text)) <= most


@pytest.mark.parametrize(
    ("number", "entries"),
    [("010", 3), ("022", 2), ("036", 3), ("094", 5), ("101", 5), ("118", 3), ("120", 5), ("123", 4), ("129", 6),
     ("133", 5), ("135", 6), ("137", 6), ("145", 3), ("155", 3)],
)  # fmt: skip
def test_numbered_lists_have_the_entries_asked_for(
    language: str, number: str, entries: int
) -> None:
    lines = task(language, number).output.splitlines()
    assert [line.split(".")[0] for line in lines] == [str(at) for at in range(1, entries + 1)]


def test_lines_and_rows_are_as_many_as_asked_for(language: str) -> None:
    assert len(task(language, "005").output.splitlines()) == 4
    assert len(task(language, "030").output.splitlines()) == 3
    assert len(task(language, "034").output.splitlines()) == 3
    assert len(task(language, "100").output.splitlines()) <= 8
    assert len(cells(task(language, "106").output)) == 3
    assert len(task(language, "154").output.splitlines()) == 4


# --- what can be computed ------------------------------------------------------------------------

EQUATION = re.compile(r"(?:[\d(][\d.()+\-*/ ]*=\s*)+[\d./]*\d")
"""One printed equation or a chain of them, when signs are plain and `3x` is gone."""


def equations(text: str) -> list[list[Fraction]]:
    """The values on the sides of each equation in a text, computed exactly; only digits and signs are evaluated."""
    plain = unicodedata.normalize("NFKC", text).translate(str.maketrans("−×÷", "-*/"))
    plain = re.sub(r"(?<=[\d)]) : (?=\d)", " / ", plain)  # a division sign in schools
    plain = re.sub(r"\d?x\b|\d?x(?=[^a-z])", "", plain)
    found = []
    for chain in EQUATION.findall(plain):
        sides = [side.strip() for side in chain.split("=") if side.strip()]
        exact = [re.sub(r"\d+(?:\.\d+)?", r"Fraction('\g<0>')", side) for side in sides]
        found.append([eval(side, {"Fraction": Fraction}) for side in exact])
    return found


@pytest.mark.parametrize(
    ("number", "results"),
    [
        ("063", {15 * 24, 90 * 3, 15 * 24 - 90 * 3}),
        ("064", {80 - 80 * 15 // 100}),
        ("065", {(14 + 17 + 11 + 18) // 4}),
        ("067", {54 + 6, (54 + 6) // 4}),
        ("069", {31 - 7, 3 * 8 + 7}),
        ("070", {2 * (12 + 8), 12 * 8}),
        ("072", {Fraction(5, 3 + 5 + 2)}),
        ("105", {80 + 140}),
    ],
)
def test_printed_calculations_are_right(
    language: str, number: str, results: set[int | Fraction]
) -> None:
    found = equations(task(language, number).output)
    assert all(len(set(sides)) == 1 for sides in found)
    assert {sides[-1] for sides in found} == results


def test_sums_and_shares_are_right(language: str) -> None:
    *prices, total = map(int, digits(task(language, "032").output))
    assert prices == [6, 4, 3]
    assert total == sum(prices)
    assert str(80 * 15 // 100) in digits(task(language, "064").output)
    amounts = [str(int(number) * 6 // 4) for number in digits(task(language, "066").input)]
    assert digits(task(language, "066").output) == amounts
    assert str((31 - 7) // 3) in digits(task(language, "069").output)
    grams = {500: 7, 750: 9}
    a_kilo = [str(price * 1000 // weight) for weight, price in grams.items()]
    assert [number for number in digits(task(language, "071").output) if number in a_kilo] == a_kilo
    assert {"5", "10", "50"} <= set(digits(task(language, "072").output))
    prompted = set(digits(task(language, "059").output))
    assert {"100", "7", str(100 // 7), str(100 % 7)} <= prompted


def test_times_and_dates_are_right(language: str) -> None:
    assert task(language, "024").output.split() == ["2021-05-03", "2026-04-30", "2023-10-31"]
    left = (15 * 60 + 5) - (14 * 60 + 52)
    assert {str(left), str(left - 8)} <= set(digits(task(language, "062").output))
    hours, minutes = divmod((13 * 60 + 15) - (9 * 60 + 48), 60)
    assert digits(task(language, "068").output) == [str(hours), str(minutes)]
    opening = {"post": (930, 1200), "bakery": (700, 1000), "library": (1100, 2359)}
    start = [
        "".join(pair)
        for pair in re.findall(r"(\d{1,2})\s?[:.h]\s?(\d\d)", task(language, "095").output)
    ][:3]
    assert start == ["900", "930", "1100"]
    for name, at in zip(("bakery", "post", "library"), map(int, start), strict=True):
        assert opening[name][0] <= at < opening[name][1]


WEDNESDAY_AND_FRIDAY = {
    "ar": ("أربعاء", "جمعة"),
    "de": ("mittwoch", "freitag"),
    "es": ("miércoles", "viernes"),
    "fr": ("mercredi", "vendredi"),
    "id": ("rabu", "jumat"),
    "ja": ("水曜日", "金曜日"),
    "ko": ("수요일", "금요일"),
    "pt": ("quarta", "sexta"),
    "ru": ("сред", "пятниц"),
    "th": ("วันพุธ", "วันศุกร์"),
    "vi": ("thứ tư", "thứ sáu"),
}


def test_a_hundred_days_after_wednesday_it_is_friday(language: str) -> None:
    days = ["wednesday", "thursday", "friday", "saturday", "sunday", "monday", "tuesday"]
    assert days[100 % 7] == "friday"
    wednesday, friday = WEDNESDAY_AND_FRIDAY[language]
    assert wednesday in task(language, "059").instruction.casefold()
    answer = task(language, "059").output.casefold()
    assert 0 <= answer.find(friday) < answer.find(wednesday), "the answer comes first"


def test_orders_and_sequences_are_right(language: str) -> None:
    value = re.compile(r"\d+(?:/\d+|[.,]\d+)?")
    given = value.findall(task(language, "073").input)
    ordered = sorted(given, key=lambda text: Fraction(text.replace(",", ".")))
    assert value.findall(task(language, "073").output) == ordered
    sequence = list(map(int, digits(task(language, "054").input)))
    while len(sequence) < 7:
        sequence.append(2 * sequence[-1] + 1)
    assert set(map(str, sequence[-2:])) <= set(digits(task(language, "054").output))
    letters = re.findall(r"(?<![^\W\d_])[a-e](?![^\W\d_])", task(language, "053").output)
    assert letters == ["c", "e", "a", "d", "b"]


def test_one_order_of_the_four_friends_fits_the_clues(language: str) -> None:
    row = [name.strip(" .。") for name in re.split("[,،、]", task(language, "058").output)]
    clues = task(language, "058").input
    # the clues name them in this order: at the end, beside the first, not beside the second, the fourth
    first, second, third, fourth = sorted(row, key=lambda name: clues.index(name[:3]))
    fitting = [
        order
        for order in itertools.permutations((first, second, third, fourth))
        if order[0] == first
        and abs(order.index(first) - order.index(second)) == 1
        and abs(order.index(third) - order.index(second)) != 1
    ]
    assert fitting == [tuple(row)]


@pytest.mark.parametrize("number", ["035", "036", "038", "041", "042", "050"])
def test_a_class_is_one_of_those_that_the_task_names(language: str, number: str) -> None:
    asked = task(language, number).instruction.casefold()
    for line in task(language, number).output.casefold().splitlines():
        answer = re.sub(r"^(\d\.|[a-c]\)|ein|un|une|uma) ", "", line).strip(" .。")
        # endings and articles may differ from the question's
        stem = (
            answer[: 2 if language in {"ja", "ko"} else 5].removeprefix("die ").removeprefix("la ")
        )
        assert stem in asked, (line, asked)


def test_the_product_with_the_largest_sum_is_named_first(language: str) -> None:
    totals = {
        row[0].casefold(): int(row[1]) + int(row[2]) for row in cells(task(language, "105").input)
    }
    answer = task(language, "105").output.casefold()
    # as much of the name as is there, since endings change with the sentence
    places = {
        next(
            answer.find(name[:end]) for end in range(len(name), 0, -1) if name[:end] in answer
        ): total
        for name, total in totals.items()
    }
    assert len(places) == 3
    assert places[min(places)] == max(totals.values())


def test_tables_are_right(language: str) -> None:
    assert [row[1] for row in cells(task(language, "104").output)] == ["31", "28", "57"]
    totals = {row[0]: int(row[1]) + int(row[2]) for row in cells(task(language, "105").input)}
    answer = task(language, "105").output
    assert set(map(str, totals.values())) <= set(digits(answer))
    rows = cells(task(language, "107").input)
    assert cells(task(language, "107").output) == sorted(rows, key=lambda row: int(row[1]))
    assert cells(task(language, "109").output) == [[f"{n}", f"{2 * n}", f"{n * n}"] for n in (3, 5, 8)]  # fmt: skip
    week = [row[1].casefold() for row in cells(task(language, "110").output)]
    rest = Counter(week).most_common(1)[0][0]
    trained = [day for day, what in enumerate(week) if what != rest]
    assert len(week) == 7
    assert len(trained) == 3
    assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(trained))
    csv = [line.split(";") for line in task(language, "111").output.splitlines()]
    assert [row[:2] for row in csv[1:]] == [["1", "12"], ["2", "30"], ["3", "8"]]
    assert csv[1][2] == csv[3][2] != csv[2][2]
    assert {len(row) for row in csv} == {3}


def test_what_is_copied_from_the_text_stands_in_it(language: str) -> None:
    for number in ("028", "029", "033"):
        copied = task(language, number).output.rstrip(".").casefold()
        assert copied in task(language, number).input.casefold(), number
    assert json.loads(task(language, "025").output).keys() == {"name", "city", "occupation"}


@pytest.mark.parametrize(("number", "groups"), [("037", 3), ("051", 3)])
def test_every_word_is_in_one_group(language: str, number: str, groups: int) -> None:
    lines = task(language, number).output.splitlines()
    sorted_in = [word for line in lines for word in parts(re.split("[:：]", line, maxsplit=1)[1])]
    assert len(lines) == groups
    assert sorted(sorted_in) == sorted(parts(task(language, number).input.rstrip(".")))


# --- names in order ------------------------------------------------------------------------------

VIETNAMESE = "aăâbcdđeêghiklmnoôơpqrstuưvxy"


def plain(text: str) -> str:
    """Letters without marks, small; the alphabets of Western Europe, Arabic and Russian sort by them here."""
    return "".join(char for char in unicodedata.normalize("NFD", text.casefold()) if char.isalpha())


def by_surname(name: str) -> str:
    return plain(name.split()[-1])


def by_given_name(name: str) -> list[int]:
    """As Vietnamese lists are sorted; the five tone marks count for nothing, the letters' own marks do."""
    letters = re.sub("[\u0300\u0301\u0303\u0309\u0323]", "", unicodedata.normalize("NFD", name.split()[-1].lower()))  # fmt: skip
    return [VIETNAMESE.index(char) for char in unicodedata.normalize("NFC", letters)]


def by_reading(name: str) -> str:
    """The reading of the surname, which stands behind it in kana."""
    return "".join(re.findall(r"（([ぁ-ん]+)）", name)[:1])


def by_thai_surname(name: str) -> str:
    """A vowel that is written in front of its consonant sorts behind it."""
    return re.sub(r"([เแโใไ])(.)", r"\2\1", name.split()[-1])


ORDERS: dict[str, Callable[[str], object]] = {
    "ja": by_reading,
    "ko": lambda name: name,
    "th": by_thai_surname,
    "vi": by_given_name,
}


def test_names_are_in_the_order_of_the_languages_alphabet(language: str) -> None:
    names = [name.strip() for name in re.split("[,،、]", task(language, "153").input)]
    ordered = [name.strip() for name in re.split("[,،、]", task(language, "153").output)]
    order: Callable[[str], object] = ORDERS.get(language, by_surname)
    assert len(names) == 4
    assert names != ordered
    assert ordered == sorted(names, key=order)  # type: ignore[arg-type]


DATE_IN_WORDS = {
    "ar": ("التاسع والعشر", "ألفين وأربعة وعشرين"),
    "de": ("neunundzwanzigste", "zweitausendvierundzwanzig"),
    "es": ("veintinueve de febrero", "dos mil veinticuatro"),
    "fr": ("vingt-neuf février", "deux mille vingt-quatre"),
    "id": ("dua puluh sembilan", "dua ribu dua puluh empat"),
    "ja": ("二月二十九日", "二千二十四年"),
    "ko": ("이월 이십구 일", "이천이십사 년"),
    "pt": ("vinte e nove de fevereiro", "dois mil e vinte e quatro"),
    "ru": ("двадцать девятое февраля", "две тысячи двадцать четвёртого"),
    "th": ("ยี่สิบเก้า", "สองพันยี่สิบสี่"),
    "vi": ("hai mươi chín", "hai nghìn không trăm hai mươi tư"),
}


def test_the_date_is_in_words(language: str) -> None:
    text = task(language, "152").output.casefold()
    assert not digits(text)
    assert all(part in text for part in DATE_IN_WORDS[language])
