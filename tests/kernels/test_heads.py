"""Every architecture in the table, compared with its own forward."""

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

from xtune.kernels.heads import PLAIN_HEADS, find_head, hidden_states

SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "intermediate_size": 48, "vocab_size": 96, "max_position_embeddings": 64, "n_embd": 32, "n_layer": 2, "n_head": 4,
    "n_positions": 64, "n_inner": 48, "d_model": 32, "n_layers": 2, "n_heads": 4, "num_layers": 2, "ffn_dim": 48,
    "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False,
}  # fmt: skip
SCALES = ("final_logit_softcapping", "logits_scaling", "logit_scale")

# settings that must agree with one another
OWN = {
    "deepseek_v2": {"num_key_value_heads": 4, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "q_lora_rank": 8, "kv_lora_rank": 8, "head_dim": 8, "n_group": 1, "topk_group": 1},
    "deepseek_v3": {"num_key_value_heads": 4, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "q_lora_rank": 8, "kv_lora_rank": 8, "head_dim": 8, "n_group": 2, "topk_group": 1},
    "dots1": {"n_group": 2, "topk_group": 1, "n_shared_experts": 1, "routed_scaling_factor": 1.0},
    "falcon": {"head_dim": None},
    "gemma3": {"text_config": {**SIZES, "sliding_window": 4}, "vision_config": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24, "image_size": 28}},
    "gptj": {"rotary_dim": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"mamba_n_heads": 8, "mamba_d_head": 8, "layer_types": ["attention", "attention"]},
}  # fmt: skip


# transformers 5.17 scripts a function of gpt_bigcode, which torch 2.13 deprecates
@pytest.mark.filterwarnings(r"ignore:`torch\.jit\.script`:DeprecationWarning")
@pytest.mark.parametrize("kind", sorted(PLAIN_HEADS))
def test_backbone_head_and_transform_give_the_models_own_logits(kind: str) -> None:
    if kind not in CONFIG_MAPPING:
        pytest.skip(f"this transformers does not know {kind}")
    known = AutoConfig.for_model(kind)
    wanted = {**SIZES, **OWN.get(kind, {})}
    settings = {
        key: value for key, value in wanted.items() if value is not None and hasattr(known, key)
    }
    config = AutoConfig.for_model(kind, **settings)
    for name in SCALES:
        if getattr(config, name, None) is not None:
            setattr(config, name, 1.7)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.05)
        ids = torch.randint(3, 90, (2, 11))
        expected = model(input_ids=ids, use_cache=False).logits.float()
        head = find_head(model)
        assert head is not None
        hidden = hidden_states(head.backbone, ids, use_cache=False)
        actual = head.transform(head.layer(hidden).float())
    assert expected.std() > 0.05
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_an_architecture_outside_the_table_is_left_to_its_own_forward() -> None:
    config = AutoConfig.for_model(
        "nanochat",
        **{
            key: SIZES[key]
            for key in (
                "hidden_size",
                "vocab_size",
                "num_hidden_layers",
                "intermediate_size",
                "num_attention_heads",
                "num_key_value_heads",
                "pad_token_id",
                "bos_token_id",
                "eos_token_id",
            )
        },
    )
    assert find_head(AutoModelForCausalLM.from_config(config)) is None
