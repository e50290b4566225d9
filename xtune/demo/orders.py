"""Writes the quick-start task of the demo model: an order in a sentence, to be written as JSON.

Run `python -m xtune.demo.orders OUT_FOLDER [--seed S]`.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xtune.demo.sentences import order, templates_of
from xtune.demo.world import Share

REQUEST = "Write this order as JSON: "
# Rows a share: as many as two minutes of two cores can learn from, and 200 to be judged by
# (a standard error of two points at 90 %); 5,800 is what stays below two megabytes.
ROWS: tuple[tuple[Share, int], ...] = (("train", 5800), ("develop", 300), ("test", 200))


def order_row(rng: random.Random, share: Share, template: str) -> dict[str, Any]:
    """Return one row: the sentence, the JSON, and in `meta` what the split tests look at."""
    found = order(rng, share, template=template)
    answer = {
        "customer": found.customer,
        "item": found.item,
        "quantity": found.quantity,
        "day": found.day,
    }
    return {
        "messages": [
            {"role": "user", "content": REQUEST + found.sentence},
            {"role": "assistant", "content": json.dumps(answer, ensure_ascii=False)},
        ],
        "meta": {"template": found.template, "split": share},
    }


def _dealt(rng: random.Random, templates: tuple[str, ...], rows: int) -> Iterator[str]:
    """Yield templates in shuffled rounds, so that each is used as often as any other, or once more."""
    hand: list[str] = []
    for _ in range(rows):
        if not hand:
            hand = rng.sample(templates, len(templates))
        yield hand.pop()


def write_orders(folder: Path, seed: int) -> None:
    """Write train.jsonl, develop.jsonl and test.jsonl, disjoint in templates and in values."""
    folder.mkdir(parents=True, exist_ok=True)
    for share, rows in ROWS:
        rng = random.Random(f"{seed} {share}")
        with (folder / f"{share}.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for template in _dealt(rng, templates_of(share), rows):
                row = order_row(rng, share, template)
                file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


def main() -> None:
    """Parse the command line and write the rows."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where to write the three files")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    write_orders(chosen.folder, chosen.seed)
    sys.stdout.write(f"{chosen.folder}\n")


if __name__ == "__main__":
    main()
