"""Many prompts answered to the end, as many at once as fit; a batch and its steps are `batcher`'s."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from xtune.errors import XtuneError
from xtune.generate.batcher import MAX_ROWS, Batcher, inner_model, positions_left
from xtune.generate.decoding import Decoding
from xtune.generate.mode import evaluating
from xtune.generate.row import Row
from xtune.kernels.no_room import telling_of_no_room


def make_row(
    model: Any, prompt: Sequence[int], decoding: Decoding, *, stop: Sequence[int], answer: int = 0
) -> Row:
    """A row for `answer_all`, whose answer stays within the model's positions.

    Args:
        model: What answers it.
        prompt: Token ids, ending where the answer begins.
        decoding: How to choose tokens.
        stop: Tokens that end the answer.
        answer: Which of the answers with one seed it is.

    Raises:
        XtuneError: The prompt is empty, or longer than the model can read.
    """
    if not prompt:
        raise XtuneError("A prompt has no tokens.", advice="Leave such rows out.")
    left = positions_left(inner_model(model), len(prompt))
    if left < 1:
        raise XtuneError(
            f"A prompt has {len(prompt):,} tokens, and the model has no positions for an answer behind it.",
            advice="Leave such rows out.",
        )
    if left < decoding.max_new_tokens:
        decoding = replace(decoding, max_new_tokens=int(left))
    return Row(prompt=list(prompt), decoding=decoding, stop=frozenset(stop), answer=answer)


def answer_all(
    model: Any,
    rows: Sequence[Row],
    *,
    max_rows: int = MAX_ROWS,
    exact: bool = True,
    done: Callable[[Row], None] | None = None,
) -> None:
    """Answer rows, the longest prompts first: too large a batch shows at once, and neighbours are alike in length.

    Where memory does not suffice for the rows at hand, half of them wait.

    Args:
        model: A transformers model, with or without PEFT adapters, left in the mode it was in.
        rows: What to answer; they are filled in.
        max_rows: Most rows at one time.
        exact: See `Batcher`.
        done: Told of every row that is over.

    Raises:
        torch.OutOfMemoryError: One single row does not fit.
    """
    waiting, running = _ordered(rows), list[Row]()
    with evaluating(model):
        batcher = Batcher(model, exact=exact)
        while waiting or running:
            fresh: list[Row] = []
            while waiting and batcher.has_room(waiting[-1], beside=fresh, max_rows=max_rows):
                fresh.append(waiting.pop())
            running += fresh
            try:
                with telling_of_no_room():
                    batcher.admit(fresh)
                    batcher.step()
            except torch.OutOfMemoryError:
                if len(running) == 1:
                    raise
                max_rows = len(running) // 2
                batcher.clear()  # what was being computed is of no use; the tokens so far are kept
                waiting = _ordered([*waiting, *(row for row in running if row.finish is None)])
                running = [row for row in running if row.finish is not None]
            if done is not None:
                for row in running:
                    if row.finish is not None:
                        done(row)
            running = [row for row in running if row.finish is None]


def _ordered(rows: Sequence[Row]) -> list[Row]:
    """By length, the longest last."""
    return sorted(rows, key=lambda row: len(row.prompt))
