"""What the code of a model type does that no size tells; counts nothing."""

from xtune.memory.families import Norms, Shared
from xtune.memory.plain_heads import PLAIN_HEADS


class Traits:
    """Of a `ModelShape`, by its type."""

    model_type: str
    norms: int
    query_key_norm: Norms
    shared: Shared
    known: bool
    remote: bool

    @property
    def is_counted(self) -> bool:
        """Whether every parameter is known, so that there are no norms but those that are counted."""
        return self.known or self.remote

    @property
    def ends_plainly(self) -> bool:
        """Whether it is known how the model ends, so that its loss is computed in chunks and not from the logits of all tokens."""
        return self.model_type in PLAIN_HEADS

    @property
    def float32_norms(self) -> bool:
        """Whether a norm multiplies by its weight in float32, as Gemma, OLMo 2 and gpt-oss do."""
        return self.model_type.startswith(("gemma", "olmo2", "gpt_oss"))

    @property
    def float32_rotary(self) -> bool:
        """Whether cosines and sines stay in float32, as OLMo 2's do."""
        return self.model_type == "olmo2"

    @property
    def has_sinks(self) -> bool:
        """Whether each head has a score that stands for no value, and experts have biases and clamped gates: gpt-oss."""
        return self.model_type == "gpt_oss"

    @property
    def has_wide_routes(self) -> bool:
        """Whether routes stay in float32; assumed of model types that are not known."""
        types = {"mixtral", "hunyuan_v1_moe"}
        return self.model_type in types or self.reads_routes_in_float32 or not self.known

    @property
    def reads_routes_in_float32(self) -> bool:
        """Whether a router reads a float32 copy, as DeepSeek's does."""
        return self.shared == "after"

    @property
    def narrows_routes(self) -> bool:
        """Whether routes have the type of the router's product, which autocast makes narrow: DeepSeek 3's, which are no softmax."""
        return self.reads_routes_in_float32 and self.model_type != "deepseek_v2"

    @property
    def norms_before(self) -> bool:
        """Whether attention and feed-forward block read normalised states."""
        return self.model_type != "olmo2"

    @property
    def norms_after(self) -> bool:
        """Whether what they give is normalised; of a type that is not known it may be, as GLM 4's is, and no field says so."""
        return self.norms > 2 or self.model_type == "olmo2" or not self.is_counted

    @property
    def normalises_last(self) -> bool:
        """Whether queries and keys are normalised when all three are projected, and not each as it is."""
        return self.model_type == "gemma3_text"

    @property
    def may_normalise_heads(self) -> bool:
        """Whether there are norms on queries and keys, or may be for all that is known of the type."""
        return self.query_key_norm != "none" or not self.is_counted
