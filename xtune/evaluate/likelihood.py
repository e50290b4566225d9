"""How likely a model finds given endings of given texts: what multiple choice is judged by. Nothing is generated here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from xtune.evaluate.kept import Part
from xtune.generate.mode import only_reading
from xtune.kernels.loss import Span, span_losses
from xtune.kernels.no_room import telling_of_no_room

BATCH_TOKENS = 4096
"""Tokens of one forward pass, padding included: enough to fill a GPU, 0.3 GB of activations on an 8B model."""

CHUNK_TOKENS = 256
"""Tokens whose logits exist at one time: 131 MB with 128,000 entries in float32."""


@dataclass(frozen=True)
class Ending:
    """Tokens whose probability is asked for, behind the tokens that are given."""

    given: tuple[int, ...]
    ids: tuple[int, ...]

    @property
    def read(self) -> tuple[int, ...]:
        """What the model reads: the last token predicts nothing that is asked for."""
        return (*self.given, *self.ids[:-1])


def cut_endings(given: Sequence[int], wholes: Sequence[Sequence[int]]) -> list[Ending]:
    """Alternatives cut where they cease to agree with what is given.

    A tokenizer may join the last letters of the context with the first of an ending (often so where no
    spaces stand between words), and not in every alternative. Each text keeps the tokens that it has as
    a whole; those of the context that not all alternatives begin with count as part of the endings, so
    that all are compared behind the same tokens.

    Args:
        given: The context's tokens.
        wholes: The tokens of context and ending together, of each alternative.
    """
    end = min((_common(given, whole) for whole in wholes), default=0)
    # a text that adds no token to the context still has something to be asked for
    end = min(end, *(len(whole) - 1 for whole in wholes))
    return [Ending(tuple(whole[:end]), tuple(whole[end:])) for whole in wholes]


def begin(endings: Sequence[Ending], tokenizer: PreTrainedTokenizerBase) -> list[Ending]:
    """The same with the tokenizer's beginning (or end) of text before what nothing is given for."""
    first = tokenizer.bos_token_id
    if first is None:
        first = tokenizer.eos_token_id
    return [
        ending if ending.given or not isinstance(first, int) else Ending((first,), ending.ids)
        for ending in endings
    ]


def log_likelihoods(
    model: Any,
    endings: Sequence[Ending],
    *,
    pad_token_id: int,
    autocast: torch.dtype | None = None,
    progress: Callable[[int], None] | None = None,
    kept: Part | None = None,
) -> list[float]:
    """The natural logarithm of each ending's probability, in the order given.

    Texts of similar length share a batch. What is read for one ending and is the beginning of what is
    read for another is read once: endings of one token behind the same context cost one pass together.

    Args:
        model: A transformers model, with or without PEFT adapters; it is left as it was.
        endings: What to judge; each has something given before it.
        pad_token_id: What fills short rows up; it takes no part.
        autocast: Type of the matrix products if they ran under autocast in training.
        progress: Told after each batch how many endings of it are judged.
        kept: Likelihoods of an earlier start, to which those of each batch are added. Batches that it has are left out, and
            all others are the same as without.

    Raises:
        torch.OutOfMemoryError: One single text does not fit.
    """
    kept = kept or Part()
    likelihoods: dict[int, float] = kept.answers
    waiting = [
        batch
        for batch in _batches(_readings(endings))
        if not all(place in likelihoods for _, served in batch for place in served)
    ]
    if progress is not None and likelihoods:
        progress(len(likelihoods))
    with only_reading(model, autocast) as device:
        while waiting:
            batch = waiting.pop()
            try:
                with telling_of_no_room():
                    found = _judge(model, endings, batch, pad_token_id, device)
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise
                half = len(batch) // 2
                waiting += [batch[half:], batch[:half]]
                continue
            fresh = len(found.keys() - likelihoods.keys())
            kept.add(found)
            if progress is not None:
                progress(fresh)
    return [likelihoods[place] for place in range(len(endings))]


_Reading = tuple[tuple[int, ...], list[int]]
"""A text to read, and the places of the endings that it serves."""


def _readings(endings: Sequence[Ending]) -> list[_Reading]:
    """Texts of which none begins another."""
    order = sorted(range(len(endings)), key=lambda place: endings[place].read, reverse=True)
    readings: list[_Reading] = []
    for place in order:  # a text comes right behind the longest that it begins
        read = endings[place].read
        if readings and readings[-1][0][: len(read)] == read:
            readings[-1][1].append(place)
        else:
            readings.append((read, [place]))
    return readings


def _batches(readings: list[_Reading]) -> list[list[_Reading]]:
    """Readings by length, the longest last: taken from the end, too large a batch shows at once."""
    batches: list[list[_Reading]] = []
    for reading in sorted(readings, key=lambda reading: len(reading[0])):
        if batches and (len(batches[-1]) + 1) * len(reading[0]) <= BATCH_TOKENS:
            batches[-1].append(reading)
        else:
            batches.append([reading])
    return batches


def _judge(
    model: Any,
    endings: Sequence[Ending],
    batch: list[_Reading],
    pad_token_id: int,
    device: torch.device,
) -> dict[int, float]:
    width = max(len(read) for read, _ in batch)
    input_ids = torch.full((len(batch), width), pad_token_id, dtype=torch.long)  # (rows, tokens)
    spans, places = [], []
    for row, (read, served) in enumerate(batch):
        input_ids[row, : len(read)] = torch.tensor(read, dtype=torch.long)
        for place in served:
            ending = endings[place]
            first = len(ending.given) - 1
            spans.append(
                Span(
                    row=row,
                    columns=torch.arange(first, first + len(ending.ids), device=device),
                    labels=torch.tensor(ending.ids, dtype=torch.long, device=device),
                    weights=torch.ones(len(ending.ids), device=device),
                )
            )
            places.append(place)
    losses = span_losses(model, input_ids.to(device), spans, chunk_tokens=CHUNK_TOKENS).tolist()
    return {place: -loss for place, loss in zip(places, losses, strict=True)}


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = zip(a, b, strict=False)
    return next((place for place, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))
