"""A model on held-out rows: loss and perplexity, and its answers beside the expected ones."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from xtune.data.encode import Encoder
from xtune.data.folder_splits import evaluation_sources
from xtune.data.reading import read_all, read_held_out
from xtune.data.types import Conversation, Document, Message
from xtune.errors import DataError, Problem, XtuneError
from xtune.evaluate.generate import Decoding, generate
from xtune.evaluate.loss import HeldOutLoss, held_out_loss
from xtune.evaluate.match import Share, final_answer, is_exact, is_same_json, parse_json, share
from xtune.models.tokenizer import pad_token_id
from xtune.recipe import Recipe
from xtune.text import tokenizer_name

Progress = Callable[[int, int], None]
"""Told how many prompts are answered, and of how many."""

ANSWER_ROOM = (1.25, 16)
"""An answer may be this many times as long as the longest expected one, and this many tokens more: an
answer beyond that is wrong already. A design choice."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answered row."""

    origin: str
    """Where the row came from: file and line."""

    prompt: str
    """What was asked: the message before the answer."""

    expected: str
    answer: str
    exact: bool
    """Equal after NFC and without outer white space."""

    same_json: bool | None
    """Equal as JSON; None unless every expected answer is a JSON object or array."""

    stopped: bool
    """Whether the model ended the answer itself."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a model does with held-out rows."""

    rows: int
    loss: HeldOutLoss
    answers: tuple[Answer, ...]
    """In the order of the rows; none for plain texts."""

    dropped: dict[str, int] = field(default_factory=dict)
    """Rows that were left out, by reason."""

    @property
    def exact_match(self) -> Share | None:
        """Share of answers that are the expected ones; None without answers."""
        return share([answer.exact for answer in self.answers])

    @property
    def json_match(self) -> Share | None:
        """Share of answers that are the expected JSON; None unless all expected answers are JSON."""
        marks = [answer.same_json for answer in self.answers if answer.same_json is not None]
        return share(marks)

    @property
    def cut(self) -> int:
        """Answers that the model did not end within the tokens allowed."""
        return sum(not answer.stopped for answer in self.answers)

    def to_json(self) -> dict[str, Any]:
        """All numbers; what is not finite becomes null."""
        return {
            "rows": self.rows,
            "dropped": self.dropped,
            "loss": _finite(self.loss.value),
            "perplexity": _finite(self.loss.perplexity),
            "loss_weight": self.loss.weight,
            "exact_match": self.exact_match.to_json() if self.exact_match else None,
            "json_match": self.json_match.to_json() if self.json_match else None,
            "answers": len(self.answers),
            "answers_cut": self.cut,
        }


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to evaluate.

    Raises:
        XtuneError: The language is no code of one, or the rows are fewer than one.
    """

    decoding: Decoding | None = None
    """How answers are chosen; None is greedy, with room for a little more than the longest expected answer."""

    answers: bool = True
    """Off: loss and perplexity alone."""

    max_rows: int | None = None
    """Only the first so many rows."""

    language: str | None = None
    """BCP-47 code of the answers' language, for the measures of words; None: found out from the expected answers."""

    seed: int = 0
    """Seed of the resamples."""

    loss_chunk_tokens: int = 1024
    autocast: torch.dtype | None = None
    """Type of the matrix products if they ran under autocast in training."""

    def __post_init__(self) -> None:
        if self.max_rows is not None and self.max_rows < 1:
            raise XtuneError(f"`max_rows` is {self.max_rows}; it must be 1 or more.")
        try:  # before the answers are there, not after
            tokenizer_name(self.language or "und")
        except ValueError as error:
            raise XtuneError(f"`language`: {error}.") from None


Rows = Sequence[Conversation | Document]


def evaluation_rows(
    recipe: Recipe, sources: Sequence[str] | None = None
) -> list[Conversation | Document]:
    """The rows to evaluate on: those of `sources`, or else those that the recipe holds out.

    Raises:
        DataError: The files are faulty or empty, or the recipe holds nothing out.
    """
    data = recipe.data
    chosen = sources if sources is not None else evaluation_sources(data)
    if chosen is None or chosen == 0.0:
        raise DataError(
            [
                Problem(
                    what="The run has no held-out rows to evaluate on",
                    advice="name a file with --data, or set `data.evaluate` before training.",
                )
            ]
        )
    if isinstance(chosen, float):
        return read_held_out(data, chosen, recipe.run.seed)
    return read_all([*chosen], data)


def make_encoder(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Encoder:
    """The encoder of a finished run: its tokenizer brings the chat template that it was trained with."""
    return Encoder(
        tokenizer,
        train_on=recipe.data.train_on,
        prompt_loss_weight=recipe.data.prompt_loss_weight,
        max_tokens=recipe.data.max_tokens,
        over_length="auto",
        stage=recipe.stage,
    )


def evaluate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Rows,
    *,
    encoder: Encoder,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a model on rows.

    Args:
        model: A transformers model, with or without PEFT adapters; it is left as it was.
        tokenizer: Its tokenizer.
        rows: Conversations, whose last assistant message is the expected answer, or plain texts.
        encoder: The encoder of the training.
        options: How to evaluate.
        progress: Told how many prompts are answered.

    Raises:
        DataError: There are no rows, none has an answer, or all were dropped.
    """
    options = options or Options()
    encoded = encoder.encode_rows(rows)
    dropped: dict[str, int] = {}
    for drop in encoded.drops:
        dropped[drop.reason] = dropped.get(drop.reason, 0) + 1
    if not encoded.sequences:
        raise DataError([_nothing_left(rows, dropped)])
    left_out = {drop.origin for drop in encoded.drops}
    kept = [row for row in rows if row.origin not in left_out]
    loss = held_out_loss(
        model,
        encoded.sequences,
        pad_token_id=pad_token_id(tokenizer),
        chunk_tokens=options.loss_chunk_tokens,
        autocast=options.autocast,
    )
    conversations = [row for row in kept if isinstance(row, Conversation) and _expected(row)]
    answers: tuple[Answer, ...] = ()
    if options.answers and conversations:
        answers = _answer(model, tokenizer, conversations, encoder, options.decoding, progress)
    return Evaluation(rows=len(kept), loss=loss, answers=answers, dropped=dropped)


def _answer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    encoder: Encoder,
    decoding: Decoding | None,
    progress: Progress | None,
) -> tuple[Answer, ...]:
    prompts = [encoder.prompt(conversation) for conversation in conversations]
    expected = [_expected(conversation) for conversation in conversations]
    if decoding is None:
        decoding = replace(Decoding(), max_new_tokens=_answer_room(tokenizer, expected))
    done = 0

    def count(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, len(prompts))

    generated = generate(model, tokenizer, prompts, decoding, progress=count)
    is_json = all(parse_json(text) is not None for text in expected)
    return tuple(
        _judge(
            conversation, right, final_answer(given.text, expected=right), given.stopped, is_json
        )
        for conversation, right, given in zip(conversations, expected, generated, strict=True)
    )


def _judge(
    conversation: Conversation, expected: str, answer: str, stopped: bool, is_json: bool
) -> Answer:
    before = conversation.messages[: _last_assistant(conversation)]
    return Answer(
        origin=str(conversation.origin),
        prompt=before[-1].content if before else "",
        expected=expected.strip(),
        answer=answer.strip(),
        exact=is_exact(answer, expected),
        same_json=is_same_json(answer, expected) if is_json else None,
        stopped=stopped,
    )


def _answer_room(tokenizer: PreTrainedTokenizerBase, expected: Sequence[str]) -> int:
    """Tokens that an answer may take."""
    times, more = ANSWER_ROOM
    ids = tokenizer(list(expected), add_special_tokens=False)["input_ids"]
    return math.ceil(times * max(len(answer) for answer in ids)) + more


def _last_assistant(conversation: Conversation) -> int | None:
    places = [
        place for place, message in enumerate(conversation.messages) if message.role == "assistant"
    ]
    return places[-1] if places else None


def _expected(conversation: Conversation) -> str:
    """The last assistant message's text; empty where there is none, as in a bare tool call."""
    place = _last_assistant(conversation)
    message: Message | None = None if place is None else conversation.messages[place]
    return message.content if message is not None and message.content.strip() else ""


def _nothing_left(rows: Rows, dropped: dict[str, int]) -> Problem:
    if not rows:
        return Problem(what="There are no rows to evaluate on", advice="name a file that has some.")
    reasons = ", ".join(f"{reason}: {count}" for reason, count in dropped.items())
    return Problem(
        what=f"None of the {len(rows)} rows can be evaluated ({reasons})",
        where=str(rows[0].origin),
        allowed="a conversation needs an assistant message with an answer, and must fit into `data.max_tokens`",
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
