"""How far a merged model is from base and adapter: on which texts, by which numbers, and what is too far. Runs no model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from xtune.adapter.streamed import Probe
from xtune.errors import ModelError
from xtune.models.shards import DTYPES

TEXTS = (
    "A probe in several scripts and moods: 17 + 25 = 42. Où est la gare ? Где вокзал? 東京タワーは高い。",
    "def f(x):\n    return {'a': [x, None], 'b': 2.5e-3}\n\nassert f(1)['a'][0] == 1\n",
    "The river rose in the night. In the morning nobody could say where the road had been.",
    "สวัสดี, Xin chào, 안녕하세요, مرحبا, नमस्ते! <b>1.</b> a) b) c) $x^2 + y^2 = r^2$",
)
"""Texts on which merged model and adapter are compared; any will do that touch many tokens."""

ROW_TOKENS = 256
"""Longest row that is compared on."""

POSITIONS = 256
"""Places at which logits are compared: 0.16 GB of them with 152,000 tokens, in float32, twice."""

ROUNDINGS = 6
"""How many roundings of the weights' type the logits may be apart, as a fraction of their spread. Merges that are right were
0.14 to 1.4 apart (16 architectures of two layers, the demo model's six; bfloat16), those that lacked one tensor 8 to 55
(2026-11-29); rounding grows with the root of the number of layers."""

FLOOR = 1e-3
"""The same where the type's rounding is smaller than that of the sums, in float32."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far one model's logits are from another's."""

    largest: float
    """Largest difference of a logit."""

    relative: float
    """The same as a fraction of the largest logit's size."""

    spread: float
    """Root of the mean squared difference, as a fraction of the standard deviation of the logits."""

    typical: float
    """The same with the median over the positions in the place of the mean: it does not see what is at a few of them alone."""

    same_choice: int
    """Positions at which both find the same token likeliest."""

    positions: int

    def __str__(self) -> str:
        return (
            f"logits differ by at most {self.largest:.3g}, {self.relative:.2%} of the largest, and the likeliest token "
            f"is the same at {self.same_choice} of {self.positions} positions."
        )


def difference(one: torch.Tensor, other: torch.Tensor) -> Difference:
    """Compare logits, (positions, vocabulary); where one vocabulary is larger, its last tokens are left out."""
    width = min(one.shape[-1], other.shape[-1])
    one, other = one[:, :width], other[:, :width]
    apart = one - other
    largest = float(apart.abs().max())
    squares = apart.square().mean(-1)  # (positions,)
    deviation = max(float(other.std()), 1e-12)
    return Difference(
        largest=largest,
        relative=largest / max(float(other.abs().max()), 1e-12),
        spread=float(squares.mean().sqrt()) / deviation,
        typical=float(squares.median().sqrt()) / deviation,
        same_choice=int((one.argmax(-1) == other.argmax(-1)).sum()),
        positions=one.shape[0],
    )


def check_sound(found: Difference, kinds: set[str], *, routed: bool) -> None:
    """Refuse a merged model that says something else than base and adapter.

    Args:
        found: From the adapter beside the weights that it was added to.
        kinds: Types of the merged tensors, in safetensors' words.
        routed: Whether a router chooses experts for each token. Where two are close, rounding turns its choice, and what
            comes of it at that position is no small number; then the median position counts.

    Raises:
        ModelError: It is further away than rounding can explain.
    """
    types = [DTYPES[kind] for kind in kinds if DTYPES[kind].is_floating_point]
    rounding = max((torch.finfo(dtype).eps for dtype in types), default=0.0)
    allowed = max(ROUNDINGS * rounding, FLOOR)
    apart = found.typical if routed else found.spread
    if not apart <= allowed:
        raise ModelError(
            f"The merged model says something else than base and adapter: {found} "
            f"The root of the {'median' if routed else 'mean'} squared difference is {apart:.2%} of the logits' spread; "
            f"rounding explains {allowed:.2%}. It is not kept.",
            advice="Use the adapter as it is.",
        )


def make_probe(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]
) -> tuple[Probe, str]:
    """The tokens to compare on, and what they are, in words.

    Args:
        tokenizer: The run's.
        rows: Tokens of rows of the run's data; may be none.
    """
    texts = [list(tokenizer(text, verbose=False)["input_ids"]) for text in TEXTS]
    both = [list(row)[:ROW_TOKENS] for row in (*texts, *rows) if len(row)]
    every = [(place, token) for place, row in enumerate(both) for token in range(len(row))]
    step = max(1, -(-len(every) // POSITIONS))
    words = f"{len(texts)} fixed texts"
    if rows:
        words += f" and {len(rows)} rows of the run's data"
    return Probe(rows=both, positions=every[::step]), words
