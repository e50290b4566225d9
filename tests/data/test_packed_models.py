"""Real architectures, sliding windows among them: a packed batch teaches exactly what its samples teach alone."""

from typing import Any

import numpy as np
import pytest
import torch
from factories import make_model

from xtune.data.batch import Assembly, collate
from xtune.data.types import IGNORED, Origin, Sequence
from xtune.kernels.loss import LossModule
from xtune.kernels.packing import isolates_packed_rows

WINDOW = 4
LENGTHS = (11, 3, 7, 9, 2, 12, 6)
"""Some shorter and some longer than the window."""

MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    "qwen3": {},
    "mistral": {"sliding_window": WINDOW},
    "gemma2": {"sliding_window": WINDOW},
    "gemma3_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "sliding_window": WINDOW,
    },
    "phi3": {"sliding_window": WINDOW},
    "cohere2": {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]},
    "olmo2": {},
    "gpt_neox": {},
    "gpt2": {"n_positions": 64, "n_embd": 64, "n_layer": 2, "n_head": 4},
}
UNSUPPORTED = {("gemma2", "sdpa")}
"""What transformers 5.23 refuses itself."""

PAIRS = [
    (kind, attention)
    for attention in ("eager", "sdpa")
    for kind in MODELS
    if (kind, attention) not in UNSUPPORTED
]


def samples() -> list[Sequence]:
    made = []
    for row, length in enumerate(LENGTHS):
        ids = np.random.default_rng(row).integers(1, 250, length).astype(np.int32)
        weights = np.where(np.arange(length) < row % 3, 0.0, 1.0 - 0.25 * (row % 2))
        weights = weights.astype(np.float32)
        labels = np.where(weights > 0, ids, IGNORED).astype(np.int32)
        origin = Origin(source="t", row=row)
        made.append(Sequence(input_ids=ids, labels=labels, weights=weights, origin=origin))
    return made


def loss_of(model: torch.nn.Module, rows: list[list[Sequence]]) -> float:
    """Loss sum of rows of samples, two rows at a time, with a backward pass where gradients are on."""
    assembly = Assembly(micro_batch_size=2, pad_token_id=0, packed=True)
    module = LossModule(model, 16)
    device = next(model.parameters()).device
    total = 0.0
    for found in assembly.step(rows).batches:
        batch = found.to(device)
        loss = module(batch.input_ids, batch.labels, batch.weights, batch.position_ids)
        if torch.is_grad_enabled():
            loss.backward()
        total += loss.item()
    return total


def learnt(model: torch.nn.Module, rows: list[list[Sequence]]) -> tuple[float, list[torch.Tensor]]:
    """Loss sum and gradients of rows of samples, two rows at a time."""
    model.zero_grad()
    total = loss_of(model, rows)
    return total, [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize(("kind", "attention"), PAIRS)
def test_packed_samples_teach_what_they_teach_alone(kind: str, attention: str) -> None:
    model = make_model(kind, pad_token_id=0, **MODELS[kind]).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for name in ("attn_pdrop", "resid_pdrop", "embd_pdrop", "attention_dropout"):
        if hasattr(model.config, name):
            setattr(model.config, name, 0.0)
    model.set_attn_implementation(attention)
    assert isolates_packed_rows(model)
    every = samples()
    packed = [every[:3], every[3:5], every[5:]]
    loss, gradients = learnt(model, packed)
    alone = [learnt(model, [[sample]]) for sample in every]
    assert loss == pytest.approx(sum(one for one, _ in alone), abs=1e-5 * sum(LENGTHS))
    for index, gradient in enumerate(gradients):
        expected = torch.stack([one[index] for _, one in alone]).sum(0)
        scale = max(float(expected.abs().max()), 1.0)
        torch.testing.assert_close(gradient / scale, expected / scale, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:flex_attention called without")
@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma2", "gemma3_text", "phi3"])
def test_flex_attention_isolates_packed_samples(kind: str) -> None:
    """Losses alone: torch 2.13 has no backward of flex attention for CPUs."""
    model = make_model(kind, pad_token_id=0, **MODELS[kind])
    every = samples()
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        expected = [loss_of(model, [[sample]]) for sample in every]
        model.set_attn_implementation("flex_attention")
        assert isolates_packed_rows(model)
        loss = loss_of(model, [every[:3], every[3:5], every[5:]])
    assert loss == pytest.approx(sum(expected), abs=1e-5 * sum(LENGTHS))


@pytest.mark.parametrize("kind", ["mistral", "gemma2", "phi3"])
def test_a_window_that_is_ignored_would_be_seen(kind: str) -> None:
    """The samples are long enough for the window to matter: without it the loss is another."""
    narrow = make_model(kind, pad_token_id=0, **MODELS[kind])
    wide = make_model(kind, pad_token_id=0, **{**MODELS[kind], "sliding_window": 64})
    rows = [samples()]
    assert abs(learnt(narrow, rows)[0] - learnt(wide, rows)[0]) > 1e-3


LEAK = 0.6
"""Of the gradients' norm: the least that samples which see one another change them by (float32, two EPYC cores, 2026-11-25)."""


def distance(some: list[torch.Tensor], others: list[torch.Tensor]) -> float:
    """Norm of the difference of gradients, as a part of the norm of the others."""
    apart = [one.float() - other.float() for one, other in zip(some, others, strict=True)]
    return float(
        torch.stack([part.norm() for part in apart]).norm()
        / torch.stack([other.float().norm() for other in others]).norm()
    )


def alone(model: torch.nn.Module) -> list[torch.Tensor]:
    """Sums of the gradients of samples that are computed one by one."""
    found = [learnt(model, [[sample]])[1] for sample in samples()]
    return [torch.stack([one.float() for one in each]).sum(0) for each in zip(*found, strict=True)]


@pytest.mark.parametrize("kind", ["qwen3", "mistral", "gemma2", "phi3"])
def test_samples_that_see_one_another_would_be_seen_in_the_gradients(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tests on a GPU rely on: a leak is far above the rounding of bfloat16, and moves the loss hardly at all."""
    model = make_model(kind, pad_token_id=0, **MODELS[kind])
    model.set_attn_implementation("eager")
    every, expected = samples(), alone(model)

    def running_on(rows: Any, **options: Any) -> Any:
        batch = collate(rows, **options)
        places = torch.arange(batch.input_ids.shape[1])
        batch.position_ids = places.expand(batch.input_ids.shape).contiguous()
        return batch

    monkeypatch.setattr("xtune.data.batch.collate", running_on)
    assert distance(learnt(model, [every[:3], every[3:]])[1], expected) > LEAK


@pytest.mark.gpu
@pytest.mark.parametrize("attention", ["flash_attention_2", "flex_attention", "sdpa"])
@pytest.mark.parametrize("kind", ["qwen3", "mistral", "gemma2", "phi3"])
def test_packed_samples_teach_what_they_teach_alone_on_a_gpu(kind: str, attention: str) -> None:
    """Two packed rows at a time, in bfloat16: gradients within a sixth of what a leak would change."""
    if (kind, attention) in UNSUPPORTED:
        pytest.skip("transformers has no such combination")
    if attention == "flash_attention_2":
        pytest.importorskip("flash_attn")
    model = make_model(kind, pad_token_id=0, **MODELS[kind]).to("cuda", torch.bfloat16)
    every = samples()
    model.set_attn_implementation("eager")
    expected = alone(model)
    model.set_attn_implementation(attention)
    assert isolates_packed_rows(model)
    assert distance(learnt(model, [every[:3], every[3:]])[1], expected) < LEAK / 6
