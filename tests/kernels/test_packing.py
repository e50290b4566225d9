"""The probe for packed rows, on models that isolate them and models that do not."""

import pytest
import torch
from factories import make_model

from xtune.kernels.packing import isolates_packed_rows


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2", "phi3", "gpt_neox", "olmo2"])
def test_attention_with_restarting_positions_is_isolated(kind: str) -> None:
    assert isolates_packed_rows(make_model(kind, pad_token_id=0))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("opt", {"word_embed_proj_dim": 64, "ffn_dim": 96, "pad_token_id": 1}),
        ("bloom", {"n_layer": 2, "n_head": 4}),
        ("mamba", {}),
        ("qwen3_5_text", {}),
    ],
)
def test_recurrence_convolutions_and_other_masks_leak_and_are_found(
    kind: str, changes: dict[str, object]
) -> None:
    assert not isolates_packed_rows(make_model(kind, **{"pad_token_id": 0, **changes}))


def test_the_probe_leaves_mode_and_weights_alone() -> None:
    model = make_model("qwen3").train()
    model.lm_head.eval()
    before = torch.random.get_rng_state()
    assert isolates_packed_rows(model)
    assert model.training
    assert model.model.training
    assert not model.lm_head.training
    assert torch.equal(torch.random.get_rng_state(), before)
