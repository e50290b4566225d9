"""One prompt and its answer as it grows; which tokens come is decided in `batcher` and `choose`."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

import torch

from xtune.generate.decoding import Decoding

Logprob: TypeAlias = tuple[float, list[tuple[int, float]]]
"""A token's log probability at temperature 1, and the likeliest tokens in its place with theirs."""


class Guide(Protocol):
    """What restricts an answer to a form, token by token."""

    def allowed(self) -> torch.Tensor:
        """Which tokens may come next, (vocabulary,) bool, on the CPU; at least one."""

    def take(self, token: int) -> bool:
        """Go on behind a token of the answer.

        Returns:
            Whether the form is full, so that nothing may follow.
        """

    def fresh(self) -> "Guide":
        """The same form at its beginning."""


@dataclass(eq=False, kw_only=True)
class Row:
    """One prompt and its answer so far."""

    prompt: list[int]
    """Tokens, at least one."""

    decoding: Decoding
    stop: frozenset[int] = frozenset()
    """Tokens that end the answer; they are no part of it."""

    answer: int = 0
    """Which of the answers with one seed this is: the row of a file, the choice of a request."""

    adapter: str | None = None
    """The adapter that answers; None is the base."""

    vocabulary: int | None = None
    """Tokens that may be chosen: the first so many; None: all."""

    guide: Guide | None = None
    """What keeps the answer in a form; None: it is free."""

    top_logprobs: int | None = None
    """Likeliest tokens whose log probabilities are wanted beside the chosen one's; None: none at all."""

    scores_prompt: bool = False
    """Whether the prompt's tokens are to have theirs, too."""

    answers: bool = True
    """Whether there is to be an answer, and not the prompt's log probabilities alone."""

    tokens: list[int] = field(default_factory=list)
    """The answer."""

    logprobs: list[Logprob] = field(default_factory=list)
    """Of every token, as the model has them before a guide or a sampling limit takes tokens out."""

    prompt_logprobs: list[Logprob] | None = None
    """Of every token of the prompt but the first; None while they are not computed."""

    ending: tuple[int, Logprob] | None = None
    """The token that ended the answer, where log probabilities are wanted."""

    finish: str | None = None
    """Why the answer is over: "stop" or "length"; None while it is not."""

    @property
    def longest(self) -> int:
        """Places that the row may come to take."""
        return len(self.prompt) + self.decoding.max_new_tokens

    def take(self, token: int, logits: torch.Tensor) -> None:
        """Let a token follow, and the answer end where it is over.

        Args:
            token: The chosen one.
            logits: (vocabulary,) float32, of which it was chosen.
        """
        logprob = (
            None if self.top_logprobs is None else logprob_of(logits, token, self.top_logprobs)
        )
        if token in self.stop:
            self.finish = "stop"
            self.ending = None if logprob is None else (token, logprob)
            return
        self.tokens.append(token)
        if logprob is not None:
            self.logprobs.append(logprob)
        if self.guide is not None and self.guide.take(token):
            self.finish = "stop"
        elif len(self.tokens) >= self.decoding.max_new_tokens:
            self.finish = "length"

    def repeated(self, count: int) -> list["Row"]:
        """The same prompt so many times, unanswered, each with draws of its own."""
        return [
            replace(
                self,
                answer=self.answer + more,
                guide=None if self.guide is None else self.guide.fresh(),
                tokens=[],
                logprobs=[],
                prompt_logprobs=None,
                ending=None,
                finish=None,
            )
            for more in range(count)
        ]


def logprob_of(logits: torch.Tensor, token: int, count: int) -> Logprob:
    """A token's log probability and those of the likeliest ones.

    Args:
        logits: (vocabulary,).
        token: The token.
        count: Likeliest tokens, at most all.
    """
    logprobs = logits.float().log_softmax(-1)
    likeliest = logprobs.topk(min(count, len(logprobs)))
    pairs = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    return float(logprobs[token]), list(pairs)


def allowed_of(rows: Iterable[Row], size: int, device: torch.device) -> torch.Tensor | None:
    """Which tokens each row may choose, (rows, vocabulary) bool; None where all may choose all."""
    found = [None if row.guide is None else row.guide.allowed() for row in rows]
    if all(one is None for one in found):
        return None
    table = torch.ones(len(found), size, dtype=torch.bool)
    for line, one in zip(table, found, strict=True):
        if one is not None:
            line[: len(one)] = one[:size]
            line[len(one) :] = False
    return table.to(device)
