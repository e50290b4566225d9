"""Model types whose configs have names of their own, and configs whose fields hold what they cannot; expected values are transformers'."""

from typing import Any

import pytest
import torch
from machines import CPU, LLAMA_7B, LLAMA_7B_CONFIG, gpu, make_recipe
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

from xtune.errors import ModelError, RecipeError
from xtune.memory import ModelShape
from xtune.plan.resolve import decide

OLD_TYPES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 256, "n_head": 4, "n_layer": 3},
    "bloom": {"hidden_size": 256, "n_head": 4, "n_layer": 3},
    "falcon": {"hidden_size": 256, "num_attention_heads": 4, "num_hidden_layers": 3, "ffn_hidden_size": 1024},
    "opt": {"hidden_size": 256, "num_attention_heads": 4, "num_hidden_layers": 3, "ffn_dim": 1024, "word_embed_proj_dim": 256},
    "gptj": {"n_embd": 256, "n_head": 4, "n_layer": 3, "rotary_dim": 16},
    "gpt_neo": {"hidden_size": 256, "num_heads": 4, "num_layers": 3, "attention_types": [[["global"], 3]]},
    "gpt_bigcode": {"n_embd": 256, "n_head": 4, "n_layer": 3},
    "codegen": {"n_embd": 256, "n_head": 4, "n_layer": 3, "rotary_dim": 16},
    "mpt": {"d_model": 256, "n_heads": 4, "n_layers": 3},
    "xglm": {"d_model": 256, "attention_heads": 4, "num_layers": 3, "ffn_dim": 1024},
}  # fmt: skip


@pytest.mark.parametrize("kind", OLD_TYPES)
def test_configs_with_names_of_their_own_are_read(kind: str) -> None:
    """As for a Llama, whose feed-forward block has a gate: of transformers' own parameters none is missing, and no half too many."""
    config = CONFIG_MAPPING[kind](vocab_size=5000, **OLD_TYPES[kind])
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    written = {key: value for key, value in config.to_dict().items() if value is not None}
    written.pop("tie_word_embeddings")  # published configs leave it out
    shape = ModelShape.from_config(written)
    real = sum(each.numel() for each in model.parameters())
    assert not shape.known
    assert real <= shape.parameters <= 1.5 * real


def test_attention_is_what_transformers_runs() -> None:
    for kind, sizes in OLD_TYPES.items():
        config = CONFIG_MAPPING[kind](vocab_size=5000, **sizes)
        plan, _, _ = decide(make_recipe("lora"), CPU, ModelShape.from_config(config.to_dict()))
        with torch.device("meta"):
            AutoModelForCausalLM.from_config(config, attn_implementation=plan.attention.value)


def test_what_bitsandbytes_does_not_replace_is_not_planned_quantised() -> None:
    """Falcon's linear layers are a class of its own, and `replace_with_bnb_linear` takes torch's alone."""
    shape = ModelShape.from_config(
        {"model_type": "falcon", **OLD_TYPES["falcon"], "vocab_size": 500}
    )
    with pytest.raises(RecipeError, match="`method: lora`"):
        decide(make_recipe("qlora"), gpu(8), shape)
    assert decide(make_recipe("lora"), gpu(8), shape)[1].fits


def test_layers_that_cannot_be_cut_are_not_planned_frugal() -> None:
    """BLOOM's attention is code of its own: the run would compute whole layers, with whole layers' memory."""
    shape = ModelShape.from_config({"model_type": "bloom", **OLD_TYPES["bloom"], "vocab_size": 500})
    with pytest.raises(RecipeError, match="Leave it out"):
        decide(make_recipe("lora", memory__frugal_layers=True), gpu(8), shape)


def test_targets_of_a_type_without_known_names_are_counted_as_every_layer() -> None:
    shape = ModelShape.from_config({**OLD_TYPES["gpt2"], "model_type": "gpt2", "vocab_size": 500})

    def adapter(targets: list[str]) -> int:
        recipe = make_recipe({"type": "lora", "targets": targets})
        return decide(recipe, gpu(8), shape)[1].predicted.items["adapter"]

    assert adapter(["c_attn"]) == adapter(["all-linear"]) > 0


@pytest.mark.parametrize(
    ("targets", "linears"),
    [
        (["layers.31.mlp.down_proj"], 1),
        (["model.layers.31.mlp.down_proj", "30.mlp.down_proj", "layers.31.mlp.down_proj"], 2),
        (["layers.3.mlp.down_proj", "down_proj"], 32),
    ],
)
def test_targets_in_single_layers_are_counted_there(targets: list[str], linears: int) -> None:
    """An adapter of rank 16 beside a matrix of 11008 by 4096: 16 numbers for each of both."""
    assert LLAMA_7B.lora_parameters(16, tuple(targets)) == linears * 16 * (11008 + 4096)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("mistral", "sliding_window", "x"),
        ("mistral", "sliding_window", 4096.0),
        ("llama", "max_position_embeddings", "4096"),
        ("llama", "tie_word_embeddings", "no"),
        ("llama", "attention_bias", 1),
        ("llama", "attention_dropout", "x"),
        ("llama", "hidden_act", 5),
        ("qwen3", "layer_types", "x"),
        ("qwen2", "max_window_layers", "x"),
        ("gemma2", "attn_logit_softcapping", "x"),
        ("deepseek_v3", "q_lora_rank", "x"),
        ("phi", "resid_pdrop", "x"),
        ("gemma3", "text_config", "x"),
    ],
)
def test_fields_that_hold_what_they_cannot_are_named(kind: str, field: str, value: object) -> None:
    """Those that transformers' strict config classes refuse, too."""
    with pytest.raises(Exception, match=field if field != "text_config" else "text_config"):
        AutoConfig.for_model(kind, **{field: value})
    with pytest.raises(ModelError, match=f"`{field}` is {value!r}, not "):
        ModelShape.from_config({**LLAMA_7B_CONFIG, "model_type": kind, field: value})
