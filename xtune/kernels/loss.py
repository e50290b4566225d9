"""The training loss of a batch: a weighted sum over trained tokens, whose logits never exist all at once."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from xtune.kernels.cross_entropy import chunked_cross_entropy, linear_cross_entropy, token_losses
from xtune.kernels.head_loss import sliced_cross_entropy
from xtune.kernels.head_slices import sliced_head
from xtune.kernels.heads import (
    Head,
    base_model,
    find_head,
    has_hooks,
    hidden_states,
    left_out,
)
from xtune.kernels.tail import Tail, Targets, tiled_loss
from xtune.kernels.weights import names_elsewhere

IGNORED = -100
"""Label of a token without loss; torch's `ignore_index`, and `xtune.data.types.IGNORED`."""


class LossModule(nn.Module):
    """A model whose forward is its loss, so that DDP and FSDP see one forward and one backward.

    Args:
        model: A causal language model, with or without a PEFT adapter.
        chunk_tokens: Tokens whose logits exist at one time.
        tile_tokens: Tokens for which the last norm and the head run at one time, if the model's layers are frugal; 0:
            all.
    """

    def __init__(self, model: nn.Module, chunk_tokens: int, tile_tokens: int = 0) -> None:
        super().__init__()
        self.model = model
        self.chunk_tokens = chunk_tokens
        self.tile_tokens = tile_tokens
        # DDP neither needs nor finds them where it looks: they are frozen, and loaded by every process
        self._ddp_params_and_buffers_to_ignore = [
            f"model.{each}" for each in names_elsewhere(model)
        ]

    def forward(
        self,
        input_ids: torch.Tensor,
        labels: torch.Tensor,
        weights: torch.Tensor,
        position_ids: torch.Tensor,
    ) -> torch.Tensor:
        """The float32 sum over trained tokens of weight times negative log-likelihood; all arguments are (rows, tokens).

        Only hidden states that predict a trained token reach the head. The caller divides by the step's `loss_weight`.
        Packed rows are isolated by `position_ids`: no mask and no cache are passed.
        """
        head = find_head(self.model)
        rows, columns = trained_positions(labels, weights)
        if len(rows):
            targets, factors = labels[rows, columns + 1], weights[rows, columns + 1]  # (trained,)
        else:
            # one position of weight 0: the loss is 0, and every parameter still gets a gradient, as DDP demands
            rows, columns, targets = (labels.new_zeros(1) for _ in range(3))
            factors = weights.new_zeros(1)
        if _needs_one_row(self.model, position_ids):
            columns, rows = rows * input_ids.shape[1] + columns, torch.zeros_like(rows)
            input_ids, position_ids = input_ids.reshape(1, -1), position_ids.reshape(1, -1)
        if head is None:
            return _whole_loss(
                self.model, input_ids, position_ids, (rows, columns), targets, factors
            )
        options = _options(head.backbone, position_ids)
        if self.tile_tokens and head.norm is not None:
            with left_out(head.norm):
                hidden = hidden_states(head.backbone, input_ids, **options)
            return tiled_loss(
                hidden, Targets(rows, columns, targets, factors), self._tail(head, head.norm)
            )
        hidden = hidden_states(head.backbone, input_ids, **options)  # (rows, tokens, hidden)
        selected = hidden[rows, columns]  # (trained, hidden)
        return _head_loss(head, selected, targets, factors, self.chunk_tokens)

    def _tail(self, head: Head, norm: nn.Module) -> Tail:
        def loss(hidden: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
            return _head_loss(head, norm(hidden), labels, weights, self.chunk_tokens)

        parameters = [*norm.parameters(), *head.layer.parameters()]
        trained = [each for each in parameters if each.requires_grad and torch.is_grad_enabled()]
        return Tail(loss=loss, parameters=trained, tile_tokens=self.tile_tokens)


@dataclass(frozen=True, kw_only=True)
class Span:
    """Tokens of one row of a batch whose loss is wanted by itself."""

    row: int
    columns: torch.Tensor
    """(tokens,) int64: places of the hidden states that predict them, each one before its token."""

    labels: torch.Tensor
    """(tokens,) int64: the tokens."""

    weights: torch.Tensor
    """(tokens,) float32: their weights in the sum."""


def span_losses(
    model: nn.Module, input_ids: torch.Tensor, spans: Sequence[Span], *, chunk_tokens: int
) -> torch.Tensor:
    """The weighted negative log-likelihood of every span, (spans,) float32, with one pass through the layers.

    For measuring, without gradients; rows are right-padded and hold one sample each.

    Args:
        model: A causal language model, with or without a PEFT adapter.
        input_ids: (rows, tokens).
        spans: What to sum; several may be of one row.
        chunk_tokens: Tokens whose logits exist at one time.
    """
    positions = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
    rows = torch.cat([torch.full_like(span.columns, span.row) for span in spans])
    columns = torch.cat([span.columns for span in spans])
    labels = torch.cat([span.labels for span in spans])
    weights = torch.cat([span.weights for span in spans])
    sizes = [len(span.columns) for span in spans]
    head = find_head(model)
    if head is None:
        base = base_model(model)
        logits = base(input_ids=input_ids, **_options(base, positions)).logits
        losses = _token_by_token(lambda part: part, logits[rows, columns], labels, chunk_tokens)
        return torch.stack([each.sum() for each in torch.split(losses * weights, sizes)])
    hidden = hidden_states(head.backbone, input_ids, **_options(head.backbone, positions))
    selected = hidden[rows, columns]  # (tokens, hidden)
    if sliced_head(head.layer) is not None and not has_hooks(head.layer):
        cut = [torch.split(each, sizes) for each in (selected, labels, weights)]
        return torch.stack(
            [
                _head_loss(head, *part, chunk_tokens)
                for part in zip(cut[0], cut[1], cut[2], strict=True)
            ]
        )
    layer, transform = head.layer, head.transform
    losses = _token_by_token(lambda part: transform(layer(part)), selected, labels, chunk_tokens)
    return torch.stack([each.sum() for each in torch.split(losses * weights, sizes)])


def _token_by_token(
    logits_of: Callable[[torch.Tensor], torch.Tensor],
    states: torch.Tensor,
    labels: torch.Tensor,
    chunk_tokens: int,
) -> torch.Tensor:
    """Negative log-likelihood of each token, (tokens,) float32."""
    parts = zip(torch.split(states, chunk_tokens), torch.split(labels, chunk_tokens), strict=True)
    return torch.cat(
        [
            functional.cross_entropy(logits_of(chunk).float(), targets, reduction="none")
            for chunk, targets in parts
        ]
    )


def trained_positions(
    labels: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column of every hidden state that predicts a trained token: one before that token."""
    trained = (labels[:, 1:] != IGNORED) & (weights[:, 1:] > 0)  # (rows, tokens - 1)
    rows, columns = trained.nonzero(as_tuple=True)
    return rows, columns


def _head_loss(
    head: Head, hidden: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, chunk_tokens: int
) -> torch.Tensor:
    sliced = sliced_head(head.layer)
    if sliced is not None and not has_hooks(head.layer):
        return sliced_cross_entropy(
            hidden, sliced, labels, weights, chunk_tokens=chunk_tokens, transform=head.transform
        )
    if head.is_plain and isinstance(head.layer, nn.Linear):
        return linear_cross_entropy(
            hidden, head.layer, labels, weights, chunk_tokens=chunk_tokens, transform=head.transform
        )
    return chunked_cross_entropy(
        hidden, head.layer, labels, weights, chunk_tokens=chunk_tokens, transform=head.transform
    )


def _whole_loss(
    model: nn.Module,
    input_ids: torch.Tensor,
    position_ids: torch.Tensor,
    positions: tuple[torch.Tensor, torch.Tensor],
    labels: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """The loss through the model's own forward: the logits of every column that is trained in any row."""
    rows, columns = positions
    base = base_model(model)
    options = _options(base, position_ids)
    if "logits_to_keep" in inspect.signature(base.forward).parameters:
        kept, columns = torch.unique(columns, return_inverse=True)
        options["logits_to_keep"] = kept
    logits = base(input_ids=input_ids, **options).logits  # (rows, kept, vocab)
    return token_losses(logits[rows, columns], labels, weights)


def _needs_one_row(model: nn.Module, position_ids: torch.Tensor) -> bool:
    """Whether packed rows must be laid end to end to be isolated.

    transformers' flash attention looks for restarting positions in a batch of one row only; in a larger
    batch it attends across the samples of a row, and says nothing (`_is_packed_sequence`, 5.23). A row
    begins at position 0, so that rows end to end are isolated from one another as samples are.
    """
    implementation = base_model(model).config._attn_implementation or ""
    if len(position_ids) == 1 or not implementation.startswith("flash"):
        return False
    return bool((position_ids[:, 1:] != position_ids[:, :-1] + 1).any())


def _options(module: nn.Module, position_ids: torch.Tensor) -> dict[str, object]:
    """`use_cache=False` always: with the default, packed rows see each other (transformers 5.23)."""
    accepted = inspect.signature(module.forward).parameters
    options: dict[str, object] = {"use_cache": False}
    if "position_ids" in accepted:
        options["position_ids"] = position_ids
    return options
