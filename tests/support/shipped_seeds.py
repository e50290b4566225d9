"""The seeds that ship in other languages than English, by the number of their task."""

from functools import cache

from selfinstruct.seeds import read_seeds, shipped_languages
from selfinstruct.types import Seed, Task

LANGUAGES = [language for language in shipped_languages() if language != "en"]


@cache
def seeds(language: str) -> dict[str, Seed]:
    return {seed.id[-3:]: seed for seed in read_seeds(language)}


def task(language: str, number: str) -> Task:
    return seeds(language)[number].task
