"""Seed tasks: reading the files that ship or that a person wrote, and checking them; nothing is generated here."""

from selfinstruct.seeds.check import Report, check_file
from selfinstruct.seeds.read import (
    read_seeds,
    seed_file,
    seed_row,
    shipped_languages,
    shipped_seeds,
)

__all__ = [
    "Report",
    "check_file",
    "read_seeds",
    "seed_file",
    "seed_row",
    "shipped_languages",
    "shipped_seeds",
]
