"""A decoder-only model's config.json, read into the fields of a `ModelShape`; nothing is counted here."""

from collections.abc import Mapping
from typing import Any

from xtune.errors import ModelError
from xtune.memory.config_fields import TIED, ill_typed, no_objects, shortened, with_usual_names
from xtune.memory.config_names import (
    DENSE_FIRST,
    EXPERT_COUNTS,
    EXPERTS_PER_TOKEN,
    MOST_VISITED,
    SHARED_COUNTS,
    read_activation,
)
from xtune.memory.dropouts import read_dropouts
from xtune.memory.eyes import read_eyes
from xtune.memory.families import FAMILIES
from xtune.memory.family import Family, Norms
from xtune.memory.latent import read_latent
from xtune.memory.recurrent import read_recurrent

MOST_LAYERS = 10_000
"""Some eighty times as many as the deepest models have (126: Llama-3.1-405B); layers are looked at one by one."""

LARGEST_SIZE = 10**8
"""Of any size in a config.json: hundreds of times the largest vocabulary of November 2026, so that what follows from it is a number that can be said."""

EXPERT_STEPS = ("decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval")
"""What they call the number of layers of which one has experts."""

LOGIT_SCALES = ("logits_scaling", "logit_scale", "lm_head_multiplier")
"""What configs call the number that logits are multiplied by, or divided."""

QWEN_WINDOWLESS = 28
"""Layers of Qwen that have no window even where it is on, unless their config says otherwise; the same."""

SMOLLM3_INTERVAL = 4
"""Every so many layers of SmolLM3 one has no rotary positions, and a window if there is one; the same."""


def read_sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config.json as a dict says of the fields of a `ModelShape`; a nested `text_config` is looked into.

    Raises:
        ModelError: Fields are missing or make no sense; all of them are named.
    """
    model_type, fields = _fields(config)
    if model_type not in FAMILIES:
        fields = with_usual_names(model_type, fields)
    family = FAMILIES.get(model_type) or _unknown_family(model_type, fields)
    reader = Fields(model_type, {**(family.defaults or {}), **fields})
    reader.problems += ill_typed(reader.fields, strictly=model_type in FAMILIES)
    reader.problems += no_objects(config)
    hidden, heads = reader.size("hidden_size"), reader.size("num_attention_heads")
    layers, vocab = reader.size("num_hidden_layers"), reader.size("vocab_size")
    reader.check(
        layers <= MOST_LAYERS, f"`num_hidden_layers` is above {MOST_LAYERS:,}, which no model's is"
    )
    layers = min(layers, MOST_LAYERS)
    latent, parallel = read_latent(reader.fields), _parallel(reader.fields, family)
    sizes: dict[str, Any] = {
        "model_type": model_type,
        "latent": latent,
        **_recurrent(reader.fields, hidden, heads * _head_dim(reader, hidden, heads), model_type),
        "known": model_type in FAMILIES and not family.remote,
        "remote": family.remote,
        "layers": layers,
        "hidden": hidden,
        "heads": heads,
        "kv_heads": heads if latent else reader.optional_size("num_key_value_heads") or heads,
        "head_dim": _head_dim(reader, hidden, heads),
        "vocab": vocab,
        "tied": _tied(config, fields, family),
        "norms": 1 if parallel and model_type == "stablelm" else family.norms,
        "norm": family.norm,
        "parallel": parallel,
        "partial_rotary": family.partial_rotary,
        "query_key_norm": _query_key_norm(reader.fields, family),
        "head_bias": family.head_bias,
        "gated": family.gated,
        "fused_qkv": family.fused_qkv,
        "fused_gate_up": family.fused_gate_up,
        "max_positions": _max_positions(fields),
        "stored_dtype": _dtype(config, fields),
        "dropouts": read_dropouts(reader.fields),
        **_windows(reader.fields, model_type, layers),
        "caps_scores": bool(reader.fields.get("attn_logit_softcapping")),
        "caps_logits": bool(reader.fields.get("final_logit_softcapping")),
        **read_activation(reader.fields, known=model_type in FAMILIES),
        "scales_logits": any((reader.fields.get(name) or 1.0) != 1.0 for name in LOGIT_SCALES),
        **_layer_inputs(reader, layers),
        **_feed_forward(reader, family, layers),
        **_biases(reader.fields, family),
        **read_eyes(config, hidden),
    }
    reader.check(
        not sizes["kv_heads"] or heads % sizes["kv_heads"] == 0,
        "`num_attention_heads` is no multiple of `num_key_value_heads`",
    )
    reader.finish()
    return sizes


class Fields:
    """Reads positive whole numbers from a config and collects everything that is wrong with it."""

    def __init__(self, model_type: str, fields: Mapping[str, Any]) -> None:
        self.model_type = model_type
        self.fields = fields
        self.problems: list[str] = []

    def size(self, name: str) -> int:
        """A field that must be there."""
        if self.fields.get(name) is None:
            self.problems.append(f"`{name}` is missing")
            return 0
        return self.optional_size(name)

    def optional_size(self, *names: str) -> int:
        """The first of the fields that is there, else 0."""
        for name in names:
            value = self.fields.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                self.problems.append(f"`{name}` is {shortened(value)}, not a whole number above 0")
                return 0
            if value > LARGEST_SIZE:
                self.problems.append(f"`{name}` is above {LARGEST_SIZE:,}, which no model's is")
                return 0
            return value
        return 0

    def check(self, holds: bool, what: str) -> None:
        """Note a problem unless the condition holds."""
        if not holds:
            self.problems.append(what)

    def finish(self) -> None:
        """Stop with everything that was found.

        Raises:
            ModelError: There was a problem.
        """
        if self.problems:
            name = f" of type `{self.model_type}`" if self.model_type else ""
            raise ModelError(
                f"The config.json{name} does not give the sizes of a causal language model: "
                f"{'; '.join(dict.fromkeys(self.problems))}.",
                advice="If it is one (Llama, Qwen, Mistral, Gemma, Phi ...), fetch the file again.",
            )


def _fields(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Model type and fields of the language model: of `text_config` where there is one."""
    text = config.get("text_config")
    if not isinstance(text, Mapping):
        return str(config.get("model_type") or ""), config
    outer = str(config.get("model_type") or "")
    # Gemma 3's first configs carry no model_type inside text_config.
    return str(
        text.get("model_type") or (f"{outer}_text" if f"{outer}_text" in FAMILIES else outer)
    ), text


def _unknown_family(model_type: str, fields: Mapping[str, Any]) -> Family:
    """What to take for a model type that is not in the table: a Llama, with experts if the config has any."""
    has_experts = any(fields.get(name) for name in EXPERT_COUNTS)
    names = ("moe_intermediate_size", "intermediate_size")
    width = next((name for name in names if fields.get(name)), names[-1])
    return Family(tied=model_type in TIED, mlp_bias=None, expert_width=width if has_experts else "")


def _feed_forward(reader: Fields, family: Family, layers: int) -> dict[str, Any]:
    """The width of a dense block (0 where a mixture model has none), and of a mixture its experts."""
    if not family.expert_width:
        return {"intermediate": _adjusted(reader.fields, reader.size("intermediate_size"))}
    experts, width = reader.optional_size(*EXPERT_COUNTS), reader.size(family.expert_width)
    reader.check(experts > 0, "`num_experts` is missing")
    dense = _dense_layers(reader.fields, family, layers)
    shared = 0 if reader.model_type in FAMILIES else _shared_experts(reader, width)
    beside = (
        reader.optional_size(family.shared_width) if reader.fields.get(family.shared_width) else 0
    )
    beside *= width if family.shared_width in SHARED_COUNTS else 1
    return {
        "intermediate": max(
            reader.optional_size(name) for name in ("intermediate_size", "intermediate_size_mlp")
        ),
        "experts": experts + shared,
        "expert_intermediate": width,
        "experts_per_token": _visited(reader, experts) + shared,
        "shared_intermediate": beside,
        "shared": family.shared if beside else "none",
        "expert_layers": layers - len(dense),
        "dense_at": dense if len(dense) < layers else (),
    }


def _adjusted(fields: Mapping[str, Any], width: int) -> int:
    """The width of LFM2's block, of which two thirds are taken, times a number, and filled up (transformers 5.23, `Lfm2MLP`); of Gemma 4's widest."""
    width *= 2 if fields.get("use_double_wide_mlp") else 1
    if not fields.get("block_auto_adjust_ff_dim"):
        return width
    taken, factor = int(2 * width / 3), fields.get("block_ffn_dim_multiplier", 1.0)
    if not isinstance(factor, int | float):
        return taken
    multiple = _count(fields, "block_multiple_of") or 256
    return -(-int(factor * taken) // multiple) * multiple


def _layer_inputs(reader: Fields, layers: int) -> dict[str, int]:
    """Tables that give every layer an input of its own."""
    vocab, width = (
        reader.fields.get(f"{name}_per_layer_input") for name in ("vocab_size", "hidden_size")
    )
    if not vocab or not width:
        return {}
    vocab, width = (
        reader.size(f"{name}_per_layer_input") for name in ("vocab_size", "hidden_size")
    )
    return {"layer_inputs": layers * width, "layer_input_vocab": vocab}


def _shared_experts(reader: Fields, width: int) -> int:
    """Experts that every token visits, as so many of the others' width."""
    shared = reader.optional_size("shared_expert_intermediate_size", "shared_intermediate_size")
    counts = [_listed(reader.fields.get(name)) for name in SHARED_COUNTS]
    shared = shared or width * max(counts)
    if "interleave_moe_layer_step" in reader.fields:  # Llama 4 has one without a word
        shared = max(shared, width)
    if reader.fields.get("enable_moe_block"):  # Gemma 4 has its dense block beside them
        shared += reader.optional_size("intermediate_size")
    return -(-shared // width) if width else 0


def _visited(reader: Fields, experts: int) -> int:
    """Experts that a token visits; of Llama 4 all, as transformers 5.23 multiplies every token by each, and a quarter more for what that keeps."""
    if "interleave_moe_layer_step" in reader.fields:
        return experts + -(-experts // 4)
    said = next((n for n in (_listed(reader.fields.get(x)) for x in EXPERTS_PER_TOKEN) if n), 0)
    return said or min(MOST_VISITED, experts)


def _listed(value: object) -> int:
    """A whole number, or the largest of a list that has one for each layer; 0 where there is none."""
    every = value if isinstance(value, list) else [value]
    return max((n for n in every if isinstance(n, int) and not isinstance(n, bool)), default=0)


def _head_dim(reader: Fields, hidden: int, heads: int) -> int:
    """Width of a head; of latent attention (DeepSeek) that of its queries, as if keys and values were as wide."""
    if reader.fields.get("qk_nope_head_dim") and reader.fields.get("qk_rope_head_dim"):
        return sum(reader.optional_size(f"qk_{part}_head_dim") for part in ("nope", "rope"))
    own = reader.optional_size("head_dim") or (hidden // heads if heads else 0)
    # Gemma 4's layers without a window have wider heads, which are taken for all of them
    layers = reader.fields.get("per_layer_config")
    wider = [
        _listed(each.get("head_dim"))
        for each in (layers if isinstance(layers, dict) else {}).values()
        if isinstance(each, dict)
    ]
    return max(own, reader.optional_size("global_head_dim"), *wider)


def _recurrent(
    fields: Mapping[str, Any], hidden: int, heads_width: int, model_type: str
) -> dict[str, int]:
    """Recurrent layers, of which no type that is known has any."""
    return {} if model_type in FAMILIES else read_recurrent(fields, hidden, heads_width)


def _biases(fields: Mapping[str, Any], family: Family) -> dict[str, bool]:
    """Which linear layers have biases: as the family says, else as the config does."""
    # InternLM and StarCoder2 have names of their own
    attention = _first(fields, *family.bias_fields)
    output = _first(fields, "attention_out_bias", *family.bias_fields)
    mlp = _first(fields, *family.mlp_bias_fields)
    return {
        "query_bias": attention if family.query_bias is None else family.query_bias,
        "output_bias": output if family.output_bias is None else family.output_bias,
        "mlp_bias": mlp if family.mlp_bias is None else family.mlp_bias,
    }


def _query_key_norm(fields: Mapping[str, Any], family: Family) -> Norms:
    """Norms on queries and keys: as the family has them, or those that it may have, if its config wants them."""
    wanted = fields.get("qk_layernorm") or fields.get("use_qk_norm")
    return family.optional_norm if wanted else family.query_key_norm


def _parallel(fields: Mapping[str, Any], family: Family) -> bool:
    """Whether both blocks read the same states: as a config says (GPT-NeoX's, StableLM's), else as the family has it."""
    said = fields.get("use_parallel_residual")
    return family.parallel if said is None else bool(said)


def _first(fields: Mapping[str, Any], *names: str) -> bool:
    """The first of the switches that is there; off if none is."""
    return bool(next((fields[name] for name in names if fields.get(name) is not None), False))


def _tied(config: Mapping[str, Any], fields: Mapping[str, Any], family: Family) -> bool:
    for source in (fields, config):
        if source.get("tie_word_embeddings") is not None:
            return bool(source["tie_word_embeddings"])
    return family.tied


def _max_positions(fields: Mapping[str, Any]) -> int | None:
    """The longest context that the config promises; what is no length promises nothing."""
    most = fields.get("max_position_embeddings")
    return most if isinstance(most, int) and most > 0 else None


def _dtype(config: Mapping[str, Any], fields: Mapping[str, Any]) -> str | None:
    for source in (fields, config):
        for key in ("dtype", "torch_dtype"):  # transformers 5 writes dtype, 4 wrote torch_dtype
            name = str(source.get(key) or "").removeprefix("torch.")
            if name in {"bfloat16", "float16", "float32"}:
                return name
    return None


def _windows(fields: Mapping[str, Any], model_type: str, layers: int) -> dict[str, int | None]:
    """The window of the layers that have one, and how many have; of a model type that is not known that is not known either."""
    window = fields.get("sliding_window")
    if not isinstance(window, int) or isinstance(window, bool) or window < 1:
        return {"sliding_window": None, "windowed_layers": 0}
    windowed = _windowed_layers(fields, model_type, layers)
    return {"sliding_window": None if windowed == 0 else window, "windowed_layers": windowed}


def _windowed_layers(fields: Mapping[str, Any], model_type: str, layers: int) -> int | None:
    """As `layer_types` say, or as transformers 5.23 fills them in; Qwen's configs name a window that is off unless they say otherwise."""
    if model_type in {"ministral3", "mistral", "mixtral", "phi3", "starcoder2"}:
        return layers
    if model_type in {"qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3"} and not fields.get(
        "use_sliding_window"
    ):
        return 0
    if model_type == "qwen3_moe":
        return layers
    kinds = fields.get("layer_types")
    if isinstance(kinds, list) and kinds:
        return kinds[:layers].count("sliding_attention")
    if model_type in {"qwen2", "qwen2_moe", "qwen3", "dots1"}:
        first = _count(fields, "max_window_layers")
        return max(0, layers - (QWEN_WINDOWLESS if first is None else first))
    if model_type == "smollm3":
        rotated = fields.get("no_rope_layers")
        every = _count(fields, "no_rope_layer_interval") or SMOLLM3_INTERVAL
        return rotated[:layers].count(0) if isinstance(rotated, list) else layers // every
    if model_type not in FAMILIES:
        return None
    every = _count(fields, "sliding_window_pattern") or FAMILIES[model_type].windowless_every
    return layers - (layers // every if every else 0)


def _count(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    return value if isinstance(value, int) and value >= 0 else None


def _dense_layers(fields: Mapping[str, Any], family: Family, layers: int) -> tuple[int, ...]:
    """Layers of a mixture without experts: none of Mixtral's, and by the rules of Qwen's and DeepSeek's configs elsewhere."""
    if family.expert_width != "moe_intermediate_size" and family in FAMILIES.values():
        return ()
    step = max(_count(fields, name) or 0 for name in EXPERT_STEPS)
    every, named = step or 1, fields.get("mlp_only_layers")
    named = named if isinstance(named, list) else []
    first = max(_count(fields, name) or 0 for name in DENSE_FIRST)
    return tuple(
        each for each in range(layers) if (each + 1) % every or each < first or each in named
    )
