"""Rows and seeds for the offline demonstration: the bundled model learns to continue a list of tasks about orders.

Run `python -m selfinstruct.demo FOLDER`: writes FOLDER/seeds.jsonl, FOLDER/prompt.txt and FOLDER/rows.jsonl.
It shows the machinery. The tasks are made of invented words and teach nobody anything.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from selfinstruct.prompts import render
from selfinstruct.seeds import seed_row
from selfinstruct.types import Seed, Task
from xtune.demo.sentences import Order, order, templates_of
from xtune.demo.world import Share

PROMPT = "Go on with this list of tasks in {language}, from task {first} to task {last}.\n\n{demonstrations}\n"
SHOWN, LAST_NUMBER = 2, 4
"""Tasks shown and the last one asked for: short rows, so that two cores learn from many."""

ROWS = 1200
"""More than the training recipe reads once."""

SEEDS = 40

_KINDS = (
    ("Write this order as JSON: {order}", "all"),
    ("Who is the customer here? {order}", "customer"),
    ("Name the goods in this note: {order}", "item"),
    ("{order} On which day is that?", "day"),
    ("Take this down as a table, please: {order}", "table"),
    ("How many pieces does this say? {order}", "quantity"),
)


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    write(chosen.folder, chosen.seed)
    sys.stdout.write(f"{chosen.folder}\n")


def write(folder: Path, seed: int = 0) -> None:
    """Write seeds of held-out sentences, the prompt, and rows of training sentences."""
    folder.mkdir(parents=True, exist_ok=True)
    prompt = folder / "prompt.txt"
    prompt.write_text(PROMPT, encoding="utf-8")
    draw = random.Random(seed)
    seeds = [
        Seed(id=f"demo-{number:03}", category="orders", task=_task(draw, "develop"))
        for number in range(1, SEEDS + 1)
    ]
    _write_lines(folder / "seeds.jsonl", [seed_row(one) for one in seeds])
    _write_lines(folder / "rows.jsonl", [_row(draw, prompt) for _ in range(ROWS)])


def _row(draw: random.Random, prompt: Path) -> dict[str, object]:
    tasks = [_task(draw, "train") for _ in range(LAST_NUMBER)]
    asked = render(tasks[:SHOWN], "en", last_number=LAST_NUMBER, file=prompt)
    answer = render(tasks, "en", last_number=LAST_NUMBER + 1, file=prompt)
    _, _, rest = answer.partition(f"\n\n{SHOWN + 1}. Instruction:")
    body = rest.rpartition(f"\n\n{LAST_NUMBER + 1}. Instruction:")[0]
    return {
        "messages": [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": body.strip()},
        ]
    }


def _task(draw: random.Random, share: Share) -> Task:
    asked, answer = draw.choice(_KINDS)
    found = order(draw, share, template=draw.choice(templates_of(share)))
    return Task(instruction=asked.format(order=found.sentence), output=_answers(found)[answer])


def _answers(found: Order) -> dict[str, str]:
    fields = {
        "customer": found.customer,
        "item": found.item,
        "quantity": str(found.quantity),
        "day": found.day,
    }
    return {
        **fields,
        "all": json.dumps(fields, ensure_ascii=False),
        "table": "\n".join(f"{name}: {value}" for name, value in fields.items()),
    }


def _write_lines(path: Path, rows: Sequence[object]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
