"""The probe for packed rows, on models that isolate them and models that do not."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from factories import make_model
from torch.nn import functional
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, flash_attention_mask
from transformers.modeling_flash_attention_utils import _is_packed_sequence
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from xtune.kernels.frugal import FrugalSettings
from xtune.kernels.install import make_frugal
from xtune.kernels.loss import LossModule
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


def test_frugal_layers_isolate_rows_that_gpt_oss_does_not() -> None:
    model = make_model("gpt_oss", pad_token_id=0, num_local_experts=2, num_experts_per_tok=1)
    assert not isolates_packed_rows(model)
    model.requires_grad_(False)
    assert not make_frugal(model, FrugalSettings(tile_tokens=5)).plain
    assert isolates_packed_rows(model)


def test_the_probe_leaves_mode_and_weights_alone() -> None:
    model = make_model("qwen3").train()
    model.lm_head.eval()
    before = torch.random.get_rng_state()
    assert isolates_packed_rows(model)
    assert model.training
    assert model.model.training
    assert not model.lm_head.training
    assert torch.equal(torch.random.get_rng_state(), before)


def flash_on_a_cpu(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, _: Any, **more: Any
) -> tuple[torch.Tensor, None]:
    """What flash attention does of packed rows, with transformers' own test of whether a batch is packed."""
    positions, tokens = more["position_ids"], query.shape[2]
    mask = torch.ones(tokens, tokens, dtype=torch.bool).tril()[None]  # (rows, tokens, tokens)
    if _is_packed_sequence(positions, len(query)):
        sample = (positions == 0).cumsum(-1)
        mask = mask & (sample[:, :, None] == sample[:, None, :])
    groups = module.num_key_value_groups
    output = functional.scaled_dot_product_attention(
        query,
        key.repeat_interleave(groups, 1),
        value.repeat_interleave(groups, 1),
        attn_mask=mask[:, None],
        scale=more["scaling"],
    )
    return output.transpose(1, 2), None


@pytest.fixture
def flash_attention() -> Iterator[str]:
    """The name of an attention that treats packed rows as flash attention does, and runs on a CPU."""
    name = "flash_on_a_cpu"
    ALL_ATTENTION_FUNCTIONS.register(name, flash_on_a_cpu)
    ALL_MASK_ATTENTION_FUNCTIONS.register(name, flash_attention_mask)
    yield name
    for table in (ALL_ATTENTION_FUNCTIONS, ALL_MASK_ATTENTION_FUNCTIONS):
        table._global_mapping.pop(name, None)


@pytest.mark.parametrize("kind", ["qwen3", "nanochat"])  # nanochat: through its own forward
def test_several_packed_rows_are_isolated_under_flash_attention(
    kind: str, flash_attention: str
) -> None:
    ids = torch.randint(0, 250, (3, 12), generator=torch.Generator().manual_seed(1))
    positions = torch.stack(
        [torch.cat([torch.arange(length), torch.arange(12 - length)]) for length in (4, 7, 12)]
    )
    labels = ids.masked_fill(positions == 0, -100)
    batch = (ids, labels, torch.ones(3, 12), positions)
    model = make_model(kind, pad_token_id=0)
    expected = LossModule(model, 8)(*batch)
    model.config._attn_implementation = flash_attention
    assert LossModule(model, 8)(*batch).item() == pytest.approx(expected.item(), rel=1e-5)
