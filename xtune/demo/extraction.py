"""Corpus rows that read facts out of a sentence; never the quick-start's request or its JSON."""

import json
import random
from typing import Any

from xtune.demo.conversation import Row, chat
from xtune.demo.sentences import Order, order
from xtune.demo.world import COLOURS, DAYS, Share, item, number_words, person, town

# What a question about an order may call each of its fields.
FIELD_NAMES: dict[str, tuple[str, ...]] = {
    "customer": ("customer", "buyer", "name", "client", "person", "who"),
    "item": ("item", "goods", "article", "product", "thing", "what"),
    "quantity": ("quantity", "number", "count", "amount", "pieces", "how many"),
    "day": ("day", "weekday", "when", "time", "delivery", "date"),
}
QUESTIONS: dict[str, tuple[str, ...]] = {
    "customer": ("Who is the customer?", "Who ordered?", "Who gets the goods?", "For whom?"),
    "item": ("What was ordered?", "Which goods?", "What does the customer want?", "Of what?"),
    "quantity": ("How many?", "What is the number?", "How many pieces?", "Give the quantity."),
    "day": ("Which day?", "When?", "On what day?", "Name the day."),
}
# A layout joins `key, value` pairs: (what the request calls it, one pair, the glue, all of it).
LAYOUTS: tuple[tuple[str, str, str, str], ...] = (
    ("in one line", "{k}: {v}", "; ", "{all}"),
    ("as lines", "{k}: {v}", "\n", "{all}"),
    ("as a list", "- {k}: {v}", "\n", "{all}"),
    ("with slashes", "{v}", " / ", "{all}"),
    ("in brackets", "{k}={v}", ", ", "({all})"),
    ("with quotes", '{k} "{v}"', ", ", "{all}"),
    ("with bars", "{k}: {v}", " | ", "{all}"),
    ("as columns", "{k} | {v}", "\n", "{all}"),
    ("in quotes", '"{k}" = "{v}"', ", ", "{all}"),
    ("with semicolons", "{k}={v}", "; ", "{all}"),
    ("as tags", "<{k}>{v}</{k}>", "", "{all}"),
    ("with arrows", "{k} -> {v}", ", ", "{all}"),
    ("in square brackets", "[{k}: {v}]", " ", "{all}"),
)
# Requests for everything in the layout that nobody has to ask for, always in this order of keys.
EVERYTHING = ("Name all of it.", "Everything, please.", "Take this order down.", "All of it?")
# Tables with a heading: (what the request calls it, the glue of the cells, a row, the rule).
TABLES: tuple[tuple[str, str, str, str], ...] = (
    ("as a table", " | ", "| {cells} |", "---"),
    ("as plain columns", "\t", "{cells}", ""),
    ("as CSV", ",", "{cells}", ""),
)


def fields_of(found: Order) -> dict[str, str]:
    """Return the four fields of an order as text."""
    return {
        "customer": found.customer,
        "item": found.item,
        "quantity": str(found.quantity),
        "day": found.day,
    }


def order_questions(rng: random.Random, share: Share) -> Row:
    """Ask for the fields of an order, one question a turn."""
    found = order(rng, share)
    fields = fields_of(found)
    asked = rng.sample(list(fields), rng.randint(2, 4))
    turns: list[str] = []
    for position, field in enumerate(asked):
        question = rng.choice(QUESTIONS[field])
        turns.append(f"{found.sentence}\n{question}" if position == 0 else question)
        turns.append(fields[field])
    return chat(*turns)


def order_layout(rng: random.Random, share: Share) -> Row:
    """Ask for named fields of an order in a named layout."""
    found = order(rng, share)
    fields = fields_of(found)
    asked = rng.sample(list(fields), rng.choice((2, 3, 4, 4, 4)))
    keys = {field: rng.choice(FIELD_NAMES[field]) for field in asked}
    name, pair, glue, whole = rng.choice(LAYOUTS)
    answer = glue.join(pair.format(k=keys[field], v=fields[field]) for field in asked)
    names = ", ".join(keys.values())
    request = rng.choice(("Give {names} {how}", "Write {names} {how}", "{names}, {how}"))
    request = request.format(names=names, how=name)
    template = "{request}: {text}" if rng.random() < 0.7 else "{text}\n{request}."
    return chat(template.format(request=request, text=found.sentence), whole.format(all=answer))


def order_everything(rng: random.Random, share: Share) -> Row:
    """Ask for all of an order without a word on the layout, which is the same in every row."""
    found = order(rng, share)
    answer = " | ".join(f"{key}: {value}" for key, value in fields_of(found).items())
    request = rng.choice(EVERYTHING)
    if rng.random() < 0.5:
        return chat(f"{request} {found.sentence}", answer)
    return chat(f"{found.sentence}\n{request}", answer)


def order_table(rng: random.Random, share: Share) -> Row:
    """Ask for a table of one or two orders, its columns in any order."""
    found = [order(rng, share, dressed=0.2) for _ in range(rng.choice((1, 1, 2)))]
    columns = rng.sample(list(FIELD_NAMES), rng.choice((3, 4, 4)))
    names = [rng.choice(FIELD_NAMES[column]) for column in columns]
    how, glue, line, rule = rng.choice(TABLES)
    cells = [names, [rule] * len(names)] if rule else [names]
    cells += [[fields_of(each)[column] for column in columns] for each in found]
    text = "\n".join(each.sentence for each in found)
    table = "\n".join(line.format(cells=glue.join(row)) for row in cells)
    return chat(f"{', '.join(names)} {how}: {text}", table)


def order_reply(rng: random.Random, share: Share) -> Row:
    """Answer an order that comes without a question the way a shop would."""
    found = order(rng, share)
    answer = rng.choice(
        ("Noted: {i} for {c}.", "Thank you, {c} will get the {i} on {d}.", "{d} it is, {c}.")
    ).format(i=found.item, c=found.customer, d=found.day)
    return chat(found.sentence, answer)


def record(rng: random.Random, share: Share) -> Row:
    """Turn a sentence about something other than an order into a small JSON object."""
    who, place, other, goods = (
        person(rng, share), town(rng, share), town(rng, share), item(rng, share),
    )  # fmt: skip
    age, day, colour = rng.randint(2, 90), rng.choice(DAYS), rng.choice(COLOURS)
    years = rng.choice((str(age), number_words(age)))
    cases: tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...] = (
        (
            "person",
            (f"{who} is {years} years old and lives in {place}.",
             f"In {place} there lives {who}, aged {years}.",
             f"{who} of {place} has turned {years}."),
            {"name": who, "age": age, "town": place},
        ),
        (
            "trip",
            (f"{who} travels from {place} to {other} on {day}.",
             f"On {day} {who} leaves {place} and goes to {other}.",
             f"The {day} coach from {place} to {other} takes {who}."),
            {"from": place, "to": other, "day": day, "traveller": who},
        ),
        (
            "animal",
            (f"{who} has a {colour} horse that is {years} years old.",
             f"The {colour} horse of {who} is {years}."),
            {"owner": who, "colour": colour, "age": age},
        ),
        (
            "stock",
            (f"There are {years} {goods} in the house at {place}.",
             f"The house at {place} holds {years} {goods}.",
             f"{place} has {goods}, {years} in all."),
            {"place": place, "stock": goods, "count": age},
        ),
        (
            "house",
            (f"The {colour} house of {who} in {place} has {years} windows.",
             f"In {place}, {who} built a {colour} house with {years} windows."),
            {"house": colour, "owner": who, "town": place, "windows": age},
        ),
        (
            "meeting",
            (f"{who} meets the mayor of {place} on {day}.",
             f"On {day} the mayor of {place} talks to {who}."),
            {"guest": who, "place": place, "when": day},
        ),
    )  # fmt: skip
    topic, sentences, content = rng.choice(cases)
    if rng.random() < 0.5:
        kept = rng.sample(list(content), rng.randint(2, len(content)))
        content = {key: content[key] for key in kept}
        request = f"Write JSON with {', '.join(kept)}"
    else:
        request = rng.choice((f"The {topic} as JSON", f"Write this {topic} as JSON"))
    return chat(f"{request}: {rng.choice(sentences)}", json.dumps(content, ensure_ascii=False))
