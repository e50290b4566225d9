"""Who decays, whose learning rate is scaled, who is Muon's."""

from typing import Any

import pytest
from factories import make_model, make_plan, make_tokenizer

from xtune.adapter.attach import attach
from xtune.adapter.groups import parameter_groups


def groups(recipe: dict[str, Any], **changes: Any) -> dict[str, dict[str, Any]]:
    """Each trainable parameter's group, by name."""
    plan = make_plan(recipe)
    model = attach(make_model(**changes), plan, make_tokenizer())
    found = parameter_groups(model, plan)
    assert sum(len(group["params"]) for group in found) == sum(
        p.requires_grad for p in model.parameters()
    )
    return {name: group for group in found for name in group["names"]}


TRAIN = {"learning_rate": 1e-3, "weight_decay": 0.1}


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_matrices_decay_and_embeddings_norms_and_biases_do_not(tied: bool) -> None:
    found = groups({"method": "full", "train": TRAIN}, kind="qwen2", tie_word_embeddings=tied)
    decaying = {name for name, group in found.items() if group["weight_decay"] == 0.1}
    linear = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    expected = {
        name for name in found if name.endswith(".weight") and name.split(".")[-2] in linear
    }
    assert decaying == expected | (set() if tied else {"lm_head.weight"})
    assert len(expected) == 14


def test_lora_plus_scales_b_alone() -> None:
    method = {"type": "lora", "lora_plus_ratio": 16.0}
    for name, group in groups({"method": method, "train": TRAIN}).items():
        assert group["lr_scale"] == (16.0 if "lora_B" in name else 1.0)
        assert group["weight_decay"] == 0.1


def test_new_tokens_magnitudes_and_saved_norms_do_not_decay() -> None:
    method = {"type": "lora", "dora": True, "new_tokens": ["<a>"], "modules_to_save": ["norm"]}
    found = groups({"method": method, "train": TRAIN})
    still = {name for name, group in found.items() if group["weight_decay"] == 0.0}
    assert still == {
        name
        for name in found
        if "magnitude" in name or "trainable_tokens" in name or "norm" in name
    }
    assert any("magnitude" in name for name in still)


@pytest.mark.parametrize(("matrix", "scale"), [(None, 1.0), (0.02, 20.0)])
def test_muon_takes_the_hidden_matrices_only(matrix: float | None, scale: float) -> None:
    train = {**TRAIN, "optimizer": "muon", "matrix_learning_rate": matrix}
    found = groups({"method": "full", "train": train}, tie_word_embeddings=False)
    matrices = {name for name, group in found.items() if group["kind"] == "matrix"}
    assert len(matrices) == 14
    assert all("layers" in name and name.endswith("proj.weight") for name in matrices)
    for name, group in found.items():
        assert group["lr_scale"] == pytest.approx(scale if name in matrices else 1.0)


def test_biases_of_experts_are_no_matrices_though_they_have_a_row_for_each() -> None:
    model = make_model("gpt_oss", num_local_experts=2, num_experts_per_tok=1).requires_grad_(True)
    fields = {"learning_rate": 1e-3, "optimizer": "muon", "weight_decay": 0.1}
    found = parameter_groups(model, make_plan({"method": "full", "train": fields}))
    biases = {
        name: (group["weight_decay"], group["kind"])
        for group in found
        for name in group["names"]
        if name.endswith("bias")
    }
    assert biases["model.layers.0.mlp.experts.gate_up_proj_bias"] == (0.0, "rest")
    assert set(biases.values()) == {(0.0, "rest")}
