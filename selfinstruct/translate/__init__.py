"""Takes the English seeds into other languages through an LLM: checked, resumable, never over a hand-edited task."""

from selfinstruct.translate.languages import Language, language_of
from selfinstruct.translate.translate import (
    GIVE_UP_AFTER,
    LanguageReport,
    TranslationReport,
    translate,
)

__all__ = [
    "GIVE_UP_AFTER",
    "Language",
    "LanguageReport",
    "TranslationReport",
    "language_of",
    "translate",
]
