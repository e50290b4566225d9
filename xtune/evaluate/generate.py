"""Answers from a model: many prompts in batches, or one as a stream of text. Templates are not applied here."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from xtune.data.stops import stop_token_ids
from xtune.evaluate.kept import Part
from xtune.generate.answers import answer_all, make_row
from xtune.generate.batcher import MAX_ROWS, Batcher, inner_model, positions_left
from xtune.generate.decoding import Decoding
from xtune.generate.mode import evaluating
from xtune.generate.pieces import Pieces, decoded
from xtune.generate.row import Row

__all__ = ["Decoding", "Generated", "generate", "positions_left", "stream"]


@dataclass(frozen=True, kw_only=True)
class Generated:
    """One answer."""

    text: str
    """Without special tokens."""

    tokens: int
    """Tokens of the answer, the stop token not counted."""

    stopped: bool
    """Whether the model ended it; False where `max_new_tokens` cut it."""


def generate(  # noqa: PLR0913 - what is asked, how, and what is kept
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding | None = None,
    *,
    max_rows: int = MAX_ROWS,
    progress: Callable[[int], None] | None = None,
    kept: Part | None = None,
) -> list[Generated]:
    """Answer every prompt, in the order given; no answer depends on the prompts beside it.

    No answer goes beyond the model's positions.

    Args:
        model: A transformers model, with or without PEFT adapters.
        tokenizer: Its tokenizer.
        prompts: Token ids, each ending where the answer begins.
        decoding: How to choose tokens; greedy when left out.
        max_rows: Most prompts in one batch.
        progress: Told how many prompts more are answered.
        kept: Answers of an earlier start, which are not asked for again; more are added as they come.

    Raises:
        torch.OutOfMemoryError: One single prompt does not fit.
        XtuneError: A prompt is empty, or longer than the model can read.
    """
    decoding = decoding or Decoding()
    stop = [*stop_token_ids(tokenizer, inner_model(model)), *decoding.stop_tokens]
    rows = [
        make_row(model, prompt, decoding, stop=stop, answer=answer)
        for answer, prompt in enumerate(prompts)
    ]
    kept = kept or Part()
    answers = {place: Generated(**held) for place, held in kept.answers.items()}
    if progress is not None and answers:
        progress(len(answers))

    def over(row: Row) -> None:
        answers[row.answer] = _generated(tokenizer, row)
        kept.add({row.answer: asdict(answers[row.answer])})
        if progress is not None:
            progress(1)

    left = [row for row in rows if row.answer not in answers]
    answer_all(model, left, max_rows=max_rows, done=over)
    return [answers[place] for place in range(len(rows))]


def stream(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Sequence[int],
    decoding: Decoding | None = None,
) -> Generator[str, None, None]:
    """Answer one prompt piece by piece; the pieces together are the whole answer's text.

    Closing the iterator, or an exception such as Ctrl-C while waiting for it, stops the model.
    """
    decoding = decoding or Decoding()
    stop = [*stop_token_ids(tokenizer, inner_model(model)), *decoding.stop_tokens]
    row = make_row(model, prompt, decoding, stop=stop)
    pieces = Pieces(tokenizer)
    with evaluating(model):
        batcher = Batcher(model)
        batcher.admit([row])
        given = 0
        while True:
            for token in row.tokens[given:]:
                if text := pieces.add(token):
                    yield text
            given = len(row.tokens)
            if row.finish is not None:
                break
            batcher.step()
    if rest := pieces.rest():
        yield rest


def _generated(tokenizer: PreTrainedTokenizerBase, row: Row) -> Generated:
    return Generated(
        text=decoded(tokenizer, row.tokens),
        tokens=len(row.tokens),
        stopped=row.finish == "stop",
    )
