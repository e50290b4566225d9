"""Batches: order, packing, ranks, and the proof that packed samples do not see each other."""

import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from xtune.data.batch import Assembly, Batches, EvaluationBatches, collate
from xtune.data.layout import EpochLayout, efficiency
from xtune.data.packing import pack
from xtune.data.store import lengths_of
from xtune.data.types import IGNORED, Batch, Origin, Sequence

PAD = 63


def sample(row: int, length: int, *, prompt: int = 1, weight: float = 1.0) -> Sequence:
    """A sequence of random tokens; those after the prompt are trained on."""
    ids = np.random.default_rng(row).integers(0, PAD, length).astype(np.int32)
    weights = np.where(np.arange(length) < prompt, 0.0, weight).astype(np.float32)
    labels = np.where(weights > 0, ids, IGNORED).astype(np.int32)
    return Sequence(
        input_ids=ids, labels=labels, weights=weights, origin=Origin(source="t", row=row)
    )


def samples(lengths: list[int]) -> list[Sequence]:
    return [
        sample(row, length, prompt=row % 3, weight=(0.5, 1.0)[row % 2])
        for row, length in enumerate(lengths)
    ]


def make(sequences: list[Sequence], **changes: Any) -> Batches:
    choices: dict[str, Any] = {
        "batch_size": 4, "micro_batch_size": 2, "max_tokens": 32, "packing": False, "seed": 0, "rank": 0, "world_size": 1,
        **changes,
    }  # fmt: skip
    return Batches(sequences, lay_out(sequences, **choices), assembly(**choices))


def assembly(
    *, packing: bool, micro_batch_size: int, rank: int, world_size: int, **_: Any
) -> Assembly:
    return Assembly(
        pad_token_id=PAD,
        packed=packing,
        micro_batch_size=micro_batch_size,
        rank=rank,
        world_size=world_size,
    )


def lay_out(
    sequences: list[Sequence],
    *,
    batch_size: int,
    max_tokens: int,
    packing: bool,
    seed: int,
    **_: Any,
) -> EpochLayout:
    return EpochLayout(
        lengths_of(sequences),
        batch_size=batch_size,
        capacity=max_tokens if packing else None,
        seed=seed,
    )


LENGTHS = st.lists(st.integers(2, 32), min_size=1, max_size=40)
CHOICES = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 9),
        "micro_batch_size": st.integers(1, 4),
        "packing": st.booleans(),
        "seed": st.integers(0, 5),
    }
)


def rows_of(batch: Batch) -> Counter[tuple[tuple[int, int, float], ...]]:
    """What a batch teaches, row by row, without padding: (token, label, weight) of every real position."""
    real = [
        tuple(zip(ids.tolist(), labels.tolist(), weights.tolist(), strict=True))
        for ids, labels, weights in zip(batch.input_ids, batch.labels, batch.weights, strict=True)
    ]
    return Counter(
        tuple(p for p in row if p[0] != PAD) for row in real if any(p[0] != PAD for p in row)
    )


@settings(max_examples=80, deadline=None)
@given(lengths=LENGTHS, choices=CHOICES, epoch=st.integers(0, 2))
def test_every_row_comes_exactly_once_an_epoch(
    lengths: list[int], choices: dict[str, Any], epoch: int
) -> None:
    batches = make(samples(lengths), **choices)
    first = epoch * batches.steps_per_epoch
    steps = [batches.step(first + index) for index in range(batches.steps_per_epoch)]
    assert sorted(origin.row for step in steps for origin in step.origins) == list(
        range(len(lengths))
    )
    assert sorted(o.row for step in steps for b in step.batches for o in b.origins) == list(
        range(len(lengths))
    )
    assert sum(step.tokens for step in steps) == sum(lengths)
    assert all(batch.input_ids.shape[1] <= 32 for step in steps for batch in step.batches)
    assert all(
        batch.input_ids.shape[0] <= choices["micro_batch_size"]
        for step in steps
        for batch in step.batches
    )


@settings(max_examples=80, deadline=None)
@given(lengths=LENGTHS, choices=CHOICES, world=st.integers(1, 4), index=st.integers(0, 20))
def test_the_ranks_together_do_what_one_process_does(
    lengths: list[int], choices: dict[str, Any], world: int, index: int
) -> None:
    alone = make(samples(lengths), **choices).step(index)
    ranks = [
        make(samples(lengths), **choices, rank=rank, world_size=world).step(index)
        for rank in range(world)
    ]
    assert len({len(step.batches) for step in ranks}) == 1
    whole: Counter[Any] = sum((rows_of(batch) for batch in alone.batches), Counter())
    union: Counter[Any] = sum(
        (rows_of(batch) for step in ranks for batch in step.batches), Counter()
    )
    assert union == whole
    assert len({step.loss_weight for step in ranks} | {alone.loss_weight}) == 1
    assert {step.tokens for step in ranks} == {alone.tokens}
    assert sum(batch.tokens for step in ranks for batch in step.batches) == alone.tokens
    weight = sum(float(batch.weights.sum()) for step in ranks for batch in step.batches)
    assert weight == pytest.approx(alone.loss_weight)


def test_a_step_is_the_same_whatever_was_asked_before() -> None:
    sequences = samples([3, 9, 5, 7, 11, 4, 6, 8, 2] * 5)
    one, other = make(sequences, packing=True), make(sequences, packing=True)
    for index in range(12):
        one.step(index)
    for a, b in zip(one.step(7).batches, other.step(7).batches, strict=True):
        assert torch.equal(a.input_ids, b.input_ids)
        assert a.origins == b.origins


def test_epochs_and_seeds_give_different_orders() -> None:
    sequences = samples([8] * 64)
    orders = {
        (seed, epoch): tuple(
            o.row
            for i in range(16)
            for o in make(sequences, seed=seed).step(16 * epoch + i).origins
        )
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(set(orders.values())) == 4


def test_the_last_step_of_an_epoch_is_smaller() -> None:
    batches = make(samples([5] * 10), batch_size=4)
    assert [len(batches.step(index).origins) for index in range(6)] == [4, 4, 2, 4, 4, 2]


def test_a_rank_without_rows_gets_a_batch_without_loss() -> None:
    step = make(samples([5]), rank=1, world_size=2).step(0)
    (batch,) = step.batches
    assert batch.labels.tolist() == [[IGNORED, IGNORED]]
    assert float(batch.weights.sum()) == 0.0
    assert batch.tokens == 0
    assert batch.origins == ()
    assert step.loss_weight > 0


def test_a_packed_row_written_out_by_hand() -> None:
    first, second, third = sample(0, 3), sample(1, 2, prompt=0), sample(2, 7, prompt=0, weight=0.5)
    batch = collate([[first, second], [third]], pad_token_id=PAD, packed=True)
    a, b, c = (s.input_ids.tolist() for s in (first, second, third))
    assert batch.input_ids.tolist() == [[*a, *b, PAD, PAD], c]
    assert batch.labels.tolist() == [[-100, *a[1:], -100, b[1], -100, -100], [-100, *c[1:]]]
    assert batch.weights.tolist() == [[0, 1, 1, 0, 1, 0, 0], [0, *[0.5] * 6]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1, 0, 1], [0, 1, 2, 3, 4, 5, 6]]
    assert batch.tokens == 12


def test_positions_behind_a_single_sample_run_on() -> None:
    batch = collate([[sample(0, 3)], [sample(1, 5)]], pad_token_id=PAD, packed=False)
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4]] * 2


@settings(max_examples=100, deadline=None)
@given(lengths=st.lists(st.integers(1, 64), min_size=1, max_size=300), seed=st.integers(0, 9))
def test_packs_hold_every_row_once_and_never_too_much(lengths: list[int], seed: int) -> None:
    array = np.array(lengths)
    bins = pack(array, 64, np.random.default_rng(seed))
    assert sorted(np.concatenate(bins).tolist()) == list(range(len(lengths)))
    assert max(array[rows].sum() for rows in bins) <= 64


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=60))
def test_packing_is_best_fit_decreasing(lengths: list[int]) -> None:
    room: list[int] = []  # brute force: the fullest bin with room, longest row first
    for length in sorted(lengths, reverse=True):
        fits = [index for index, left in enumerate(room) if left >= length]
        if fits:
            room[min(fits, key=lambda index: room[index])] -= length
        else:
            room.append(20 - length)
    array = np.array(lengths)
    bins = pack(array, 20, np.random.default_rng(0))
    assert sorted(20 - array[rows].sum() for rows in bins) == sorted(room)


def test_half_a_million_rows_pack_in_seconds_above_98_percent() -> None:
    lengths = np.clip(np.random.default_rng(0).lognormal(5.3, 0.9, 500_000).astype(int), 2, 2048)
    # every row against every bin would be 10^10 comparisons, which take hours; half a second is usual
    start = time.process_time()
    bins = pack(lengths, 2048, np.random.default_rng(0))
    assert time.process_time() - start < 120
    assert lengths.sum() / (len(bins) * 2048) > 0.98


def test_grouping_by_length_wastes_little_and_keeps_the_order_random() -> None:
    lengths = np.clip(np.random.default_rng(1).lognormal(3, 0.7, 2000).astype(int), 2, 200).tolist()
    choices = {"batch_size": 8, "micro_batch_size": 4, "max_tokens": 200}
    batches = make(samples(lengths), **choices)
    layout = EpochLayout(np.array(lengths), batch_size=8, capacity=None, seed=0)
    cut = Assembly(micro_batch_size=4, pad_token_id=PAD, packed=False).micro_batches
    assert efficiency(layout, layout.steps_per_epoch, cut) > 0.9
    sizes = [batches.step(index).tokens for index in range(batches.steps_per_epoch - 1)]
    assert abs(np.corrcoef(sizes[:-1], sizes[1:])[0, 1]) < 0.3


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_batches_hold_every_row_once_over_all_ranks(world: int) -> None:
    sequences = samples([9, 3, 7, 5, 5, 2, 8])
    ranks = [
        EvaluationBatches(
            sequences, micro_batch_size=2, pad_token_id=PAD, rank=rank, world_size=world
        )
        for rank in range(world)
    ]
    assert len({len(rank) for rank in ranks}) == 1
    assert sorted(o.row for rank in ranks for batch in rank for o in batch.origins) == list(
        range(7)
    )


def test_no_sequences_and_sequences_too_long_for_a_pack_are_a_programming_error() -> None:
    with pytest.raises(ValueError, match="no sequences"):
        make([])
    with pytest.raises(ValueError, match="33 tokens does not fit"):
        make([sample(0, 33)], packing=True)


SIZES = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
}  # fmt: skip


def make_model(kind: str, attention: str) -> torch.nn.Module:
    config: Any = Qwen3Config(**SIZES, head_dim=8) if kind == "qwen3" else LlamaConfig(**SIZES)
    config._attn_implementation = attention
    torch.manual_seed(0)
    model = (Qwen3ForCausalLM if kind == "qwen3" else LlamaForCausalLM)(config).float()
    for parameter in model.parameters():  # larger than initial weights, so that attention matters
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def losses(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted loss of every token, and the weights, (rows, tokens - 1)."""
    logits = model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        attention_mask=None,
        use_cache=False,
    ).logits
    flat = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1),
        batch.labels[:, 1:].flatten(),
        ignore_index=IGNORED,
        reduction="none",
    )
    return flat.view(logits.shape[0], -1) * batch.weights[:, 1:], batch.labels[:, 1:] != IGNORED


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_packed_samples_give_the_losses_and_gradients_of_samples_alone(
    kind: str, attention: str
) -> None:
    model = make_model(kind, attention)
    sequences = samples([7, 12, 5, 9, 3, 11, 2, 8])
    step = make(sequences, packing=True, batch_size=9, micro_batch_size=2).step(0)
    assert max(len(batch.origins) for batch in step.batches) > 2
    packed: dict[int, list[float]] = {}
    model.zero_grad()
    for batch in step.batches:
        loss, trained = losses(model, batch)
        loss.sum().backward()
        values = iter(loss[trained].tolist())
        for origin in batch.origins:
            count = int(np.count_nonzero(sequences[origin.row].weights[1:]))
            packed[origin.row] = [next(values) for _ in range(count)]
    gradients = [
        parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None
    ]
    model.zero_grad()
    for row, sequence in enumerate(sequences):
        batch = collate([[sequence]], pad_token_id=PAD, packed=False)
        loss, trained = losses(model, batch)
        loss.sum().backward()
        assert loss[trained].tolist() == pytest.approx(packed[row], abs=1e-5)
    for parameter, packed_gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(packed_gradient, parameter.grad, atol=1e-5, rtol=1e-5)
