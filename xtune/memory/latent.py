"""The sizes of latent attention (DeepSeek-V2, arXiv 2405.04434): queries, keys and values made out of narrow latents; computes no bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xtune.memory.linear import Linear


@dataclass(frozen=True, kw_only=True)
class Latent:
    """What a config says of it beside the number of heads."""

    queries: int
    """Width of the queries' latent (`q_lora_rank`); 0: they are projected as they are."""

    keys: int
    """Width of the latent of keys and values (`kv_lora_rank`)."""

    rotated: int
    """Numbers of a head that are rotated (`qk_rope_head_dim`), of keys the same for every head."""

    unrotated: int
    """Numbers of a query's and a key's head that are not (`qk_nope_head_dim`)."""

    values: int
    """Numbers of a value's head (`v_head_dim`)."""

    def linears(self, hidden: int, heads: int, *, bias: bool) -> tuple[Linear, ...]:
        """Those before attention: of queries, then of keys and values."""
        query = heads * (self.unrotated + self.rotated)
        both = heads * (self.unrotated + self.values)
        of_queries: tuple[Linear, ...] = (Linear(name="q_proj", inputs=hidden, outputs=query),)
        if self.queries:
            of_queries = (
                Linear(name="q_a_proj", inputs=hidden, outputs=self.queries, bias=bias),
                Linear(name="q_b_proj", inputs=self.queries, outputs=query),
            )
        compressed = self.keys + self.rotated
        return (
            *of_queries,
            Linear(name="kv_a_proj_with_mqa", inputs=hidden, outputs=compressed, bias=bias),
            Linear(name="kv_b_proj", inputs=self.keys, outputs=both),
        )

    @property
    def normalised(self) -> int:
        """Numbers a token that have norms of their own: both latents."""
        return self.queries + self.keys


def read_latent(fields: Mapping[str, Any]) -> Latent | None:
    """The sizes in a config.json; None if there are none, or not all that there must be."""
    names = ("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")
    keys, rotated, unrotated, values = (_size(fields, name) for name in names)
    if not (keys and rotated and unrotated and values):
        return None
    queries = _size(fields, "q_lora_rank")
    return Latent(queries=queries, keys=keys, rotated=rotated, unrotated=unrotated, values=values)


def _size(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
