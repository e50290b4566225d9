"""Turns conversations and documents into token ids, labels and weights; it neither reads files nor makes batches."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from xtune.data.encoded import Drop, Encoded
from xtune.data.ending import end_advice
from xtune.data.find import SpanFinder
from xtune.data.fit import Fitter, OverLength, last_assistant
from xtune.data.formats import Row
from xtune.data.mask import covered, ends_in_token, joins_prompt, membership, tokens_of
from xtune.data.problems import Problems, refuse
from xtune.data.remarks import Additions, SpecialTexts, find_additions
from xtune.data.spans import Rendered, Span, Unproven
from xtune.data.template import ChatTemplate, Unrenderable
from xtune.data.types import IGNORED, Conversation, Document, Origin, Sequence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["JOINED", "Drop", "Encoded", "Encoder", "OverLength", "Text", "TrainOn"]

Ints: TypeAlias = npt.NDArray[np.int32]
Floats: TypeAlias = npt.NDArray[np.float32]
TrainOn: TypeAlias = Literal["assistant", "last", "all"]
Unmaskable: TypeAlias = Literal["refuse", "drop"]

JOINED = (
    "the first token of an answer also holds the end of the prompt, which inference tokenises apart"
)
_NUMBERED = re.compile(r"message \d+(?: \(\w+\))?")
"""How faults name a message; dropped rows are counted by the fault alone."""

_ROWS_AT_ONCE = 1000
"""Texts per call of the tokenizer: enough for its threads, little enough to hold twice in memory."""


@dataclass(frozen=True)
class Text:
    """A row as text, before tokenisation."""

    text: str
    row: Row
    spans: tuple[Span, ...] = ()


class Encoder:
    """Encodes rows with one tokenizer and one set of choices."""

    def __init__(  # noqa: PLR0913 - the choices of `data` in the recipe, one by one
        self,
        tokenizer: "PreTrainedTokenizerBase",
        *,
        template: str | None = None,
        unmaskable: Unmaskable = "refuse",
        train_on: TrainOn = "assistant",
        prompt_loss_weight: float = 0.0,
        max_tokens: int = 2048,
        over_length: OverLength = "refuse",
        stage: Literal["sft", "pretrain"] = "sft",
    ) -> None:
        """Prepare to encode.

        Args:
            tokenizer: A fast tokenizer.
            template: Text of a Jinja chat template that replaces the tokenizer's own.
            unmaskable: What happens to rows that the template rejects or whose mask cannot be proven.
            train_on: Which messages count in full; a message's own `train` goes before it.
            prompt_loss_weight: Weight of all other tokens of a conversation.
            max_tokens: Longest sequence.
            over_length: What happens to longer rows; "auto" splits documents and drops conversations.
            stage: In "pretrain" conversations can be split like documents.

        Raises:
            DataError: The tokenizer cannot say which characters a token came from.
        """
        if not tokenizer.is_fast:
            refuse(
                f"The tokenizer ({type(tokenizer).__name__}) is a slow one and does not say which characters a token came from",
                allowed="masks need a fast tokenizer, one with a tokenizer.json",
                advice="look for a version of the model whose folder has a tokenizer.json.",
            )
        self._tokenizer: Any = tokenizer
        self.template = ChatTemplate(tokenizer, template)
        self._finder = SpanFinder(self.template)
        self._unmaskable = unmaskable
        self._train_on = train_on
        self.max_tokens = max_tokens
        """Longest sequence."""
        self._other_weight = prompt_loss_weight
        self._fitter = Fitter(
            tokenizer,
            max_tokens=max_tokens,
            over_length=over_length,
            last_only=train_on == "last",
            split_anywhere=stage == "pretrain",
            encode=self._alone,
            measure=self._length,
        )
        self.added = membership(tokenizer)
        """Whether each id is an added or special token, (vocabulary,)."""
        self._special_texts = SpecialTexts(tokenizer)
        self._additions: dict[bool, Additions] = {}

    def encode(self, row: Row) -> list[Sequence]:
        """The sequences of one row: mostly one, several if it was split, none if it was dropped.

        Raises:
            DataError: The row does not fit the template or `max_tokens`.
        """
        return self.encode_rows([row]).sequences

    def encode_rows(self, rows: Iterable[Row]) -> Encoded:
        """Encode many rows, with the reason of every row that is left out.

        Raises:
            DataError: All rows that do not fit the template or `max_tokens`.
        """
        result, problems = Encoded(), Problems()
        source = iter(rows)
        while chunk := list(islice(source, _ROWS_AT_ONCE)):
            texts = [
                text for row in chunk if (text := self.as_text(row, result, problems)) is not None
            ]
            for sequence in self._tokenised(texts, result, problems):
                self._fitter.fit(sequence[0], sequence[1], result, problems)
        problems.raise_any()
        return result

    def fit(
        self, ids: Ints, weights: Floats, row: Row, result: Encoded, problems: Problems
    ) -> None:
        """Add a row that is encoded at its full length to the result, or what `over_length` makes of it."""
        self._fitter.fit(_sequence(ids, weights, row.origin), row, result, problems)

    def prompt(
        self, conversation: Conversation, arguments: Mapping[str, Any] | None = None
    ) -> list[int]:
        """Ids of all that precedes the last assistant message, with the generation prompt, as at inference.

        Args:
            conversation: The turns.
            arguments: Values of the template's own variables.

        Raises:
            DataError: The template refuses the conversation.
        """
        last = last_assistant(conversation)
        messages = conversation.messages[: last if last is not None else None]
        try:
            text = self.template.render(
                [message.for_template() for message in messages],
                conversation.tools,
                prompt=True,
                arguments=arguments,
            )
        except Unrenderable as error:
            refuse(f"{self._named} refuses the row: {error}", where=str(conversation.origin))
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    @property
    def backend(self) -> Any:
        """The `tokenizers.Tokenizer` that cuts texts."""
        return self._tokenizer.backend_tokenizer

    @property
    def outside(self) -> float:
        """Weight of tokens that no span holds."""
        return 1.0 if self._train_on == "all" else self._other_weight

    @property
    def _named(self) -> str:
        return self.template.name[0].upper() + self.template.name[1:]

    def as_text(self, row: Row, result: Encoded, problems: Problems) -> Text | None:
        """The text of a row and the spans to train on; None if there is a reason to drop it, or a problem."""
        if isinstance(row, Document):
            if not row.text.strip():
                result.drops.append(Drop(row.origin, "empty text"))
                return None
            return Text(row.text, row)
        wanted = self._wanted(row)
        if not wanted and self._train_on != "all" and self._other_weight == 0:
            result.drops.append(Drop(row.origin, "no message to train on"))
            return None
        if self._train_on != "all" and wanted and all(_is_empty(row, index) for index in wanted):
            result.drops.append(Drop(row.origin, "empty answer"))
            return None
        rendered = self._rendered(row, wanted, result, problems)
        if rendered is None:
            return None
        for note in sorted({*rendered.notes, *self._remarks(row)}):
            result.note(note, row.origin)
        return Text(rendered.text, row, tuple(rendered.spans))

    def _remarks(self, row: Conversation) -> Iterator[str]:
        """What the template adds to a row, and what of its text is taken for special tokens."""
        with_tools = bool(row.tools)
        if with_tools not in self._additions:
            self._additions[with_tools] = find_additions(self.template, self._finder.prover.special)
        yield from self._additions[with_tools].notes(row)
        ends = self._finder.prover.ends(row.tools)
        yield from self._special_texts.notes(row, ends, self._tokenizer.eos_token)

    def _rendered(
        self, row: Conversation, wanted: list[int], result: Encoded, problems: Problems
    ) -> Rendered | None:
        try:
            return self._finder.find(row, wanted)
        except Unrenderable as error:
            fault, advice = (
                f"{self._named} refuses the row: {error}",
                "change the row, leave such rows out with `data.unmaskable: drop`, or name another template in `data.template`.",
            )
        except Unproven as error:
            fault = f"What is trained on cannot be located in {self.template.name}: {error}"
            advice = (
                "name another template in `data.template`, one with `{% generation %}` say, leave such rows out with "
                "`data.unmaskable: drop`, or set `train_on: all`."
            )
        if self._unmaskable == "drop":
            result.drops.append(Drop(row.origin, _NUMBERED.sub("a message", fault)))
        else:
            problems.add(fault, where=str(row.origin), advice=advice)
        return None

    def _wanted(self, row: Conversation) -> list[int]:
        """Messages whose spans matter: those trained on, or with `train_on: all` those that are not."""
        if self._train_on == "all":
            return [
                index
                for index, message in enumerate(row.messages)
                if message.weight not in {None, 1}
                and (message.role == "assistant" or message.content.strip())
            ]
        last = last_assistant(row)
        return [
            index
            for index, message in enumerate(row.messages)
            if message.weight
            or (
                message.weight is None
                and message.role == "assistant"
                and (self._train_on == "assistant" or index == last)
            )
        ]

    def _tokenised(
        self, texts: list[Text], result: Encoded, problems: Problems
    ) -> Iterator[tuple[Sequence, Row]]:
        """Sequences of full length; conversations get no special tokens but their template's."""
        conversations = [text for text in texts if isinstance(text.row, Conversation)]
        documents = [text for text in texts if isinstance(text.row, Document)]
        done: dict[int, Sequence] = {}
        if conversations:
            self._encode_conversations(conversations, done, result, problems)
        if documents:
            self._encode_documents(documents, done)
        for text in texts:
            if id(text) in done:
                yield done[id(text)], text.row

    def _encode_conversations(
        self, texts: list[Text], done: dict[int, Sequence], result: Encoded, problems: Problems
    ) -> None:
        encoding = self._tokenizer(
            [text.text for text in texts],
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        for text, ids, offsets in zip(
            texts, encoding["input_ids"], encoding["offset_mapping"], strict=True
        ):
            if not ids:
                result.drops.append(Drop(text.row.origin, "no tokens"))
                continue
            input_ids = np.array(ids, np.int32)
            weights = self._weights(text, input_ids, offsets, result, problems)
            if weights is not None:
                done[id(text)] = _sequence(input_ids, weights, text.row.origin)

    def _weights(
        self,
        text: Text,
        ids: Ints,
        offsets: list[tuple[int, int]],
        result: Encoded,
        problems: Problems,
    ) -> Floats | None:
        """Weight of each token of a conversation, (tokens,); None if the last answer has no end."""
        weights = np.full(len(ids), self.outside, np.float32)
        if not text.spans:
            return weights
        row = text.row
        flat = np.fromiter(chain.from_iterable(offsets), np.int64, 2 * len(offsets))
        edges = flat.reshape(-1, 2)  # (tokens, 2)
        cover = covered(edges)
        special = self.added[ids]
        for span in text.spans:
            weights[tokens_of(span, cover, special)] = self.weight_of(row, span.message)
            if joins_prompt(span, cover, special):
                result.note(JOINED, row.origin)
            in_token = ends_in_token(span, cover, special)
            if not self.ends_well(row, span, in_token=in_token):
                self._without_end(row, span, result, problems)
                return None
        return weights

    def _without_end(self, row: Row, span: Span, result: Encoded, problems: Problems) -> None:
        """Record a row whose answer has no end token, with what would give it one."""
        fault = (
            f"{self._named} writes no end-of-turn token after the assistant's answer, "
            "so the model would never learn to stop"
        )
        if self._unmaskable == "drop":
            result.drops.append(Drop(row.origin, fault))
            return
        conversation = row if isinstance(row, Conversation) else None
        last = conversation is not None and span.message + 1 == len(conversation.messages)
        ends = self._finder.prover.ends(conversation.tools if conversation else ())
        problems.add(
            fault,
            where=str(row.origin),
            allowed="a special token of the tokenizer must follow the answer",
            advice=end_advice(self._tokenizer, ends, last=last),
        )

    def ends_well(self, row: Row, span: Span, *, in_token: bool) -> bool:
        """Whether an answer ends in an end token, or need not: a tool's result or more of the answer follows.

        Args:
            row: The row.
            span: An answer's, perhaps.
            in_token: The span ends where a special token does.
        """
        if self._train_on == "all" or not isinstance(row, Conversation):
            return True
        if row.messages[span.message].role != "assistant":
            return True
        if span.ended:
            return in_token
        after = row.messages[span.message + 1 : span.message + 2]
        return bool(after) and after[0].role in {"tool", "assistant"}

    def weight_of(self, row: Row, message: int) -> float:
        """The weight that a message asks for, or the usual one."""
        given = row.messages[message].weight if isinstance(row, Conversation) else None
        return given or (self._other_weight if self._train_on == "all" else 1.0)

    def _encode_documents(self, texts: list[Text], done: dict[int, Sequence]) -> None:
        end = self._tokenizer.eos_token_id
        if end is None:
            refuse(
                "The tokenizer has no end-of-text token (`eos_token`), which ends every document"
            )
        encoding = self._tokenizer(
            [text.text for text in texts],
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        for text, ids in zip(texts, encoding["input_ids"], strict=True):
            input_ids = np.array(ids if ids and ids[-1] == end else [*ids, end], np.int32)
            done[id(text)] = _sequence(
                input_ids, np.ones(len(input_ids), np.float32), text.row.origin
            )

    def _alone(self, conversation: Conversation, problems: Problems) -> Sequence | None:
        """The sequence of a part of a row at its full length; None without anything to train on."""
        result = Encoded()
        text = self.as_text(conversation, result, problems)
        found = self._tokenised([text] if text is not None else [], result, problems)
        return next((sequence for sequence, _ in found), None)

    def _length(self, conversation: Conversation) -> int | None:
        """Tokens of a part of a row; None if the template refuses it."""
        messages = [message.for_template() for message in conversation.messages]
        try:
            text = self.template.render(messages, conversation.tools)
        except Unrenderable:
            return None
        return len(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _is_empty(conversation: Conversation, index: int) -> bool:
    message = conversation.messages[index]
    return not message.content.strip() and not any(
        message.extra.get(key) for key in ("tool_calls", "reasoning_content")
    )


def _sequence(input_ids: Ints, weights: Floats, origin: Origin) -> Sequence:
    labels = np.where(weights > 0, input_ids, np.int32(IGNORED))
    return Sequence(input_ids=input_ids, labels=labels, weights=weights, origin=origin)
