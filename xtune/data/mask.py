"""Finds the tokens of a span of characters; it knows no messages.

Trained on are the tokens that overlap the characters a message's author has to write (see `spans`), the
last of which is the end token, without which a model never learns to stop. A token that straddles the
border counts as the message's if any of its characters is, since the model has to produce it; a special
token of the template that swallowed white space of the content does not.
"""

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from xtune.data.spans import Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Characters: TypeAlias = npt.NDArray[np.int64]
"""(tokens,): a position in the text for each token."""

Flags: TypeAlias = npt.NDArray[np.bool_]


def membership(tokenizer: "PreTrainedTokenizerBase") -> Flags:
    """Whether each id is an added or special token, (vocabulary,)."""
    added = {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids}
    size = max([len(tokenizer), *(index + 1 for index in added)])
    member = np.zeros(size, np.bool_)
    member[sorted(added)] = True
    return member


def covered(edges: Characters) -> tuple[Characters, Characters]:
    """First and behind-last character of each token, without gaps: byte-level tokenizers report " word" as "word"."""
    ends = np.maximum.accumulate(edges[:, 1])
    starts = np.minimum(edges[:, 0], np.concatenate(([0], ends[:-1])))
    return starts, edges[:, 1]


def tokens_of(span: Span, covered: tuple[Characters, Characters], special: Flags) -> Flags:
    """Whether each token is the span's, (tokens,)."""
    starts, ends = covered
    chosen = np.zeros(len(starts), np.bool_)
    for start, end in span.parts():
        chosen |= (starts < end) & (ends > start) & ~(special & (starts < start))
    return chosen


def ends_in_token(span: Span, covered: tuple[Characters, Characters], special: Flags) -> bool:
    """Whether the end of a span is the end of a special token, as the tokenizer cut the text."""
    starts, ends = covered
    last = int(np.searchsorted(starts, span.end)) - 1
    return last >= 0 and bool(special[last]) and int(ends[last]) >= span.end


def joins_prompt(span: Span, covered: tuple[Characters, Characters], special: Flags) -> bool:
    """Whether the first token of a span also holds the end of what comes before it."""
    starts, ends = covered
    return bool(((starts < span.start) & (ends > span.start) & ~special).any())
