"""The types that flow through the data layer: rows as read, conversations, encoded sequences, batches.

file --sources--> Record --formats--> Conversation | Document --encode--> Sequence --batch--> Batch
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xtune.data.json_keys import Doubled

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""Label of a token that takes no part in the loss (torch's cross_entropy default)."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a row came from: the source as the recipe names it, the file, and the row's place in it."""

    source: str
    row: int
    """Zero-based index of the row in its source."""

    line: int | None = None
    """One-based line of the file, where the format has lines."""

    def __str__(self) -> str:
        return (
            f"{self.source}:{self.line}"
            if self.line is not None
            else f"{self.source} row {self.row}"
        )


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row as the file holds it, before any format is recognised."""

    value: Mapping[str, Any] | list[Any] | str
    origin: Origin
    doubled: tuple[Doubled, ...] = ()
    """Keys that the file gives two different values, of which `value` holds the last."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: str
    """system, user, assistant or tool."""

    content: str
    weight: float | None = None
    """Weight of the message's tokens in the loss, 0 for none; None: as `train_on` says."""

    extra: Mapping[str, Any] = field(default_factory=dict)
    """What the template may use besides: tool_calls, name, reasoning_content ..."""

    def for_template(self) -> dict[str, Any]:
        """The message as chat templates expect it."""
        return {"role": self.role, "content": self.content, **self.extra}


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """A row in the one shape that everything after `formats` understands."""

    messages: tuple[Message, ...]
    origin: Origin
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Document:
    """A row of plain text, trained on as it is."""

    text: str
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """One encoded row."""

    input_ids: npt.NDArray[np.int32]
    """(tokens,)"""

    labels: npt.NDArray[np.int32]
    """(tokens,): the token itself where it is trained on or weighted, `IGNORED` elsewhere; not shifted."""

    weights: npt.NDArray[np.float32]
    """(tokens,): weight of each token in the loss; 0 where the label is `IGNORED`."""

    origin: Origin

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def loss_weight(self) -> float:
        """Sum of the weights that the loss really sees: the first token predicts nothing."""
        return float(self.weights[1:].sum(dtype=np.float64))


@dataclass(kw_only=True)
class Batch:
    """One forward pass. Every row is right-padded; packed rows restart `position_ids` at every sample.

    No attention mask: transformers isolates packed samples by `position_ids` only when the mask is
    None and `use_cache` is False, and right padding needs none under causal attention.
    """

    input_ids: "torch.Tensor"
    """(rows, tokens) int64"""

    labels: "torch.Tensor"
    """(rows, tokens) int64, `IGNORED` where there is no loss; not shifted, and `IGNORED` on the first token of each sample."""

    weights: "torch.Tensor"
    """(rows, tokens) float32"""

    position_ids: "torch.Tensor"
    """(rows, tokens) int64"""

    tokens: int
    """Real tokens, padding not counted."""

    origins: tuple[Origin, ...]
    """The rows in it."""

    def to(self, device: "torch.device | str") -> "Batch":
        """The same batch on another device."""
        return Batch(
            input_ids=self.input_ids.to(device),
            labels=self.labels.to(device),
            weights=self.weights.to(device),
            position_ids=self.position_ids.to(device),
            tokens=self.tokens,
            origins=self.origins,
        )


@dataclass(kw_only=True)
class Step:
    """All micro-batches of one optimizer step that belong to this rank."""

    batches: tuple[Batch, ...]
    loss_weight: float
    """Sum of the weights of all trained tokens of the step over all ranks: the loss's denominator."""

    tokens: int
    """Real tokens of the step over all ranks."""

    origins: tuple[Origin, ...]
    """The rows of the step over all ranks."""
