"""What becomes trainable, and names that match nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from factories import causal_loss, make_model, make_plan, make_tokenizer, random_batch, save_model

from xtune.adapter.attach import attach
from xtune.errors import ModelError
from xtune.models.load import load_model


def attached(method: dict[str, Any], kind: str = "qwen3", seed: int = 0, **changes: Any) -> Any:
    plan = make_plan({"method": method, "run": {"seed": seed}})
    return attach(make_model(kind, **changes), plan, make_tokenizer())


def trained(model: torch.nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_full_trains_everything_in_train_mode() -> None:
    model = attached({"type": "full"})
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_lora_trains_two_factors_for_every_linear_layer_but_the_head() -> None:
    names = trained(attached({"type": "lora"}))
    # q, k, v, o, gate, up, down: seven layers in each of two blocks
    assert len(names) == 2 * 7 * 2
    assert not any("lm_head" in name or "embed" in name for name in names)


def test_routers_that_give_more_than_a_product_get_no_adapter() -> None:
    """PEFT 0.21 wraps them as it does any linear layer, and then finds a tuple."""
    model = attached({"type": "lora"}, "phimoe", num_local_experts=4, num_experts_per_tok=2)
    names = trained(model)
    assert len(names) == 2 * 4 * 2  # q, k, v, o
    assert not any("router" in name for name in names)
    causal_loss(model, random_batch(), chunk_tokens=16).backward()


def test_targets_may_be_names_or_endings() -> None:
    names = trained(attached({"type": "lora", "targets": ["q_proj", "mlp.down_proj"]}))
    layers = {name.split(".lora_")[0].rpartition(".")[2] for name in names}
    assert layers == {"q_proj", "down_proj"}


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (
            {"targets": ["query"]},
            r"query, which matches no linear layer.*down_proj, gate_proj, k_proj",
        ),
        ({"targets": ["q_proj", "proj"]}, "names proj, which"),
        ({"targets": ["embed_tokens"]}, "matches no linear layer"),
        ({"modules_to_save": ["head"]}, r"head, which matches no module.*lm_head"),
        ({"init": "pissa", "rank": 33}, "at most 32"),
        ({"init": "mica", "rank": 33}, "at most 32"),
    ],
)
def test_what_does_not_fit_the_model_is_explained(method: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        attached({"type": "lora", **method})


def test_a_tied_head_cannot_get_an_adapter_of_its_own() -> None:
    with pytest.raises(ModelError, match="shares its matrix"):
        attached({"type": "lora", "targets": ["lm_head"]}, tie_word_embeddings=True)
    names = trained(attached({"type": "lora", "targets": ["lm_head"]}, tie_word_embeddings=False))
    assert names == {
        "base_model.model.lm_head.lora_A.default.weight",
        "base_model.model.lm_head.lora_B.default.weight",
    }


def test_a_quantised_module_cannot_be_saved_in_full(tmp_path: Path) -> None:
    method = {"type": "qlora", "modules_to_save": ["o_proj"]}
    plan = make_plan({"model": {"name": str(save_model(tmp_path / "base"))}, "method": method})
    with pytest.raises(ModelError, match="o_proj, which is quantised"):
        attach(load_model(plan), plan, make_tokenizer())


@pytest.mark.parametrize("init", ["default", "gaussian", "orthogonal", "pissa", "olora", "mica"])
def test_the_model_starts_where_its_base_is(init: str) -> None:
    base, batch = make_model(), random_batch()
    with torch.no_grad():
        expected = base(input_ids=batch.input_ids, use_cache=False).logits
        model = attached({"type": "lora", "init": init}).eval()
        actual = model(input_ids=batch.input_ids, use_cache=False).logits
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


def test_mica_trains_a_alone_and_holds_the_weights_weakest_directions_in_b() -> None:
    base = make_model()
    weight = base.model.layers[0].self_attn.q_proj.weight.detach().double()
    names = trained(model := attached({"type": "lora", "init": "mica", "rank": 3}))
    assert names
    assert all(".lora_A." in name for name in names)
    b = dict(model.named_parameters())[
        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.default.weight"
    ].double()
    # directions of the three smallest eigenvalues of W W', each up to its sign
    weakest = torch.linalg.eigh(weight @ weight.T).eigenvectors[:, :3]
    torch.testing.assert_close(
        (weakest.T @ b).abs().fliplr(), torch.eye(3).double(), atol=1e-3, rtol=0
    )


def test_the_seed_decides_the_start_and_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    first, second, other = (
        attached({"type": "lora"}, seed=seed).state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    name = next(name for name in first if "lora_A" in name)
    assert torch.equal(first[name], second[name])
    assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_everything_trained_beside_a_16_bit_base_is_float32(dtype: torch.dtype) -> None:
    method = {"type": "lora", "new_tokens": ["<call>"], "modules_to_save": ["norm"], "dora": True}
    model = attach(make_model().to(dtype), make_plan({"method": method}), make_tokenizer())
    for name, parameter in model.named_parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else dtype), name
    loss = causal_loss(model, random_batch(), chunk_tokens=8)
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_new_tokens_start_at_the_mean_and_are_the_only_rows_trained(tied: bool) -> None:
    base, tokenizer = make_model(tie_word_embeddings=tied), make_tokenizer()
    before = base.model.embed_tokens.weight.detach().clone()
    plan = make_plan({"method": {"type": "lora", "new_tokens": ["<call>", "<|im_start|>"]}})
    model = attach(base, plan, tokenizer)
    rows = {name: p for name, p in model.named_parameters() if "trainable_tokens" in name}
    assert len(rows) == (1 if tied else 2)
    embedding = next(p for name, p in rows.items() if "embed_tokens" in name)
    assert embedding.shape == (2, 64)
    # 260 tokens are in the tokenizer; the model's rows 260 to 263 belong to none
    torch.testing.assert_close(embedding[0], before[:260].mean(0), atol=1e-6, rtol=0)
    assert torch.equal(embedding[1], before[tokenizer.convert_tokens_to_ids("<|im_start|>")])
    assert len(tokenizer) == 261
    assert not any(p.requires_grad for name, p in model.named_parameters() if "base_layer" in name)


def test_a_vocabulary_without_room_grows() -> None:
    tokenizer = make_tokenizer()
    names = [f"<new{index}>" for index in range(10)]
    plan = make_plan({"method": {"type": "lora", "new_tokens": names}})
    model = attach(make_model(), plan, tokenizer)
    assert model.get_base_model().config.vocab_size == len(tokenizer) == 270


def test_neftune_is_switched_on_by_the_recipe() -> None:
    plan = make_plan({"train": {"learning_rate": 1e-3, "neftune_alpha": 5.0}})
    model, batch = attach(make_model(), plan, make_tokenizer()), random_batch()
    first, second = (causal_loss(model, batch, chunk_tokens=8) for _ in range(2))
    assert first != second
    model.eval()
    first, second = (causal_loss(model, batch, chunk_tokens=8) for _ in range(2))
    assert first == second


def test_gpt2s_transposed_layers_get_adapters() -> None:
    names = trained(attached({"type": "lora"}, kind="gpt2", n_embd=64, n_layer=2, n_head=4))
    assert len(names) == 2 * 4 * 2  # c_attn, c_proj, c_fc, c_proj in each of two blocks
