"""Measures selfinstruct's language identification, parser and rules on files that are not part of this repository.

    python -m benchmarks.checks language FOLDER       texts named by language: es.txt, th.jsonl, ja.xml
    python -m benchmarks.checks parse FILE            JSON lines of raw numbered lists: `text`, `finish_reason`
    python -m benchmarks.checks rules FILE LANGUAGE   JSON lines of tasks; --show N prints N victims of each rule

It judges nothing beyond counting: whether a dropped task deserved it, a reader says.
"""

import argparse
import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from selfinstruct.parse import parse_reply
from selfinstruct.rules import Rules
from selfinstruct.types import Task
from xtune.text import detect_language


def texts_of(path: Path) -> Iterator[str]:
    """The texts of a file: paragraphs of XML, `instruction` or `text` of JSON lines, lines of anything else."""
    if path.suffix == ".xml":
        yield from (
            "".join(element.itertext())
            for element in ElementTree.parse(path).iter()
            if element.tag.endswith("para")
        )
    elif path.suffix == ".jsonl":
        rows = (json.loads(line) for line in path.read_text("utf-8").splitlines())
        yield from {row.get("instruction") or row.get("text") or "" for row in rows}
    else:
        yield from path.read_text("utf-8").splitlines()


def language(folder: Path) -> None:
    """Print, per language, the share of texts of more than 10 characters told right, left open and told wrong."""
    for path in sorted(folder.iterdir()):
        if not re.fullmatch(r"[a-z]{2}", path.stem):
            continue
        texts = sorted(text.strip() for text in texts_of(path) if len(text.strip()) > 10)
        random.Random(0).shuffle(texts)
        started = time.perf_counter()
        found = Counter(detect_language(text) for text in texts[:1000])
        seconds = time.perf_counter() - started
        total = max(1, found.total())
        right, unsure = found[path.stem] / total, found[None] / total
        print(
            f"{path.stem}  {total:5} texts  right {right:6.1%}  open {unsure:6.1%}  wrong {max(0, 1 - right - unsure):6.1%}"
            f"  {seconds / total * 1e6:.0f} us a text"
        )


def parse(file: Path) -> None:
    """Print recall and precision of the parser on raw lists, whose items end where the next number begins a line."""
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    labelled = found = right = 0
    for row in rows:
        items = Counter(
            re.sub(r"^\d+\. ", "", item.strip()) for item in re.split(r"\n(?=\d+\. )", row["text"])
        )
        parsed = Counter(
            task.instruction for task in parse_reply(row["text"], row["finish_reason"]).tasks
        )
        labelled, found, right = (
            labelled + items.total(),
            found + parsed.total(),
            right + (items & parsed).total(),
        )
    print(
        f"{len(rows)} replies, {labelled} items: recall {right / labelled:.2%}, precision {right / max(1, found):.2%}"
    )


def rules(file: Path, code: str, show: int) -> None:
    """Print how many tasks each rule drops and changes, with examples."""
    judge = Rules(code)
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    victims: dict[str, list[str]] = defaultdict(list)
    changes: Counter[str] = Counter()
    started = time.perf_counter()
    for row in rows:
        judgement = judge.judge(
            Task(
                instruction=row["instruction"] or "",
                input=row.get("input") or "",
                output=row["output"] or "",
            )
        )
        changes.update(judgement.changes)
        if judgement.dropped:
            victims[judgement.dropped.reason].append(
                f"{judgement.dropped.detail} | {judgement.dropped.text[:90]!r}"
            )
    seconds = time.perf_counter() - started
    dropped = sum(map(len, victims.values()))
    print(
        f"{len(rows)} tasks, {dropped} dropped, changed {dict(changes)}, {seconds / len(rows) * 1e3:.1f} ms a task"
    )
    for reason, listed in sorted(victims.items(), key=lambda pair: -len(pair[1])):
        print(f"{reason:24} {len(listed):6}")
        for line in random.Random(0).sample(listed, min(show, len(listed))):
            print(f"    {line}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["language", "parse", "rules"])
    parser.add_argument("path", type=Path)
    parser.add_argument("code", nargs="?", default="en", help="language of the tasks")
    parser.add_argument("--show", type=int, default=0, help="victims of each rule to print")
    arguments = parser.parse_args()
    if arguments.what == "language":
        language(arguments.path)
    elif arguments.what == "parse":
        parse(arguments.path)
    else:
        rules(arguments.path, arguments.code, arguments.show)


if __name__ == "__main__":
    main()
