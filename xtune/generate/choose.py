"""Chooses the next token of each row, and says where rounding could have chosen another; it runs no model.

Sampling adds Gumbel noise to the logits and takes the largest sum, which draws from their softmax (Maddison et al.
2014, "A* Sampling", section 2). The noise of a token is a hash of the row's seed, the place and the token: it does not
depend on the other rows, on the order of anything, nor on torch's generators.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from xtune.generate.decoding import Decoding

_GOLDEN, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Constants of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators")."""

_WORD = (1 << 64) - 1

SLACK = {torch.float32: 64.0, torch.float16: 4.0, torch.bfloat16: 3.0}
"""How much two logits may move against each other between a batch and a row alone, in units of the type's epsilon
times the largest logit. Measured over 3,128 answer tokens of the demo model and two adapters, 32 rows together (two
EPYC cores, 2026-11-29): at most 2.1 units in bfloat16; in float32 at most 5. The rest is reserve; float16 is not measured."""


@dataclass(frozen=True)
class Want:
    """How one row wants its next token chosen."""

    decoding: Decoding
    answer: int
    """Which of the answers with one seed this is."""

    place: int
    """Tokens that the answer has so far."""

    def key(self) -> int:
        """A signed 64-bit number that no other answer and place has."""
        key = _mixed(_mixed(self.decoding.seed) + self.answer)
        key = _mixed(key + self.place)
        return key - (1 << 64) if key >> 63 else key


def choose(
    logits: torch.Tensor,
    wants: Sequence[Want],
    slack: float = 0.0,
    allowed: torch.Tensor | None = None,
) -> tuple[list[int], list[bool]]:
    """The next token of each row.

    Args:
        logits: (rows, vocabulary).
        wants: What each row wants.
        slack: `SLACK` of the model's type times its epsilon.
        allowed: (rows, vocabulary) bool: what each row may choose; None: all.

    Returns:
        The tokens, and whether each stays the same if no logit moves by more than half the slack times the
        largest one.
    """
    logits = logits.float()
    # what may not be chosen, which models and `Row.vocabulary` mark by the lowest number or -inf, is no size of logits
    shown = logits.masked_fill(logits <= torch.finfo(logits.dtype).min, 0.0)
    reach = slack * shown.abs().amax(-1).nan_to_num(posinf=0.0)  # (rows,)
    if (
        allowed is not None
    ):  # behind the reach: rounding is as large as the logits are, allowed or not
        logits = logits.masked_fill(~allowed, torch.finfo(logits.dtype).min)
    tokens: list[int] = [0] * len(wants)
    sure: list[bool] = [True] * len(wants)
    greedy = [row for row, want in enumerate(wants) if want.decoding.is_greedy]
    sampled = [row for row, want in enumerate(wants) if not want.decoding.is_greedy]
    for rows, pick in ((greedy, _likeliest), (sampled, _drawn)):
        if rows:
            places = torch.tensor(rows, device=logits.device)
            some = logits if len(rows) == len(wants) else logits[places]
            found, certain = pick(some, [wants[row] for row in rows], reach[places])
            for row, token, clear in zip(rows, found.tolist(), certain.tolist(), strict=True):
                tokens[row], sure[row] = token, clear
    return tokens, sure


def _likeliest(
    logits: torch.Tensor, wants: Sequence[Want], reach: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    del wants  # the likeliest token is the same whatever they say
    best = logits.topk(2, dim=-1).values
    # of equal ones, and 16-bit logits often are, argmax takes the first, as everyone's greedy decoding does
    return logits.argmax(-1), best[:, 0] - best[:, 1] > reach


def _drawn(
    logits: torch.Tensor, wants: Sequence[Want], reach: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    device = logits.device
    temperature = torch.tensor([want.decoding.temperature for want in wants], device=device)[
        :, None
    ]
    keys = torch.tensor([want.key() for want in wants], device=device)
    scores = logits / temperature + gumbel(keys, logits.shape[-1]).to(logits.dtype)
    reach = reach[:, None]
    lowest, surely, possibly = _limits(logits, wants, temperature, reach)
    winner = scores.masked_fill(logits < lowest, -torch.inf).argmax(-1)
    # whoever might be let in by a little, or lost its place by a little, must not come near the winner
    rivals = scores.masked_fill(logits < possibly, -torch.inf)
    rivals.scatter_(-1, winner[:, None], -torch.inf)
    lead = scores.gather(-1, winner[:, None]) - rivals.amax(-1, keepdim=True)
    clear = (lead * temperature > reach) & (logits.gather(-1, winner[:, None]) >= surely)
    return winner, clear[:, 0]


def _limits(
    logits: torch.Tensor, wants: Sequence[Want], temperature: torch.Tensor, reach: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The lowest logit that may be drawn in each row, (rows, 1): as it is, and however logits move within reach."""
    if all(want.decoding.top_k == 0 and want.decoding.top_p >= 1 for want in wants):
        none = torch.full_like(temperature, -torch.inf)
        return none, none, none
    size = logits.shape[-1]
    device = logits.device
    ordered = logits.sort(dim=-1, descending=True).values  # (rows, vocabulary)
    top_k = [min(want.decoding.top_k or size, size) for want in wants]
    few = torch.tensor(top_k, device=device)[:, None]
    top_p = torch.tensor([want.decoding.top_p for want in wants], device=device)[:, None]
    place = torch.arange(size, device=device)
    probabilities = (ordered / temperature).masked_fill(place >= few, -torch.inf).softmax(-1)
    before = probabilities.cumsum(-1) - probabilities  # mass of the likelier ones
    odds = torch.logit(top_p)
    moved = (
        reach / temperature
    )  # logits that move by half the reach multiply the odds of a mass by up to e^moved
    tight, loose = (torch.sigmoid(odds + change) for change in (-moved, moved))
    last, last_tight, last_loose = (
        (((before < limit) | (top_p >= 1)).sum(-1, keepdim=True).clamp(min=1) - 1).minimum(few - 1)
        for limit in (top_p, tight, loose)
    )  # places of the last token that may be drawn, (rows, 1)
    beaten = ordered.gather(-1, (last_tight + 1).clamp(max=size - 1)) + reach
    surely = beaten.masked_fill(last_tight + 1 >= size, -torch.inf)
    return ordered.gather(-1, last), surely, ordered.gather(-1, last_loose) - reach


def gumbel(keys: torch.Tensor, size: int) -> torch.Tensor:
    """Standard Gumbel noise, (keys, size), that depends on each key alone.

    Args:
        keys: (rows,) int64.
        size: Numbers for each key.
    """
    exact = torch.float32 if keys.device.type == "mps" else torch.float64
    counter = torch.arange(1, size + 1, device=keys.device) * _signed(_GOLDEN)
    word = keys[:, None] + counter  # wraps round, as SplitMix64 does
    word = (word ^ _shifted(word, 30)) * _signed(_MIX_1)
    word = (word ^ _shifted(word, 27)) * _signed(_MIX_2)
    word ^= _shifted(word, 31)
    bits = 53 if exact == torch.float64 else 24
    uniform = (_shifted(word, 64 - bits).to(exact) + 0.5) * 2.0**-bits  # inside (0, 1)
    return -torch.log(-torch.log(uniform))


def _shifted(word: torch.Tensor, bits: int) -> torch.Tensor:
    """A logical shift to the right; torch's own carries the sign along."""
    return (word >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _mixed(number: int) -> int:
    """SplitMix64's output for a state."""
    word = (number + _GOLDEN) & _WORD
    word = ((word ^ (word >> 30)) * _MIX_1) & _WORD
    word = ((word ^ (word >> 27)) * _MIX_2) & _WORD
    return word ^ (word >> 31)
