"""Finds the tokens of a span of characters and its end-of-turn token; it knows no messages.

Trained on are the tokens that overlap the characters a message's author wrote (see `spans`) and the
end-of-turn token behind them: white space up to and including the next special token, without which a
model never learns to stop. A token that straddles the border counts as the message's if any of its
characters is, since the model has to produce it; a special token of the template that swallowed white
space of the content does not.
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


def tokens_of(
    span: Span,
    covered: tuple[Characters, Characters],
    special: Flags,
    text: str,
) -> tuple[int, int, bool]:
    """First and behind-last token of a span with its end of turn, and whether it has one."""
    starts, ends = covered
    inside = np.flatnonzero(
        (starts < span.end) & (ends > span.start) & ~(special & (starts < span.start))
    )
    if len(inside):
        first, stop = int(inside[0]), int(inside[-1]) + 1
        if span.stated and _ends_itself((starts, ends), special, text, stop):
            return first, stop, True
    else:
        first = stop = int(np.searchsorted(starts, span.start))
    behind = stop
    while behind < len(starts):
        if special[behind]:
            return first, behind + 1, True
        if text[starts[behind] : ends[behind]].strip():
            break
        behind += 1
    return first, stop, False


def _ends_itself(
    covered: tuple[Characters, Characters],
    special: Flags,
    text: str,
    stop: int,
) -> bool:
    """Whether the last token before `stop` that is no white space is a special one."""
    starts, ends = covered
    last = stop - 1
    while last > 0 and not special[last] and not text[starts[last] : ends[last]].strip():
        last -= 1
    return bool(special[last])
