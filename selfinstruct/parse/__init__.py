"""Reads tasks out of what an LLM answered, in any layout and script; it judges none of them."""

from selfinstruct.labels import Part, is_no_input, label_of
from selfinstruct.parse.reply import Parsed, parse_reply

__all__ = ["Parsed", "Part", "is_no_input", "label_of", "parse_reply"]
