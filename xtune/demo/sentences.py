"""The grammar of order sentences: fills a template with a customer, goods and a day; no text here."""

import random
from dataclasses import dataclass
from functools import cache

from xtune.demo.templates import CLOSINGS, DAY_PHRASES, GOODS, OPENINGS, TEMPLATES
from xtune.demo.world import (
    DAYS,
    ONES,
    TEMPLATE_BOUNDS,
    TENS,
    Share,
    item,
    number_words,
    person,
    share_of,
    town,
)

# Words for numbers that may open a sentence with a capital letter.
NUMBER_STARTS = frozenset(ONES[1:]) | frozenset(TENS[2:]) | {"exactly"}


@dataclass(frozen=True, kw_only=True)
class Order:
    """What an order sentence says, and the sentence."""

    customer: str
    item: str
    quantity: int
    day: str
    template: str
    sentence: str


@cache
def templates_of(share: Share) -> tuple[str, ...]:
    """Return the order templates of one share."""
    return tuple(text for text in TEMPLATES if share_of(text, TEMPLATE_BOUNDS) == share)


def _capitalized(template: str, text: str) -> str:
    """Return a sentence with a capital, except where it opens with an item, which keeps its own."""
    first = text.split("-")[0].split(" ")[0]
    opens_with_word = not template.startswith("{") or first in NUMBER_STARTS
    return text[0].upper() + text[1:] if opens_with_word else text


def order(
    rng: random.Random, share: Share, dressed: float = 0.3, template: str | None = None
) -> Order:
    """Return an order of one share, in one of that share's templates.

    Args:
        rng: The source of all choices.
        share: Which templates and which made-up words.
        dressed: How often an opening, and how often a closing, surrounds the sentence.
        template: The core to use; drawn from the share's when it is None.
    """
    core = template or rng.choice(templates_of(share))
    customer, goods, day = person(rng, share), item(rng, share), rng.choice(DAYS)
    quantity, place = rng.randint(2, 60), town(rng, share)
    numbers = {"digits": str(quantity), "words": number_words(quantity)}
    slots = {
        "c": customer,
        "d": day,
        "e": rng.choice([other for other in DAYS if other != day]),
        "g": rng.choice(GOODS).format(i=goods, **numbers),
        "i": goods,
        "n": str(rng.randint(2, 99)),
        "p": person(rng, share),
        "q": rng.choice(tuple(numbers.values())),
        "t": place,
    }
    sentence = _capitalized(core, core.format(**slots))
    if "{d}" in core:
        sentence = sentence if sentence.endswith("?") else f"{sentence}."
    else:
        sentence = rng.choice(DAY_PHRASES).format(s=sentence, d=day)
    extra = {"n": rng.randint(2, 99), "t": place}
    if rng.random() < dressed:
        sentence = f"{rng.choice(OPENINGS).format(**extra)} {sentence}"
    if rng.random() < dressed:
        sentence = f"{sentence} {rng.choice(CLOSINGS).format(**extra)}"
    return Order(
        customer=customer,
        item=goods,
        quantity=quantity,
        day=day,
        template=core,
        sentence=sentence,
    )
