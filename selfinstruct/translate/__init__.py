"""Takes the English seeds into other languages through an LLM: checked, resumable, never over a hand-edited task."""

from selfinstruct.translate.languages import Language, language_of
from selfinstruct.translate.translate import LanguageReport, TranslationReport, translate

__all__ = ["Language", "LanguageReport", "TranslationReport", "language_of", "translate"]
