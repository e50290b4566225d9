"""Words are numbered as a dictionary numbers what `str.split` finds."""

import random

import pytest

from xtune.text.word_table import WordTable

PLAIN = [*"abcßéñжя語 \n\t\u3000\u00a0\x85\u2028", "e\u0301", "x" * 15, "x" * 16, "x" * 17]
AWKWARD = ["\0", "\ud800", "\udc00", "😀"]


class Numbered:
    """A table, and the dictionary that it is to agree with."""

    def __init__(self, most_words: int) -> None:
        self.table = WordTable(most_words)
        self.numbers: dict[str, int] = {}

    def check(self, texts: list[str]) -> int:
        """Look the words of texts up, then add those that are new; returns how many were found."""
        words = [word for text in texts for word in text.split()]
        found = self.table.find(texts)
        assert found.lengths.tolist() == [len(text.split()) for text in texts]
        others = found.others.tolist()
        assert [words[place] for place in others] == list(found.strings)
        for place in set(range(len(words))).difference(others):
            assert self.numbers[words[place]] == found.numbers[place]
        new = [word for word in dict.fromkeys(found.strings) if word not in self.numbers]
        first = len(self.numbers)
        self.numbers.update((word, first + place) for place, word in enumerate(new))
        if new:
            self.table.add(new, first)
        return len(words) - len(others)


@pytest.mark.parametrize("parts", [PLAIN, PLAIN + AWKWARD])
def test_words_are_those_of_split_and_numbers_those_of_a_dictionary(parts: list[str]) -> None:
    draw, numbered = random.Random(len(parts)), Numbered(1 << 14)
    for _ in range(1000):
        numbered.check(
            ["".join(draw.choices(parts, k=draw.randrange(30))) for _ in range(draw.randint(1, 6))]
        )


def test_words_that_were_added_are_found_again_but_for_the_few_that_share_a_place() -> None:
    numbered = Numbered(1 << 14)
    texts = [" ".join(f"{number}w{number}" for number in range(at, at + 500)) for at in range(0, 16_000, 500)]  # fmt: skip
    assert numbered.check(texts) == 0
    assert numbered.check(texts) > 0.9 * 16_000


def test_a_word_is_not_taken_for_one_that_begins_with_it() -> None:
    numbered = Numbered(100)
    words = ["x" * size for size in range(1, 20)] + ["x" * size + "y" for size in range(20)]
    numbered.check([" ".join(words)])
    numbered.check(words)
    numbered.check(["x\0", "x" * 16 + "\0", "xx\0 x"])


def test_no_words_are_found_in_texts_without_any() -> None:
    found = WordTable(10).find(["", " \n", ""])
    assert found.numbers.tolist() == found.others.tolist() == []
    assert found.lengths.tolist() == [0, 0, 0]
