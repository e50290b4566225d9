"""The fields of a config.json by the names that a shape reads, and what is wrong with their types; counts nothing."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "hidden_size": ("n_embd", "n_embed", "d_model"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads", "attention_heads"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "num_key_value_heads": ("num_kv_heads",),
    "intermediate_size": ("n_inner", "ffn_dim", "ffn_hidden_size"),
    "max_position_embeddings": ("n_positions", "max_seq_len"),
}
"""What GPT-2's, BLOOM's, Falcon's, OPT's and MPT's configs and those after them call the fields of Llama's (transformers 5.23)."""

FOURFOLD = frozenset(
    {"gpt2", "bloom", "falcon", "gptj", "gpt_neo", "gpt_bigcode", "codegen", "mpt"}
)
"""Model types whose feed-forward block is four times as wide as the hidden states where no field says how wide."""

TIED = frozenset({"gpt2", "bloom", "falcon", "opt", "gpt_neo", "gpt_bigcode", "mpt", "xglm"})
"""Those whose head is the embedding matrix where no field says so."""

_WHOLE = (
    "sliding_window", "max_position_embeddings", "max_window_layers", "decoder_sparse_step", "interleave_moe_layer_step",
    "first_k_dense_replace", "no_rope_layer_interval", "q_lora_rank", "kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim",
    "v_head_dim", "num_experts_per_tok",
)  # fmt: skip
_SWITCHES = (
    "tie_word_embeddings", "attention_bias", "mlp_bias", "bias", "qkv_bias", "use_bias", "use_qk_norm", "qk_layernorm",
    "use_sliding_window",
)  # fmt: skip
_NUMBERS = (
    "resid_pdrop", "embd_pdrop", "attention_dropout", "residual_dropout", "embedding_dropout", "logits_scaling",
    "attn_logit_softcapping", "final_logit_softcapping",
)  # fmt: skip

_Kind = tuple[str, tuple[str, ...], Callable[[Any], bool]]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


KINDS: tuple[_Kind, ...] = (
    ("a whole number", _WHOLE, _is_whole),
    ("true or false", _SWITCHES, lambda value: isinstance(value, bool)),
    ("a number", _NUMBERS, lambda value: _is_whole(value) or isinstance(value, float)),
    ("a list", ("layer_types", "mlp_only_layers", "no_rope_layers"), lambda value: isinstance(value, list)),
    ("a text", ("hidden_act", "hidden_activation"), lambda value: isinstance(value, str)),
)  # fmt: skip
"""What transformers' strict configs let stand in the fields that a shape reads, beside null."""


def with_usual_names(model_type: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a type of which no names are known, by Llama's names where they have others."""
    usual: dict[str, Any] = {}
    for name, others in SYNONYMS.items():
        if fields.get(name) is None:
            found = next((fields[each] for each in others if fields.get(each) is not None), None)
            usual |= {} if found is None else {name: found}
    hidden = usual.get("hidden_size", fields.get("hidden_size"))
    wide = usual.get("intermediate_size", fields.get("intermediate_size"))
    if model_type in FOURFOLD and wide is None and isinstance(hidden, int):
        usual["intermediate_size"] = 4 * hidden
    shares = model_type in {"falcon", "gpt_bigcode"} and fields.get("multi_query", True)
    if shares and not fields.get("new_decoder_architecture"):
        usual["num_key_value_heads"] = 1
    return {**fields, **usual}


def ill_typed(fields: Mapping[str, Any], *, strictly: bool) -> Iterator[str]:
    """A clause for each field that holds what it cannot; of a type that is not known texts alone are known to be wrong."""
    for kind, names, is_right in KINDS:
        for name in names:
            value = fields.get(name)
            wrong = value is not None and not is_right(value)
            if wrong and (strictly or (isinstance(value, str) and kind != "a list")):
                yield f"`{name}` is {shortened(value)}, not {kind} or null"


def no_objects(config: Mapping[str, Any]) -> Iterator[str]:
    """A clause for each half of a model that is no object."""
    for name in ("text_config", "vision_config"):
        if not isinstance(config.get(name), Mapping | None):
            yield f"`{name}` is {shortened(config[name])}, not an object or null"


def shortened(value: object) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]} ..."
