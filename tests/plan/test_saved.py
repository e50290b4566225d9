"""Modules trained in full beside an adapter are planned with all that PEFT makes of them."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from machines import LLAMA_8B, gpu, make_recipe
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from xtune.memory import ModelShape
from xtune.memory.saved import saved_modules
from xtune.models.quiet import quiet
from xtune.plan.resolve import decide

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 128,
    "pad_token_id": 0,
}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["qwen3", "gemma2", "olmo2"])
@pytest.mark.parametrize(
    "names",
    [
        ("lm_head",),
        ("embed_tokens",),
        ("norm",),
        ("q_proj", "down_proj"),
        ("model.norm", "layers.1.mlp.up_proj"),
    ],
)
def test_the_entries_are_those_that_peft_trains(
    names: tuple[str, ...], kind: str, tied: bool
) -> None:
    fields = {"model_type": kind, **SIZES, "tie_word_embeddings": tied}
    with torch.device("meta"):
        build: Any = AutoModelForCausalLM.from_config
        model = build(AutoConfig.for_model(**fields))
        make: Any = LoraConfig
        tables = {"lm_head", "embed_tokens"} & set(names)
        options = {"ensure_weight_tying": tied and bool(tables)}
        config = make(r=2, target_modules=["v_proj"], modules_to_save=list(names), **options)
        with quiet():
            adapted = get_peft_model(model, config)
    copies = {
        id(each): each.numel()
        for name, each in adapted.named_parameters()
        if each.requires_grad and "lora_" not in name
    }
    found = saved_modules(ModelShape.from_config(fields), names)
    assert found.entries == sum(copies.values())
    assert (found.head or found.embedding) == bool(tables)


def test_saved_feed_forward_layers_do_not_fit_where_their_float32_copies_do_not() -> None:
    """32 layers of two matrices of 4,096 by 14,336: 3.76 billion numbers beside the base's 16 GB."""
    method = {"type": "lora", "targets": ["v_proj"], "modules_to_save": ["down_proj", "up_proj"]}
    recipe = make_recipe(method, train__optimizer="adamw")
    _, found, _ = decide(recipe, gpu(24), LLAMA_8B)
    assert not found.fits
    assert found.predicted.items["adapter"] >= 4 * 32 * 2 * 4096 * 14336


@pytest.mark.parametrize(("tied", "tables"), [(False, 1), (True, 2)])
def test_new_tokens_are_planned_with_the_copy_of_the_table_that_peft_makes(
    tied: bool, tables: int
) -> None:
    """The gradient of a copy of 128,256 by 4,096 numbers in 16 bits; where it is the head as well, the copy besides."""
    shape = replace(LLAMA_8B, tied=tied)
    method = {"type": "qlora", "new_tokens": ["<call>"]}
    _, found, _ = decide(
        make_recipe(method, data__max_tokens=64, train__batch_size=1), gpu(24), shape
    )
    assert found.predicted.step_bytes >= tables * 2 * 128256 * 4096
