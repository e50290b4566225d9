"""Knows languages: how a text is cut into tokens, and how alike two texts are, and in which language and script one is."""

from xtune.text.language import detect_language, is_surely_another, language_fits
from xtune.text.language_batch import may_be_another
from xtune.text.rouge import f_measure, rouge_l, rouge_l_above, rouge_l_of
from xtune.text.scripts import letters_by_script, scripts_of, scripts_of_language
from xtune.text.segment import segmenter_notice, tokenize, tokenizer, tokenizer_name

__all__ = [
    "detect_language",
    "f_measure",
    "is_surely_another",
    "language_fits",
    "letters_by_script",
    "may_be_another",
    "rouge_l",
    "rouge_l_above",
    "rouge_l_of",
    "scripts_of",
    "scripts_of_language",
    "segmenter_notice",
    "tokenize",
    "tokenizer",
    "tokenizer_name",
]
