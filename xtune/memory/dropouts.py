"""A model's own dropouts, as its config has them; those of adapters are a recipe's. Closed formulas.

Dropout keeps a byte for each number that it is given, which says whether it is dropped, and gives as many numbers. Its gradient is a new tensor,
where otherwise all that is added to the hidden states has the same one. torch's fused attention keeps a seed instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HIDDEN = ("resid_pdrop", "residual_dropout", "resid_dropout", "hidden_dropout", "dropout")
"""Fields with the share that is dropped of what attention and feed-forward block give."""

EMBEDDING = ("embd_pdrop", "embedding_dropout", "embed_dropout", "hidden_dropout", "dropout")
"""The same of what the embedding gives; `hidden_dropout` is GPT-NeoX's for both."""

SCORES = ("attention_dropout", "attn_pdrop", "attn_dropout")
"""The same of attention's weights."""


@dataclass(frozen=True, kw_only=True)
class Dropouts:
    """What a model drops some of while it is trained."""

    hidden: bool = False
    """What attention and feed-forward block give, before it is added to the hidden states."""

    embedding: bool = False
    """What the embedding gives."""

    scores: bool = False
    """Attention's weights, after softmax."""


NO_DROPOUTS = Dropouts()


def read_dropouts(fields: Mapping[str, Any]) -> Dropouts:
    """Of a config's fields, those that are above 0; a model type that does not read a field is counted as if it did."""

    def drops(names: tuple[str, ...]) -> bool:
        found = (fields.get(name) for name in names)
        return any(isinstance(each, int | float) and each > 0 for each in found)

    return Dropouts(hidden=drops(HIDDEN), embedding=drops(EMBEDDING), scores=drops(SCORES))
