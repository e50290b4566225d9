"""Knows languages: how a text is cut into tokens, and how alike two texts are; it loads no model."""

from xtune.text.rouge import f_measure, rouge_l, rouge_l_of
from xtune.text.segment import segmenter_notice, tokenize, tokenizer, tokenizer_name

__all__ = [
    "f_measure",
    "rouge_l",
    "rouge_l_of",
    "segmenter_notice",
    "tokenize",
    "tokenizer",
    "tokenizer_name",
]
