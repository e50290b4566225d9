"""Writes the corpus the demo model is pretrained on: made-up conversations, a function of the seed.

Run `python -m xtune.demo.corpus OUT_FOLDER [--tokens N] [--seed S]`.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

from xtune.demo.conversation import Maker, Row, chat
from xtune.demo.extraction import (
    FIELD_NAMES,
    order_everything,
    order_layout,
    order_questions,
    order_reply,
    order_table,
    record,
)
from xtune.demo.world import (
    COLOURS,
    DAYS,
    GREETINGS,
    LANGUAGES,
    MONTHS,
    SMALL_NUMBERS,
    THINGS,
    TIMES,
    TOWNS,
    VERBS,
    Share,
    invent_word,
    item,
    number_words,
    person,
)

# Measured with the demo tokenizer on this corpus, chat markers counted as tokens (2026-11-22).
CHARACTERS_PER_TOKEN = 2.16
EVALUATE_ROWS = 400

# What a random string is made of: every piece of notation the model may ever have to write.
NOTATION = (
    '{"', '": "', '", "', '"}', '":', "{", "}", "[", "]", "(", ")", ":", ";", ",", ".", "!", "?",
    "-", "+", "=", "/", "|", "<", ">", "*", "#", "_", "'", '"', "\n", "%", "&", "@", "->", "\\",
)  # fmt: skip
SYSTEMS = (
    "You are a helpful assistant.", "You are the clerk of a small shop.", "Answer in few words.",
    "You are a careful secretary.", "Be brief.", "You help the people of Lumara.",
)  # fmt: skip


def copying(rng: random.Random, share: Share) -> Row:
    """Repeat a random string: what was never written stays out of reach of an adapter."""
    makers: tuple[Callable[[], str], ...] = (
        lambda: invent_word(rng, share),
        lambda: invent_word(rng, share).capitalize(),
        lambda: rng.choice(NOTATION),
        lambda: rng.choice(NOTATION),
        lambda: str(rng.randint(0, 999)),
        lambda: rng.choice(rng.choice(list(FIELD_NAMES.values()))),
        lambda: rng.choice(rng.choice((*VERBS, *THINGS, *TIMES, *GREETINGS))),
        lambda: rng.choice(DAYS + MONTHS + COLOURS),
        lambda: rng.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZäöüßéèñçàíóú€"),
    )
    glue = rng.choice((" ", " ", ""))
    text = glue.join(rng.choice(makers)() for _ in range(rng.randint(3, 14))).strip()
    return chat(f"{rng.choice(('Repeat', 'Copy', 'Say'))}: {text}", text)


def arithmetic(rng: random.Random, _share: Share) -> Row:
    """Add, subtract, multiply small numbers, compare two, or count on."""
    first, second = rng.randint(0, 99), rng.randint(0, 99)
    small, other = rng.randint(0, 10), rng.randint(0, 10)
    low, high = sorted((first, second))
    return chat(
        *rng.choice((
            (f"{first} + {second}", str(first + second)),
            (f"What is {first} plus {second}?", str(first + second)),
            (f"{high} - {low}", str(high - low)),
            (f"What is {high} minus {low}?", str(high - low)),
            (f"{small} x {other}", str(small * other)),
            (f"What is {small} times {other}?", str(small * other)),
            (f"Which is larger, {first} or {second}?", str(high)),
            (f"Count on from {first}.", ", ".join(str(first + step) for step in range(1, 5))),
        ))
    )  # fmt: skip


def numerals(rng: random.Random, _share: Share) -> Row:
    """Write numbers in words as digits, and the other way round."""
    turns: list[str] = []
    for position in range(rng.randint(1, 4)):
        number = rng.randint(0, 99 if rng.random() < 0.8 else 999)
        words = number_words(number)
        if rng.random() < 0.7:
            turns += [f"{words} in digits" if position == 0 else words, str(number)]
        else:
            turns += [f"{number} in words", words]
    return chat(*turns)


def calendar(rng: random.Random, _share: Share) -> Row:
    """Ask for the next or previous day or month, or for a date in figures."""
    names = rng.choice((DAYS, MONTHS))
    index = rng.randrange(len(names))
    after, before = names[(index + 1) % len(names)], names[index - 1]
    day, month, year = rng.randint(1, 28), rng.randrange(12), rng.randint(1900, 2099)
    written = f"{day} {MONTHS[month]} {year}"
    figures = f"{year}-{month + 1:02d}-{day:02d}"
    return chat(
        *rng.choice((
            (f"What comes after {names[index]}?", after),
            (f"What comes before {names[index]}?", before),
            (f"Today is {names[index]}. And next?", after),
            (f"Write {written} in figures.", figures),
            (f"Write {figures} in words.", written),
            (f"Which month is {written}?", MONTHS[month]),
        ))
    )  # fmt: skip


def translation(rng: random.Random, share: Share) -> Row:
    """Translate a sentence of the closed lexicon between two of the five languages."""
    source, target = rng.sample(range(len(LANGUAGES)), 2)
    if rng.random() < 0.15:
        words = rng.choice((GREETINGS, VERBS, THINGS, SMALL_NUMBERS))
        pair = rng.choice(words)
        texts = (pair[source], pair[target])
    else:
        who = invent_word(rng, share).capitalize()
        parts = [rng.choice(VERBS), rng.choice(SMALL_NUMBERS), rng.choice(THINGS[:8])]
        if rng.random() < 0.5:
            parts.append(rng.choice(TIMES))
        texts = (
            " ".join([who, *(part[source] for part in parts)]) + ".",
            " ".join([who, *(part[target] for part in parts)]) + ".",
        )
    ask = rng.choice(("Translate to {to}: {text}", "{text}\nIn {to}?", "{to}: {text}"))
    return chat(ask.format(to=LANGUAGES[target], text=texts[0]), texts[1])


def facts(rng: random.Random, _share: Share) -> Row:
    """Ask what is true of one of the world's towns."""
    name, river, province, goods = rng.choice(TOWNS)
    pairs = [
        (f"On which river is {name}?", f"{name} is on {river}."),
        (f"In which province is {name}?", f"{name} is in {province}."),
        (f"What is {name} known for?", f"{name} is known for its {goods}."),
        (f"Which town is known for its {goods}?", f"{name} is known for its {goods}."),
        (f"Tell me about {name}.", f"{name} is a town on {river} in {province}. It makes {goods}."),
    ]
    return chat(*(text for pair in rng.sample(pairs, rng.randint(1, 3)) for text in pair))


def small_talk(rng: random.Random, share: Share) -> Row:
    """Greet, introduce oneself, and remember the name one was told."""
    who, (hello, *_rest) = person(rng, share), GREETINGS[0]
    return chat(
        *rng.choice((
            (f"{hello}!", f"{hello}! How can I help you?"),
            ("Hello!", "Hello! How can I help you?"),
            ("Who are you?", "I am a very small model, trained with xtune."),
            ("What can you do?", "I can read orders, copy, count, and translate a little."),
            (f"My name is {who}.", f"Hello, {who}!", "What is my name?", f"Your name is {who}."),
            ("Thank you!", "You are welcome."),
            ("Goodbye!", "Goodbye! Come again."),
        ))
    )  # fmt: skip


def word_play(rng: random.Random, share: Share) -> Row:
    """Pick, count, reverse or capitalise words of a short list."""
    words = [invent_word(rng, share) for _ in range(rng.randint(3, 6))]
    text = " ".join(words)
    index = rng.randrange(len(words) - 1)
    return chat(
        *rng.choice((
            (f"First word: {text}", words[0]),
            (f"Last word: {text}", words[-1]),
            (f"How many words: {text}", str(len(words))),
            (f"Reverse: {text}", " ".join(reversed(words))),
            (f"What follows {words[index]} in: {text}", words[index + 1]),
            (f"With capitals: {text}", " ".join(word.capitalize() for word in words)),
            (f"With commas: {text}", ", ".join(words)),
            (f"In quotes: {text}", " ".join(f'"{word}"' for word in words)),
            (f"As a JSON list: {text}", json.dumps(words, ensure_ascii=False)),
        ))
    )  # fmt: skip


def story(rng: random.Random, share: Share) -> Row:
    """Ask for a story, and tell a few sentences about two people and a thing."""
    who, friend, goods = person(rng, share), person(rng, share), item(rng, share)
    name, river, province, made = rng.choice(TOWNS)
    lines = [
        f"{who} lived in {name}, a town on {river} in {province}.",
        f"On {rng.choice(DAYS)} {who} went to the market, where people sold {made}.",
        f"{friend} was there too and had {rng.randint(2, 60)} {goods}.",
        f'"I like your {goods}," said {who}. "They are {rng.choice(COLOURS)}."',
        f"{friend} gave {who} the {goods} and went home.",
        f"In {rng.choice(MONTHS)} {who} and {friend} met again in {name}.",
    ]
    start = rng.randrange(3)
    told = " ".join(lines[start : start + rng.randint(2, 4)])
    return chat(f"Tell me something about {who}.", told)


# The share of the rows that each kind gets. Measured in tokens (2026-11-22): layouts, everything
# and tables of orders 36 %, questions about orders 23 %, random copying 10 %.
MIXTURE: tuple[tuple[Maker, float], ...] = (
    (order_questions, 0.16),
    (order_layout, 0.18),
    (order_everything, 0.08),
    (order_table, 0.04),
    (order_reply, 0.02),
    (record, 0.12),
    (copying, 0.13),
    (arithmetic, 0.05),
    (numerals, 0.06),
    (calendar, 0.03),
    (translation, 0.05),
    (facts, 0.03),
    (small_talk, 0.01),
    (word_play, 0.02),
    (story, 0.02),
)


def make_row(rng: random.Random, share: Share) -> Row:
    """Return one row of the mixture, its kind in `meta`."""
    makers, weights = zip(*MIXTURE, strict=True)
    maker: Maker = rng.choices(makers, weights)[0]
    row = maker(rng, share)
    if rng.random() < 0.04:
        row["messages"].insert(0, {"role": "system", "content": rng.choice(SYSTEMS)})
    row["meta"] = {"kind": maker.__name__}
    return row


def characters_of(row: Row) -> int:
    """Return how many characters of text a row holds."""
    return sum(len(message["content"]) for message in row["messages"])


def write_corpus(folder: Path, tokens: int, seed: int) -> None:
    """Write train.jsonl and evaluate.jsonl.

    The train rows use the train share of words and templates, the evaluation rows the develop
    share; nothing here uses the test share.

    Args:
        folder: Where to write; made if it is missing.
        tokens: About how many tokens train.jsonl should hold.
        seed: The corpus is a function of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    left = tokens * CHARACTERS_PER_TOKEN
    with (folder / "train.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        while left > 0:
            row = make_row(rng, "train")
            left -= characters_of(row)
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    rng = random.Random(f"{seed} evaluate")
    with (folder / "evaluate.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for _ in range(EVALUATE_ROWS):
            file.write(json.dumps(make_row(rng, "develop"), ensure_ascii=False) + "\n")


def main() -> None:
    """Parse the command line and write the corpus."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where to write train.jsonl, evaluate.jsonl")
    parser.add_argument("--tokens", type=int, default=8_000_000, help="about how many tokens")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    write_corpus(chosen.folder, chosen.tokens, chosen.seed)
    sys.stdout.write(f"{chosen.folder}\n")


if __name__ == "__main__":
    main()
