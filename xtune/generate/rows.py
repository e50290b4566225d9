"""Rows to be answered, in the formats of training; an answer that a row may hold already is not shown to the model."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

from transformers import PreTrainedTokenizerBase

from xtune.data.encode import Encoder
from xtune.data.files import read_records
from xtune.data.problems import Problems, refuse
from xtune.data.rows import HEAD, Recogniser
from xtune.data.sources import SourceFile, find_files
from xtune.data.starts import Start
from xtune.data.types import Conversation, Document, Message, Origin, Record
from xtune.errors import DataError
from xtune.recipe import Recipe, Source

ANSWERS = {"instruction": "output", "prompt": "completion", "query": "response"}
"""Columns of a question to those of its answer, which may be absent here."""

TYPED = Origin(source="prompt", row=0)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A row to be answered."""

    fields: dict[str, Any]
    """The row as the file holds it."""

    row: Conversation | Document


def read_asked(source: str | Source, recipe: Recipe, max_rows: int | None = None) -> list[Asked]:
    """The rows of a file, a folder or anything else that training reads.

    Args:
        source: As in the recipe's `data.train`.
        recipe: The run's, which may name columns.
        max_rows: Only the first so many.

    Raises:
        DataError: Everything that is wrong with the files and rows, or there are none.
    """
    problems = Problems()
    asked: list[Asked] = []
    for file in find_files([source], recipe.data):
        try:
            asked += islice(_of_file(file, problems), max_rows)
        except DataError as error:
            problems.include(error)
    problems.raise_any()
    if not asked:
        refuse(
            "There are no rows to answer",
            where=str(source) if isinstance(source, str) else source.source,
        )
    return asked[:max_rows]


def typed(prompts: Sequence[str | Mapping[str, Any]]) -> list[Asked]:
    """Prompts given as texts, or rows given as objects.

    Raises:
        DataError: One of them fits no format, or is no text in UTF-8.
    """
    problems = Problems()
    for prompt in prompts:
        if isinstance(prompt, str) and any("\ud800" <= one <= "\udfff" for one in prompt):
            refuse("A prompt is not text in UTF-8", advice="check the terminal's encoding.")
    records = [
        Record(
            value={"prompt": prompt} if isinstance(prompt, str) else prompt,
            origin=replace(TYPED, row=number),
        )
        for number, prompt in enumerate(prompts)
    ]
    asked = list(_recognised(records, "prompt", "auto", {}, problems)) if records else []
    problems.raise_any()
    return asked


def _of_file(file: SourceFile, problems: Problems) -> Iterator[Asked]:
    records = read_records(file.path, file.name, file.kind, problems, Start())
    head = list(islice(records, HEAD))
    named = chain(head, records), file.name
    # a mapping made for the training rows says nothing of a file that has none of their columns
    if file.columns and not any(_has_any(record.value, file.columns.values()) for record in head):
        yield from _recognised(*named, "auto", {}, problems)
    else:
        yield from _recognised(*named, file.format, file.columns, problems)


def _has_any(row: Any, columns: Iterable[str]) -> bool:
    """Whether a row has one of the columns; `sql.query` is `query` in an object `sql`."""
    return isinstance(row, Mapping) and any(
        name in row or name.partition(".")[0] in row for name in columns
    )


def _recognised(
    records: Iterable[Record],
    name: str,
    format: str,
    columns: Mapping[str, str],
    problems: Problems,
) -> Iterator[Asked]:
    held: dict[int, dict[str, Any]] = {}

    def filled() -> Iterator[Record]:
        for record in records:
            held[record.origin.row] = _fields(record.value)
            yield _with_answer(record, columns)

    rest = filled()
    head = list(islice(rest, HEAD))
    if not head:
        return
    recogniser = Recogniser(head, name, format, columns)
    for _, row in recogniser.convert_all(chain(head, rest), problems):
        yield Asked(fields=held.pop(row.origin.row), row=row)


def _fields(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    return {"prompt" if isinstance(value, str) else "messages": value}


def _with_answer(record: Record, columns: Mapping[str, str]) -> Record:
    """A row of a question alone gets an empty answer, so that its format is known."""
    if not isinstance(record.value, Mapping):
        return record
    for asks, answers in ANSWERS.items():
        question, answer = columns.get(asks, asks), columns.get(answers, answers)
        if record.value.get(question) is not None and record.value.get(answer) is None:
            return replace(record, value={**record.value, answer: ""})
    return record


class Prompter:
    """Makes prompts of rows for one model, with the template of its training."""

    def __init__(
        self,
        recipe: Recipe,
        tokenizer: PreTrainedTokenizerBase,
        *,
        system: str | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """Prepare.

        Args:
            recipe: The run's.
            tokenizer: The run's; it brings the chat template.
            system: A system prompt for rows that have none.
            arguments: Values of the template's own variables: `{"enable_thinking": False}`.
        """
        self._tokenizer: Any = tokenizer
        self._encoder = Encoder(tokenizer)
        self._system = system
        self._arguments = dict(arguments or {})
        self.continues = recipe.stage == "pretrain" or not tokenizer.chat_template
        """Whether the model goes on with a text rather than answers it."""

    def settle(self, arguments: Mapping[str, Any]) -> set[str]:
        """Take values of variables that the template has, for every prompt; the others are left out.

        Returns:
            The names of those that it has.
        """
        known = frozenset[str]() if self.continues else self._encoder.template.variables()
        taken = {name: value for name, value in arguments.items() if name in known}
        self._arguments |= taken
        return set(taken)

    def ids(
        self, row: Conversation | Document, arguments: Mapping[str, Any] | None = None
    ) -> list[int]:
        """The tokens of a prompt.

        Args:
            row: What is asked.
            arguments: More values of the template's variables, for this row.

        Raises:
            DataError: The template refuses the row, or there is none and the row has turns, or it is empty.
        """
        arguments = {**self._arguments, **(arguments or {})}
        if self.continues:
            if arguments:
                refuse(
                    "There is no chat template whose variables could be set",
                    where=", ".join(arguments),
                )
            ids = self._continued(_plain_text(row), row)
        else:
            ids = self._encoder.prompt(self._conversation(row), arguments)
        if not ids:
            refuse("There is nothing to answer", where=str(row.origin))
        return ids

    def _conversation(self, row: Conversation | Document) -> Conversation:
        if isinstance(row, Document):  # a bare text, put as a question
            question = Message(role="user", content=row.text)
            row = Conversation(messages=(question,), origin=row.origin)
        messages = row.messages
        if self._system and messages[0].role != "system":
            messages = (Message(role="system", content=self._system), *messages)
        if messages[-1].role != "assistant":
            messages = (*messages, Message(role="assistant", content=""))  # the answer to come
        return replace(row, messages=messages)

    def _continued(self, text: str | None, row: Conversation | Document) -> list[int]:
        if text is None:
            refuse(
                "The model was not trained on turns, and the row has several",
                where=str(row.origin),
                allowed="it goes on with a `prompt` or a `text`",
            )
        ids: list[int] = self._tokenizer(text, verbose=False)["input_ids"]
        # no end-of-text token at the end, which some tokenizers would add
        return ids[:-1] if len(ids) > 1 and ids[-1] == self._tokenizer.eos_token_id else ids


def _plain_text(row: Conversation | Document) -> str | None:
    """The one text of a row; None if it has several turns."""
    if isinstance(row, Document):
        return row.text
    asked = [message for message in row.messages if message.role != "assistant"]
    return asked[0].content if len(asked) == 1 and row.messages[0] is asked[0] else None
