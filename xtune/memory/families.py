"""What each model type does that its config.json leaves unsaid, and the reading of its fields; no sizes are worked out here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from xtune.errors import ModelError

Norms: TypeAlias = Literal["none", "head", "full"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """What a model type does in its layers that its config.json does not say, or may leave out."""

    tied: bool = False
    """Whether head and embedding are one matrix when the config is silent."""

    norms: int = 2
    """Norms over the hidden size in each layer."""

    query_key_norm: Norms = "none"
    """Norms on queries and keys: over one head, or over all heads together."""

    query_bias: bool | None = None
    """Bias on the query, key and value projections; None: the config's `attention_bias`."""

    output_bias: bool | None = None
    """Bias on the attention's output projection; None: the config's `attention_bias`."""

    mlp_bias: bool | None = False
    """Bias on the feed-forward block's linear layers; None: the config's `mlp_bias`."""

    fused: bool = False
    """Query, key and value are one linear layer, and gate and up another."""

    window_is_optional: bool = False
    """Whether `sliding_window` counts only where `use_sliding_window` is on."""

    expert_width: str = ""
    """The field with the width of one expert, where layers are mixtures of experts."""

    defaults: Mapping[str, Any] | None = None
    """Fields that published configs leave out, with the values of transformers 5.23's config class."""


FAMILIES: Mapping[str, Family] = {
    "llama": Family(mlp_bias=None),
    "mistral": Family(
        query_bias=False,
        output_bias=False,
        defaults={"num_key_value_heads": 8, "sliding_window": 4096},
    ),
    "mixtral": Family(
        query_bias=False,
        output_bias=False,
        expert_width="intermediate_size",
        defaults={"num_key_value_heads": 8},
    ),
    "granite": Family(mlp_bias=None),
    "qwen2": Family(query_bias=True, output_bias=False, window_is_optional=True),
    "qwen3": Family(query_key_norm="head", window_is_optional=True, defaults={"head_dim": 128}),
    "qwen3_moe": Family(
        query_key_norm="head", window_is_optional=True, expert_width="moe_intermediate_size"
    ),
    "smollm3": Family(tied=True, mlp_bias=None, window_is_optional=True),
    "internlm3": Family(mlp_bias=None, defaults={"num_key_value_heads": 2, "head_dim": 128}),
    "olmo2": Family(query_key_norm="full"),
    "gemma": Family(tied=True, defaults={"head_dim": 256}),
    "gemma2": Family(
        tied=True,
        norms=4,
        defaults={
            "head_dim": 256,
            "num_key_value_heads": 4,
            "sliding_window": 4096,
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
        },
    ),
    "gemma3_text": Family(
        tied=True,
        norms=4,
        query_key_norm="head",
        defaults={
            "head_dim": 256,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "vocab_size": 262_208,
            "sliding_window": 4096,
        },
    ),
    "phi3": Family(query_bias=False, output_bias=False, fused=True),
}
"""Model types whose counts the tests compare with transformers, parameter by parameter."""


FUSED_ACTIVATIONS = frozenset(
    ["gelu", "gelu_pytorch_tanh", "hardswish", "leaky_relu", "linear", "mish", "relu", "relu6", "sigmoid", "silu", "swish", "tanh"]
)  # fmt: skip
"""Activations that are one operation of torch's (`transformers.activations.ACT2CLS`, 5.23)."""


def composed_activation(fields: Mapping[str, Any], *, known: bool) -> bool:
    """Whether the activation is none of those; where no field names it, for a type of which nothing is known."""
    names = ("hidden_activation", "hidden_act", "activation_function", "hidden_activation_function")
    named = next((fields[name] for name in names if isinstance(fields.get(name), str)), None)
    return not known if named is None else named not in FUSED_ACTIVATIONS


EXPERT_COUNTS = (
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "num_routed_experts",
    "moe_num_experts",
)
"""What configs call the number of a layer's experts."""


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
                self.problems.append(f"`{name}` is {value!r}, not a whole number above 0")
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
                f"The config.json{name} does not describe a decoder-only language model: "
                f"{'; '.join(dict.fromkeys(self.problems))}.",
                advice="xtune trains causal language models (Llama, Qwen, Mistral, Gemma, Phi-3 ...).",
            )
