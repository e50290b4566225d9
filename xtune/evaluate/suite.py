"""One model on the questions of tasks: choices by likelihood, written answers by their text. Bases and tables are elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from xtune.data.encode import Encoder
from xtune.evaluate.asking import Asking
from xtune.evaluate.generate import Decoding, generate, positions_left
from xtune.evaluate.kept import Kept, Part
from xtune.evaluate.likelihood import log_likelihoods
from xtune.evaluate.match import final_answer
from xtune.evaluate.metrics.bootstrap import Measure, mean_measure
from xtune.evaluate.metrics.texts import Written, measure
from xtune.evaluate.tasks.items import Asked, Item
from xtune.models.tokenizer import pad_token_id


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A model's answers to the questions of one task in one language."""

    measures: tuple[Measure, ...]
    answers: tuple[dict[str, Any], ...]
    """Of each question: what was answered, and what it was judged by."""

    cut: int
    """Texts that were longer than the model reads, and lost their beginning."""


@dataclass(frozen=True, kw_only=True)
class Asker:
    """A model and what asking it takes."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    encoder: Encoder | None = None
    """Asks in the chat template; None: in plain text."""

    autocast: torch.dtype | None = None
    kept: Kept = field(default_factory=lambda: Kept(None, {}))
    """Where answers are kept as they come, and where those of an earlier start are."""

    side: str = ""
    """Which of the models it is, by which its answers are kept apart."""

    def score(self, asked: Asked, progress: Callable[[int], None]) -> Scored:
        """Answer all questions.

        Args:
            asked: The questions.
            progress: Told how many more questions are answered.

        Raises:
            torch.OutOfMemoryError: One single text does not fit.
            MissingPackageError: A measure needs a package that is not installed.
        """
        asking = Asking(
            self.tokenizer,
            asked.shots,
            encoder=None if asked.task.contexts else self.encoder,
            longest=positions_left(self.model, 0),
        )
        if asked.task.is_choice:
            return self._choose(asked, asking, progress)
        return self._write(asked, asking, progress)

    def _part(self, asked: Asked) -> Part:
        return self.kept.part(f"{self.side}/{asked.name}/{asked.language}")

    def _choose(self, asked: Asked, asking: Asking, progress: Callable[[int], None]) -> Scored:
        endings = [asking.endings(item) for item in asked.items]
        told = _Told(progress, [len(part) for part in endings])
        flat = log_likelihoods(
            self.model,
            [ending for part in endings for ending in part],
            pad_token_id=pad_token_id(self.tokenizer),
            autocast=self.autocast,
            progress=told,
            kept=self._part(asked),
        )
        remaining = iter(flat)
        likelihoods = [[next(remaining) for _ in part] for part in endings]
        measures, answers = judge_choices(asked.items, likelihoods, asked.task.measures)
        return Scored(measures=measures, answers=answers, cut=asking.cut)

    def _write(self, asked: Asked, asking: Asking, progress: Callable[[int], None]) -> Scored:
        tokens = asked.task.max_new_tokens
        prompts = [asking.prompt(item, answer_tokens=tokens) for item in asked.items]
        plain = self.encoder is None
        generated = generate(
            self.model,
            self.tokenizer,
            prompts,
            Decoding(
                max_new_tokens=tokens,
                stop_tokens=line_ends(self.tokenizer) if plain else (),
            ),
            progress=progress,
            kept=self._part(asked),
        )
        texts = [
            _first_line(answer.text) if plain else final_answer(answer.text, expected="").strip()
            for answer in generated
        ]
        written = Written(
            answers=texts,
            references=[item.references for item in asked.items],
            language=asked.task.answer_language or asked.language,
        )
        return Scored(
            measures=tuple(measure(name, written) for name in asked.task.measures),
            answers=tuple({"answer": text} for text in texts),
            cut=asking.cut,
        )


def judge_choices(
    items: Sequence[Item], likelihoods: Sequence[Sequence[float]], names: Sequence[str]
) -> tuple[tuple[Measure, ...], tuple[dict[str, Any], ...]]:
    """Accuracies of the likeliest choice.

    `accuracy` takes the choice of the highest log-likelihood; `accuracy_norm` that of the highest
    per character of the choice, as lm-evaluation-harness's `acc_norm` does. Of equals the first counts.

    Returns:
        The measures, and what was chosen of each question.
    """
    answers: list[dict[str, Any]] = []
    for item, found in zip(items, likelihoods, strict=True):
        lengths = [max(1, len(choice)) for choice in item.choices] or [1] * len(found)
        normed = [value / length for value, length in zip(found, lengths, strict=True)]
        answers.append(
            {
                "answer": found.index(max(found)),
                "answer_norm": normed.index(max(normed)),
                "log_likelihoods": list(found),
            }
        )
    columns = {"accuracy": "answer", "accuracy_norm": "answer_norm"}
    measures = tuple(
        mean_measure(
            name,
            [
                float(answer[columns[name]] == item.right)
                for answer, item in zip(answers, items, strict=True)
            ],
        )
        for name in names
    )
    return measures, tuple(answers)


def line_ends(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that begin with a line end, behind which no answer in plain text goes on."""
    pieces = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    special = set(tokenizer.all_special_ids)
    return tuple(
        token
        for token, piece in enumerate(pieces)
        if piece.lstrip(" ").startswith("\n") and token not in special
    )


def _first_line(text: str) -> str:
    return text.strip(" ").partition("\n")[0].strip()


class _Told:
    """Passes on questions where endings are told, a question when its share of all endings is."""

    def __init__(self, progress: Callable[[int], None], sizes: Sequence[int]) -> None:
        self._progress, self._items = progress, len(sizes)
        self._endings, self._done, self._given = max(1, sum(sizes)), 0, 0

    def __call__(self, endings: int) -> None:
        self._done += endings
        whole = self._items * self._done // self._endings
        self._progress(whole - self._given)
        self._given = whole
