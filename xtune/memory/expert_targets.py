"""Which parts of a mixture of experts PEFT gives adapters; counts nothing.

transformers 5 holds the experts of a layer as parameters of three dimensions, in which the name of a linear layer finds nothing. Of
the model types below PEFT 0.21 translates the names that gate, up and down of each expert had before (`_convert_peft_config_moe`,
peft/utils/transformers_weight_conversion.py), whether they are asked for one by one or as `all-linear`. Gate and up are one parameter,
adapted with twice the rank; one of them alone is refused. A name that is translated names nothing else: a dense block or a shared
expert, whose linear layers have the same names, gets no adapter.
"""

from collections.abc import Iterable
from dataclasses import dataclass

QWEN_NAMES = ("gate_proj", "up_proj", "down_proj")
MIXTRAL_NAMES = ("w1", "w3", "w2")

TRANSLATED = {
    **dict.fromkeys(("mixtral", "minimax", "minimax_m2"), MIXTRAL_NAMES),
    **dict.fromkeys(
        (
            "afmoe", "cohere2_moe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots1", "ernie4_5_moe", "exaone_moe", "flex_olmo",
            "glm4_moe", "glm4_moe_lite", "glm4v_moe", "glm_moe_dsa", "hunyuan_v1_moe", "longcat_flash", "mellum", "olmoe", "qwen3_moe",
            "qwen3_next", "solar_open",
        ),
        QWEN_NAMES,
    ),
}  # fmt: skip
"""Names of gate, up and down by model type, where PEFT translates them."""

PLAIN_EXPERTS = frozenset({"qwen2_moe", "granitemoe", "granitemoeshared", "gpt_oss", "phimoe"})
"""Model types of which it does not, so that their experts stay as they are; of all others they may be adapted."""


@dataclass(frozen=True, kw_only=True)
class ExpertTargets:
    """What of the experts of a layer has adapters."""

    gate_and_up: bool = False
    down: bool = False
    router: bool = False

    @property
    def any_matrix(self) -> bool:
        """Whether the experts themselves have."""
        return self.gate_and_up or self.down


def expert_targets(model_type: str, targets: Iterable[str]) -> ExpertTargets:
    """What the targets of an adapter reach of a mixture's experts: names, name endings, or `all-linear`."""
    if model_type in PLAIN_EXPERTS:
        return ExpertTargets()
    ends = {target.rpartition(".")[2] for target in targets}
    if "all-linear" in ends:
        return ExpertTargets(gate_and_up=True, down=True, router=True)
    named = (TRANSLATED[model_type],) if model_type in TRANSLATED else (QWEN_NAMES, MIXTRAL_NAMES)
    gates = {name for gate, up, _ in named for name in (gate, up)}
    downs = {down for *_, down in named}
    return ExpertTargets(
        gate_and_up=not ends.isdisjoint(gates),
        down=not ends.isdisjoint(downs),
        router="gate" in ends,
    )


def is_translated(model_type: str, name: str) -> bool:
    """Whether a name means experts of this model type, and no linear layer."""
    return name in TRANSLATED.get(model_type, ())
