"""What the code of a model type does that no size tells; counts nothing."""

from xtune.memory.families import FAMILIES, UNKNOWN
from xtune.memory.family import Family, Norms
from xtune.memory.plain_heads import PLAIN_HEADS


class Traits:
    """Of a `ModelShape`, by its type."""

    model_type: str
    norms: int
    query_key_norm: Norms
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
    def family(self) -> Family:
        """What is known of its type."""
        return FAMILIES.get(self.model_type, UNKNOWN)

    @property
    def has_sinks(self) -> bool:
        """Whether each head has a score that stands for no value, and experts have biases and clamped gates: gpt-oss."""
        return self.model_type == "gpt_oss"

    @property
    def norms_before(self) -> bool:
        """Whether attention and feed-forward block read normalised states."""
        return self.family.norms_before

    @property
    def normalises_last(self) -> bool:
        """Whether queries and keys are normalised when all three are projected, and not each as it is."""
        return self.family.normalises_last

    @property
    def float32_norms(self) -> bool:
        """Whether a norm multiplies by its weight in float32."""
        return self.family.float32_norms

    @property
    def float32_rotary(self) -> bool:
        """Whether cosines and sines stay in float32."""
        return self.family.float32_rotary

    @property
    def reads_routes_in_float32(self) -> bool:
        """Whether a router reads a float32 copy of the states."""
        return self.family.routes_in_float32

    @property
    def narrows_routes(self) -> bool:
        """Whether routes have the type of the router's product, which autocast makes narrow."""
        return self.family.narrow_routes

    @property
    def has_wide_routes(self) -> bool:
        """Whether routes stay in float32."""
        return self.family.wide_routes

    @property
    def norms_after(self) -> bool:
        """Whether what attention and feed-forward block give is normalised; of a type that is not known it may be, as GLM 4's is, and no field says so."""
        return self.norms > 2 or not self.family.norms_before or not self.is_counted

    @property
    def may_normalise_heads(self) -> bool:
        """Whether there are norms on queries and keys, or may be for all that is known of the type."""
        return self.query_key_norm != "none" or not self.is_counted
