"""Merged folders beside PEFT's own merge_and_unload, in plain transformers, for adapters that PEFT alone made."""

from pathlib import Path
from typing import Any

import pytest
import torch
from factories import make_tokenizer, save_model
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from xtune.adapter.difference import check_sound, difference
from xtune.adapter.merge import merge
from xtune.errors import ModelError

GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128}
MOE = {
    "num_experts": 4,
    "num_local_experts": 4,
    "moe_intermediate_size": 32,
    "num_experts_per_tok": 2,
}
DEEPSEEK = {
    "num_key_value_heads": 4,
    "head_dim": 8,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "moe_intermediate_size": 32,
}
LINEAR_ATTENTION = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"],
}
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]

# name: (architecture, its settings, the adapter's)
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "rslora": ("llama", {}, {"target_modules": "all-linear", "use_rslora": True}),
    "dora": ("qwen2", {}, {"target_modules": ["q_proj", "down_proj"], "use_dora": True}),
    "dora-conv1d": (
        "gpt2",
        GPT2,
        {"target_modules": ["c_attn"], "use_dora": True, "fan_in_fan_out": True},
    ),
    "conv1d": (
        "gpt2",
        GPT2,
        {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True, "bias": "lora_only"},
    ),
    "biases": ("qwen2", {}, {"target_modules": ["q_proj", "v_proj"], "bias": "all"}),
    "lora-bias": ("qwen2", {}, {"target_modules": ["q_proj"], "lora_bias": True}),
    "patterns": (
        "llama",
        {},
        {
            "target_modules": ["q_proj", "v_proj"],
            "rank_pattern": {"layers.0.self_attn.q_proj": 2},
            "alpha_pattern": {"v_proj": 40},
        },
    ),
    "embedding": ("llama", {}, {"target_modules": ["embed_tokens", "lm_head", "o_proj"]}),
    "whole-modules": (
        "qwen3",
        {},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head", "norm"]},
    ),
    "tokens": (
        "llama",
        {"tie_word_embeddings": True},
        {"target_modules": ["q_proj"], "trainable_token_indices": [3, 7]},
    ),
    "experts": (
        "qwen3_moe",
        MOE,
        {"target_modules": ["q_proj"], "target_parameters": EXPERTS},
    ),
    "mixtral": ("mixtral", MOE, {"target_modules": ["q_proj"], "target_parameters": EXPERTS[:1]}),
    "router": ("olmoe", MOE, {"target_modules": ["v_proj", "gate"], "target_parameters": EXPERTS}),
    "neox": ("gpt_neox", {}, {"target_modules": ["query_key_value"]}),
    "deepseek": (
        "deepseek_v3",
        DEEPSEEK,
        {"target_modules": ["kv_b_proj", "down_proj"], "target_parameters": EXPERTS[1:]},
    ),
    "gpt-oss": (
        "gpt_oss",
        {"num_local_experts": 4, "num_experts_per_tok": 2},
        {"target_modules": ["q_proj"], "target_parameters": EXPERTS},
    ),
    "gemma2": ("gemma2", {}, {"target_modules": "all-linear"}),
    "mamba": ("mamba", {}, {"target_modules": ["in_proj", "x_proj"]}),
    "whole-experts": (
        "mixtral",
        MOE,
        {"target_modules": ["q_proj"], "modules_to_save": ["experts"]},
    ),
    "dora-pieces": (
        "hrm_text",  # whose files hold q, k, v and its gate as one
        {},
        {"target_modules": ["q_proj", "gate_proj", "down_proj"], "use_dora": True},
    ),
    "linear-attention": (
        "qwen3_next",
        {**MOE, "shared_expert_intermediate_size": 32, **LINEAR_ATTENTION},
        {"target_modules": ["q_proj", "in_proj_qkvz", "out_proj"]},
    ),
    "phi3": ("phi3", {"pad_token_id": 0}, {"target_modules": ["qkv_proj", "gate_up_proj"]}),
}


def make_adapter(base: Path, folder: Path, **settings: Any) -> PeftModel:
    """An adapter that changes what the model says, saved by PEFT itself; on the model in float32."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(2)
    adapted = get_peft_model(
        model, LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **settings)
    )
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    adapted.save_pretrained(folder)
    return adapted.eval()


# an older name, which transformers 5.17 needs and peft 0.21 uses
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`", "ignore::UserWarning:peft"
)


@torch.no_grad()
def logits(model: nn.Module) -> torch.Tensor:
    ids = torch.arange(3, 43).reshape(2, 20)
    return model(input_ids=ids, use_cache=False).logits.float()


@pytest.mark.parametrize("case", CASES)
def test_a_merged_folder_holds_what_peft_merges_in_float32(case: str, tmp_path: Path) -> None:
    kind, changes, settings = CASES[case]
    if kind not in CONFIG_MAPPING:
        pytest.skip(f"this transformers does not know {kind} yet")
    base = save_model(tmp_path / "base", kind, dtype="bfloat16", **changes)
    adapted = make_adapter(base, tmp_path / "adapter", **settings)
    expected = logits(adapted)
    merged = merge(tmp_path / "adapter", tmp_path / "merged")
    theirs = adapted.merge_and_unload().to(torch.bfloat16)
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert ours.dtype == torch.bfloat16
    for name, tensor in theirs.state_dict().items():
        same = torch.allclose(
            ours.state_dict()[name].float(), tensor.float(), atol=1e-5, rtol=2**-7
        )
        assert same, name
    apart = logits(ours.float()) - expected
    assert apart.std() < 0.05 * expected.std()
    assert merged.written.typical < 0.05


def test_files_names_types_and_untouched_tensors_are_the_bases(tmp_path: Path) -> None:
    base = tmp_path / "base"
    save_model(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    (base / "model.safetensors").unlink()
    model.save_pretrained(base, max_shard_size="60KB")
    adapted = make_adapter(base, tmp_path / "adapter", target_modules=["q_proj"], use_rslora=True)
    merge(tmp_path / "adapter", tmp_path / "merged")
    shards = sorted(path.name for path in base.glob("*.safetensors"))
    assert len(shards) > 2
    assert sorted(path.name for path in (tmp_path / "merged").glob("*.safetensors")) == shards
    factors = {name: tensor.float() for name, tensor in adapted.state_dict().items()}
    for shard in shards:
        before, after = load_file(base / shard), load_file(tmp_path / "merged" / shard)
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            if "q_proj" not in name:
                assert torch.equal(after[name], tensor)
                continue
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            a, b = (factors[f"{stem}.lora_{each}.default.weight"] for each in "AB")
            by_hand = tensor.float() + 8 / 4**0.5 * (b @ a)  # arXiv 2312.03732: alpha / sqrt(r)
            torch.testing.assert_close(after[name].float(), by_hand, atol=0, rtol=2**-8)


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["embed_tokens"]},
    ],
    ids=["whole-head", "embedding"],
)
def test_a_head_that_leaves_its_embedding_gets_a_tensor_of_its_own(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    """PEFT's merge_and_unload would give the embedding's change to the head, too; the adapter does not."""
    base = save_model(tmp_path / "base", tie_word_embeddings=True)
    adapted = make_adapter(base, tmp_path / "adapter", **settings)
    expected = logits(adapted)
    merge(tmp_path / "adapter", tmp_path / "merged")
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert not ours.config.tie_word_embeddings
    torch.testing.assert_close(logits(ours), expected, atol=1e-4, rtol=0)


def test_a_few_positions_where_a_router_turned_do_not_condemn_a_mixture() -> None:
    torch.manual_seed(0)
    right = torch.randn(200, 50)
    few, all_over = right.clone(), right + 0.3 * torch.randn(200, 50)
    few[:10] += 2 * torch.randn(
        10, 50
    )  # 5 % of the positions, each twice as far away as the logits are wide
    turned = difference(few, right)
    assert turned.spread == pytest.approx(2 * 0.05**0.5, rel=0.05)
    assert turned.typical == 0
    check_sound(turned, {"BF16"}, routed=True)
    with pytest.raises(ModelError, match="mean squared"):
        check_sound(turned, {"BF16"}, routed=False)
    with pytest.raises(ModelError, match=r"median squared difference is (29|30|31)"):
        check_sound(difference(all_over, right), {"BF16"}, routed=True)


def test_an_adapter_of_another_base_is_refused_in_one_line(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    make_adapter(base, tmp_path / "adapter", target_modules=["q_proj"])
    save_model(base, hidden_size=32, tokenizer=make_tokenizer())
    with pytest.raises(ModelError, match=r"does not fit its base: .*lora_A") as error:
        merge(tmp_path / "adapter", tmp_path / "merged")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "merged").exists()
