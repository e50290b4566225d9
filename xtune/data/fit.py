"""What happens to sequences that are too long: refused, dropped, truncated or split; always counted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from xtune.data.encoded import Drop, Encoded
from xtune.data.formats import Row
from xtune.data.length import cuts, split_at_turns
from xtune.data.problems import Problems
from xtune.data.types import Conversation, Document, Sequence

OverLength: TypeAlias = Literal["auto", "refuse", "drop", "truncate", "split"]


class Fitter:
    """Applies one choice of `over_length`."""

    def __init__(  # noqa: PLR0913 - one choice of the recipe, and two doors to the encoder
        self,
        tokenizer: Any,
        *,
        max_tokens: int,
        over_length: OverLength,
        split_anywhere: bool,
        last_only: bool,
        encode: Callable[[Conversation, Problems], Sequence | None],
        measure: Callable[[Conversation], int | None],
    ) -> None:
        """Prepare to fit.

        Args:
            tokenizer: A fast tokenizer.
            max_tokens: Longest sequence.
            over_length: What happens to longer ones; "auto" splits documents and drops conversations.
            last_only: Only the last answer of a conversation is trained on.
            split_anywhere: Conversations are split like documents, at any token.
            encode: Encodes a part of a conversation at its full length.
            measure: Counts the tokens of a part; None if it cannot be rendered.
        """
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._over_length = over_length
        self._split_anywhere = split_anywhere
        self._last_only = last_only
        self._encode = encode
        self._measure = measure

    def fit(self, sequence: Sequence, row: Row, result: Encoded, problems: Problems) -> None:
        """Add a sequence to the result, or what `over_length` makes of it."""
        if sequence.loss_weight == 0:
            result.drops.append(Drop(row.origin, "no trained token"))
        elif len(sequence) <= self._max_tokens:
            result.sequences.append(sequence)
        else:
            self._shorten(sequence, row, result, problems)

    def _shorten(self, sequence: Sequence, row: Row, result: Encoded, problems: Problems) -> None:
        how = self._how(row)
        if how == "drop":
            result.drops.append(Drop(row.origin, f"longer than {self._max_tokens} tokens"))
        elif how == "refuse":
            problems.add(
                "The row is too long",
                where=f"{row.origin} ({len(sequence):,} tokens)",
                allowed=f"`data.max_tokens` is {self._max_tokens}",
                advice="raise it, or set `data.over_length` to `drop`, `truncate` or `split`.",
            )
        elif how == "truncate":
            self._truncate(sequence, result)
        elif isinstance(row, Conversation) and not self._split_anywhere:
            self._split_turns(row, result, problems)
        else:
            self._split(sequence, row, result)

    def _how(self, row: Row) -> str:
        if self._over_length != "auto":
            return self._over_length
        return "split" if isinstance(row, Document) else "drop"

    def _truncate(self, sequence: Sequence, result: Encoded) -> None:
        cut = _part(sequence, 0, self._max_tokens)
        if cut.loss_weight == 0:
            reason = f"no trained token among the first {self._max_tokens}"
            result.drops.append(Drop(sequence.origin, reason))
            return
        result.note(f"truncated to {self._max_tokens} tokens", sequence.origin)
        result.sequences.append(cut)

    def _split(self, sequence: Sequence, row: Row, result: Encoded) -> None:
        """Parts of a text, each ending with a line or a sentence where one ends near its limit."""
        starts = None
        if isinstance(row, Document):
            encoding = self._tokenizer(row.text, return_offsets_mapping=True, verbose=False)
            starts = [start for start, _ in encoding["offset_mapping"]]
        text = row.text if isinstance(row, Document) else ""
        parts = [
            _part(sequence, start, stop)
            for start, stop in cuts(text, starts, len(sequence), self._max_tokens)
        ]
        result.note(f"split into parts of at most {self._max_tokens} tokens", sequence.origin)
        result.sequences += [part for part in parts if part.loss_weight > 0]

    def _split_turns(self, row: Conversation, result: Encoded, problems: Problems) -> None:
        """Parts of a conversation, of whole turns; a turn that is too long alone is dropped."""
        settled = _settle_last(row) if self._last_only else row
        parts, lost = split_at_turns(settled, self._fits)
        sequences = [self._encode(part, problems) for part in parts]
        kept = [sequence for sequence in sequences if sequence is not None and sequence.loss_weight]
        limit = f"{self._max_tokens} tokens"
        if not kept:
            result.drops.append(Drop(row.origin, f"no turn with an answer within {limit}"))
            return
        result.note(f"split at turns into parts of at most {limit}", row.origin)
        if lost:
            result.note(f"turns longer than {limit} are left out of the parts", row.origin)
        result.sequences += kept

    def _fits(self, conversation: Conversation) -> bool:
        length = self._measure(conversation)
        return length is not None and length <= self._max_tokens


def last_assistant(conversation: Conversation) -> int | None:
    """The last message of an assistant, if there is one."""
    roles = [message.role for message in conversation.messages]
    return len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else None


def _settle_last(row: Conversation) -> Conversation:
    """`train_on: last` said of each message, as the last answer of a part is not the last of the row."""
    last = last_assistant(row)
    messages = (
        replace(message, weight=0.0)
        if message.role == "assistant" and index != last and message.weight is None
        else message
        for index, message in enumerate(row.messages)
    )
    return replace(row, messages=tuple(messages))


def _part(sequence: Sequence, start: int, stop: int) -> Sequence:
    # Copies, so that a short part does not keep a long text in memory.
    return Sequence(
        input_ids=sequence.input_ids[start:stop].copy(),
        labels=sequence.labels[start:stop].copy(),
        weights=sequence.weights[start:stop].copy(),
        origin=sequence.origin,
    )
