"""The grammar of order sentences: templates, each in one share for good, and what surrounds them."""

import random
from dataclasses import dataclass

from xtune.demo.world import (
    DAYS,
    ONES,
    TENS,
    Share,
    item,
    number_words,
    person,
    share_of,
    town,
)

# {c} the customer, {g} the goods with their number, {q} the number and {i} the item apart,
# {d} the day, {t} a town that is no part of the answer. A template without {d} gets its day
# from one of DAY_PHRASES. The share of a template is the hash of its text.
TEMPLATES: tuple[str, ...] = (
    "{c} ordered {g}",
    "{c} would like {g}",
    "{c} wants to buy {g}",
    "{c} has asked for {g}",
    "{c} needs {g} from us",
    "{c} is waiting for {g}",
    "{c} paid for {g}",
    "{c} will pick up {g}",
    "{c} will come for {g}",
    "{c} called about {g}",
    "{c} takes {g}",
    "{c} decided to get {g}",
    "{c} came to the shop and bought {g}",
    "{c} was looking for {g}",
    "{c} from {t} ordered {g}",
    "{c} of {t} would be glad to have {g}",
    "{c}, who lives in {t}, asks for {g}",
    "{c}, an old friend of the shop, wants {g}",
    "{c} and nobody else gets {g}",
    "{c} has chosen {g} at our shop in {t}",
    "{c} hopes to receive {g}",
    "{c} must have {g}",
    "{c} says that {g} would be enough",
    "{c} wrote that {g} are needed",
    "{c} told us to prepare {g}",
    "our customer {c} reserved {g}",
    "a customer named {c} requested {g}",
    "a letter from {c} asks for {g}",
    "someone called {c} wants {g}",
    "a certain {c} sent for {g}",
    "the baker {c} bought {g}",
    "the teacher {c} is asking for {g}",
    "our neighbour {c} could use {g}",
    "please send {g} to {c}",
    "please send {c} {g}",
    "deliver {g} to {c}",
    "deliver {g} to {c} in {t}",
    "bring {c} {g}",
    "bring {g} to the house of {c}",
    "give {c} {g}",
    "hand {g} over to {c}",
    "keep {g} for {c}",
    "put {g} aside for {c}",
    "set {g} aside, {c} will fetch them",
    "pack {g}, they are for {c}",
    "wrap {g} and send them to {c}",
    "ship {g} from {t} to {c}",
    "write down {g} for {c}",
    "do not forget {g} for {c}",
    "make sure that {c} gets {g}",
    "let {c} have {g}",
    "remember that {c} ordered {g}",
    "{g} for {c}",
    "{g} to {c}, please",
    "{g} should go to {c}",
    "{g} were ordered by {c}",
    "{g} have been reserved for {c}",
    "{g} are wanted by {c}",
    "{g} must reach {c}",
    "{g} will be sent to {c}",
    "{g}, says {c}, will do",
    "{g} is what {c} ordered",
    "{g} go to {c} in {t}",
    "we promised {c} {g}",
    "we owe {g} to {c}",
    "we have {g} for {c}",
    "we are sending {g} to {c}",
    "we sold {g} to {c}",
    "the order of {c} is {g}",
    "the order is {g} for {c}",
    "the box with {g} belongs to {c}",
    "the cart to {t} carries {g} for {c}",
    "the customer is {c} and the goods are {g}",
    "the shop in {t} keeps {g} for {c}",
    "the list of {c} says {g}",
    "the wish of {c}: {g}",
    "there is an order from {c} for {g}",
    "there are {g} to be sent to {c}",
    "it was {c} who ordered {g}",
    "it is {g} that {c} wants",
    "what {c} wants is {g}",
    "what we send to {c} is {g}",
    "order from {c}: {g}",
    "order for {c} - {g}",
    "customer: {c}, order: {g}",
    "buyer {c}, goods {g}",
    "to {c}: {g}",
    "{c}: {g}",
    "{c} - {g}",
    "{c} here, I need {g}",
    "this is {c}, I would like {g}",
    "my name is {c} and I want {g}",
    "I am {c} and I am ordering {g}",
    "I would like {g}, my name is {c}",
    "I need {g}. Yours, {c}",
    "send me {g}, signed {c}",
    "could you get {g} ready for {c}",
    "can {c} have {g}",
    "would you bring {g} to {c}",
    "is it possible to send {g} to {c}",
    "{c} asked: can I have {g}",
    '"I want {g}," said {c}',
    '{c} said: "Bring me {g}"',
    "on {d} {c} ordered {g}",
    "on {d} we bring {g} to {c}",
    "on {d}, {g} go to {c}",
    "on {d} a cart with {g} leaves for {c}",
    "by {d} {c} must have {g}",
    "by {d}, send {g} to {c}",
    "for {d}, {c} has booked {g}",
    "for {d} we need {g}, they are for {c}",
    "this {d} {c} is getting {g}",
    "next {d}, {c} would like to see {g}",
    "until {d} we keep {g} for {c}",
    "{d} is when {c} wants {g}",
    "{d} is the day for {g}, and {c} is the customer",
    "{c} expects us on {d} with {g}",
    "{c} comes on {d} to collect {g}",
    "{c} wants, by {d}, {g}",
    "{c} has until {d} to pay for {g}",
    "{c} said that on {d} {g} would be right",
    "send {c}, on {d}, {g}",
    "the {d} delivery for {c} is {g}",
    "the {d} cart takes {g} to {c}",
    "it will be {d} when {c} gets {g}",
    "{g}, {d}, {c}",
    "{c}, {d}, {g}",
    "{c} / {g} / {d}",
    "{d} / {c} / {g}",
    "customer {c}, day {d}, goods {g}",
    "{c} needs {i}, {q} of them",
    "{c} ordered {i}, {q} in all",
    "{c} ordered {i}. The number is {q}",
    "{c} asked for {i} and took {q}",
    "{c} likes {i} and wants {q}",
    "{i} for {c}, {q} of them",
    "{q} is the number of {i} that {c} wants",
    "how many {i} does {c} want? The answer is {q}",
    "of the {i}, {q} go to {c}",
    "if you have {i}, send {q} to {c}",
    "we have many {i} and {c} takes {q}",
    "from our {i}, {c} chose {q}",
    "goods: {i}; number: {q}; for: {c}",
)

# How the day joins a template that has none of its own, before or after it.
DAY_PHRASES: tuple[str, ...] = (
    "{s} on {d}.", "{s} on {d}.", "{s} for {d}.", "{s} by {d}.", "{s}, on {d}.", "{s} this {d}.",
    "{s} next {d}.", "{s}. The day is {d}.", "{s}. Delivery is on {d}.", "{s}. We meet on {d}.",
    "{s}. It must be there by {d}.", "{s} ({d}).", "{s}, {d}.", "{s}, not later than {d}.",
    "{s} before {d}.", "{s}. {d} is best.", "{d}: {s}.", "For {d}: {s}.", "On {d}: {s}.",
)  # fmt: skip
OPENINGS: tuple[str, ...] = (
    "Hello.", "Good morning.", "New order:", "Note:", "Please note:", "From {t}:", "Dear shop,",
    "Order number {n}:", "Message {n}:", "Hello from {t}.", "News:", "Today's work:",
)  # fmt: skip
CLOSINGS: tuple[str, ...] = (
    "Thank you.", "Many thanks.", "The bill is {n} coins.", "The road to {t} is open.",
    "Please wrap the goods.", "It is a gift.", "Payment in {t}.", "The house has number {n}.",
    "The price is {n} coins.", "Be careful.", "The weather in {t} is fine.", "No hurry.",
)  # fmt: skip
GOODS: tuple[str, ...] = (
    "{digits} {i}", "{digits} {i}", "{digits} {i}", "{words} {i}", "{words} {i}", "{words} {i}",
    "{digits} x {i}", "{i} x {digits}", "{i} ({digits})", "{digits} pieces of {i}",
    "{words} of the {i}", "exactly {digits} {i}",
)  # fmt: skip
# Words for numbers that may open a sentence with a capital letter.
NUMBER_STARTS = frozenset(ONES[1:]) | frozenset(TENS[2:]) | {"exactly"}


@dataclass(frozen=True, kw_only=True)
class Order:
    """What an order sentence says, and the sentence."""

    customer: str
    item: str
    quantity: int
    day: str
    town: str
    template: str
    sentence: str


def templates_of(share: Share) -> tuple[str, ...]:
    """Return the order templates of one share."""
    return tuple(text for text in TEMPLATES if share_of(text) == share)


def _capitalized(template: str, text: str) -> str:
    """Return a sentence with a capital, except where it opens with an item, which keeps its own."""
    first = text.split("-")[0].split(" ")[0]
    opens_with_word = not template.startswith("{") or first in NUMBER_STARTS
    return text[0].upper() + text[1:] if opens_with_word else text


def order(rng: random.Random, share: Share, dressed: float = 0.3) -> Order:
    """Return an order of one share, in one of that share's templates.

    Args:
        rng: The source of all choices.
        share: Which templates and which made-up words.
        dressed: How often an opening, and how often a closing, surrounds the sentence.
    """
    template = rng.choice(templates_of(share))
    customer, goods, day = person(rng, share), item(rng, share), rng.choice(DAYS)
    quantity, place = rng.randint(2, 60), town(rng, share)
    numbers = {"digits": str(quantity), "words": number_words(quantity)}
    slots = {
        "c": customer,
        "d": day,
        "g": rng.choice(GOODS).format(i=goods, **numbers),
        "i": goods,
        "q": rng.choice(tuple(numbers.values())),
        "t": place,
    }
    sentence = _capitalized(template, template.format(**slots))
    phrase = "{s}." if "{d}" in template else rng.choice(DAY_PHRASES)
    sentence = phrase.format(s=sentence, d=day)
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
        town=place,
        template=template,
        sentence=sentence,
    )
