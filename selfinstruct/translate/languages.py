"""The table of languages that seeds can be translated into; a new one is an entry in `languages.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from xtune.errors import XtuneError

_TABLE = Path(__file__).with_name("languages.yaml")


@dataclass(frozen=True, kw_only=True)
class Language:
    """What a translator, and who checks the translation, must know of a language."""

    code: str
    """BCP-47."""

    english: str
    native: str
    scripts: frozenset[str]
    """Unicode's names: `Latin`, `Han`."""

    register: str
    """How readers are addressed."""

    shortest: float
    longest: float
    """Characters of a translation for one of the English text."""

    digits: str = ""


def language_of(code: str) -> Language:
    """The entry of a language; `es-MX` has that of `es` where it has none of its own.

    Raises:
        XtuneError: The table has no such language.
    """
    table = _languages()
    found = table.get(code) or table.get(code.partition("-")[0].lower())
    if found is None:
        raise XtuneError(
            f"There is no language `{code}` to translate into; there are: {', '.join(table)}.",
            advice=f"{_meant(code)}Another one is an entry in {_TABLE}.",
        )
    return found


_COUNTRIES = {
    "br": "pt-BR", "cn": "zh", "cz": "cs", "dk": "da", "gr": "el", "ir": "fa", "jp": "ja", "kh": "km",
    "kr": "ko", "kz": "kk", "mm": "my", "no": "nb", "rs": "sr", "se": "sv", "tw": "zh-Hant", "ua": "uk", "vn": "vi",
}  # fmt: skip
"""Countries (ISO 3166-1) whose codes are taken for languages', which are others (ISO 639-1)."""


def _meant(code: str) -> str:
    known = _COUNTRIES.get(code.lower())
    return f"Did you mean `{known}`? " if known else ""


@cache
def _languages() -> Mapping[str, Language]:
    entries = yaml.safe_load(_TABLE.read_text(encoding="utf-8"))
    return {code: _language(code, entry) for code, entry in entries.items()}


def _language(code: str, entry: Mapping[str, Any]) -> Language:
    scripts = entry["script"]
    return Language(
        code=code,
        english=entry["english"],
        native=entry["native"],
        scripts=frozenset([scripts] if isinstance(scripts, str) else scripts),
        register=entry["register"],
        shortest=entry["length"][0],
        longest=entry["length"][1],
        digits=entry.get("digits", ""),
    )
