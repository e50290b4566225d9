"""Which token is chosen, against softmax, brute force over a small vocabulary, and SplitMix64 as published."""

import math
from typing import Any

import pytest
import torch

from xtune.errors import XtuneError
from xtune.generate.choose import Want, choose, gumbel
from xtune.generate.decoding import Decoding


def allowed(probabilities: list[float], top_k: int, top_p: float) -> set[int]:
    """Tokens that may be drawn: the likeliest until `top_p` is reached, among the `top_k` likeliest."""
    order = sorted(range(len(probabilities)), key=lambda token: -probabilities[token])
    order = order[: top_k or len(order)]
    whole = sum(probabilities[token] for token in order)
    kept: set[int] = set()
    mass = 0.0
    for token in order:
        if mass >= top_p:
            break
        kept.add(token)
        mass += probabilities[token] / whole
    return kept


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (3, 1.0), (0, 0.6), (4, 0.8), (1, 1.0)])
def test_draws_follow_the_softmax_over_what_may_be_drawn(top_k: int, top_p: float) -> None:
    logits = torch.tensor([1.0, -0.5, 2.0, 0.3, 1.7, -3.0])
    temperature, count = 1.5, 6000
    decoding = Decoding(temperature=temperature, top_k=top_k, top_p=top_p, seed=11)
    tokens, _ = choose(
        logits.repeat(count, 1), [Want(decoding, answer, 0) for answer in range(count)]
    )
    whole = [math.exp(float(logit) / temperature) for logit in logits]
    whole = [weight / sum(whole) for weight in whole]
    kept = sorted(allowed(whole, top_k, top_p))
    mass = sum(whole[token] for token in kept)
    assert set(tokens) == set(kept)
    for token in kept:  # within five standard errors of a share of so many draws
        share = whole[token] / mass
        error = math.sqrt(share * (1 - share) / count)
        assert tokens.count(token) / count == pytest.approx(share, abs=5 * error + 1e-9)


def test_noise_is_gumbel_and_splitmix64() -> None:
    # the first outputs of SplitMix64 with seed 1234567, as given with its reference implementation
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    expected = [-math.log(-math.log(((word >> 11) + 0.5) / 2**53)) for word in published]
    noise = gumbel(torch.tensor([1234567, 5]), 4000)
    assert noise[0, :3].tolist() == pytest.approx(expected, rel=1e-12)
    ordered = noise[1].sort().values
    expected_shares = torch.exp(-torch.exp(-ordered))  # the distribution function of Gumbel's law
    steps = torch.arange(1, 4001) / 4000
    # Kolmogorov's distance is below 1.95 / sqrt(n) with a probability of 0.999
    assert (steps - expected_shares).abs().max() < 1.95 / math.sqrt(4000)


def test_a_choice_that_is_sure_stands_however_logits_move_within_reach() -> None:
    torch.manual_seed(0)
    slack = 0.02
    for decoding in (
        Decoding(),
        Decoding(temperature=0.9, seed=1),
        Decoding(temperature=0.7, top_k=4, seed=2),
        Decoding(temperature=1.3, top_p=0.7, seed=3),
        Decoding(temperature=1.1, top_p=0.8, top_k=6, seed=3),
    ):
        logits = torch.randn(400, 12) * 2
        wants = [Want(decoding, answer, 0) for answer in range(400)]
        tokens, sure = choose(logits, wants, slack)
        assert 200 < sum(sure) < 400
        half = 0.49 * slack * logits.abs().amax(-1, keepdim=True)
        turned = False
        for _ in range(12):
            moved = logits + half * (2 * torch.randint(0, 2, logits.shape) - 1)
            again, _ = choose(moved, wants)
            for one, other, certain in zip(tokens, again, sure, strict=True):
                turned |= one != other
                assert one == other or not certain
        assert turned


def test_seeds_answers_and_places_draw_apart() -> None:
    logits = torch.zeros(1, 1000)
    drawn = {
        choose(logits, [Want(Decoding(temperature=1.0, seed=seed), answer, place)])[0][0]
        for seed in range(4)
        for answer in range(4)
        for place in range(4)
    }
    assert len(drawn) > 55


@pytest.mark.parametrize(
    "decoding",
    [Decoding(temperature=1.0, top_k=2**70, seed=4), Decoding(temperature=1.0, top_k=6, seed=4)],
)
def test_more_tokens_than_there_are_is_all_of_them(decoding: Decoding) -> None:
    logits = torch.tensor([[1.0, -0.5, 2.0, 0.3, 1.7, -3.0]] * 50)
    wants = [Want(decoding, answer, 0) for answer in range(50)]
    without = [Want(Decoding(temperature=1.0, seed=4), answer, 0) for answer in range(50)]
    assert choose(logits, wants) == choose(logits, without)


@pytest.mark.parametrize("temperature", [1e-320, 1e-45, 1e-9])
def test_a_temperature_that_divides_to_infinity_is_greedy(temperature: float) -> None:
    want = Want(Decoding(temperature=temperature), 0, 0)
    assert choose(torch.tensor([[1.0, 3.0, 2.0]]), [want]) == ([1], [True])


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("temperature", math.nan, "0 or more"),
        ("temperature", -0.1, "0 or more"),
        ("top_p", 7, "from 0 to 1"),
        ("top_k", -3, "0 or more"),
        ("max_new_tokens", 0, "1 or more"),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: float, allowed: str) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(XtuneError, match=f"`{name}` is {value}; it must be {allowed}"):
        Decoding(**options)


@pytest.mark.parametrize("forbidden", [-math.inf, torch.finfo(torch.float32).min])
def test_tokens_that_may_not_be_chosen_change_nothing_of_how_sure_the_others_are(
    forbidden: float,
) -> None:
    logits = torch.tensor([[5.0, 4.99, -3.0], [5.0, 4.0, -3.0]])
    longer = torch.nn.functional.pad(logits, (0, 2), value=forbidden)
    wants = [Want(Decoding(), row, 0) for row in range(2)]
    assert choose(logits, wants, slack=0.01) == ([0, 0], [False, True])  # a reach of 0.05
    assert choose(longer, wants, slack=0.01) == ([0, 0], [False, True])
