"""Preprocessing speed: xtune against TRL's SFTTrainer and LLaMA-Factory on the same rows; packing a million rows; a second start.

    python -m benchmarks.data [--rows FILE.jsonl] [--count 20000] [--repeat 1] [--rounds 3] [--llamafactory PYTHON]

Everyone reads the same rows (in the messages format) and makes token ids and labels of them with the
demo's tokenizer and template, each in a process of its own, one after another, round after round. Timed
is the work alone: imports, the tokenizer and the model are loaded before. xtune runs as it comes; the others
run as they come, and with one process for each core. What counts is the ratio to the faster of the two ways.
Beside the clock stands the processor time of the process and its children, which other work on a shared
machine disturbs less.
LLaMA-Factory wants other versions of packages: its own Python is named, and runs `benchmarks/data_llamafactory.py`.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

GOAL = 3.0
"""xtune's rows/s over a contender's: what we promise."""

MAX_TOKENS = 2048

OURS = "xtune"
CONTENDERS = {
    OURS: "xtune",
    "TRL, as it comes": "trl",
    "TRL, a process a core": "trl-cores",
    "LLaMA-Factory, as it comes": "llamafactory",
    "LLaMA-Factory, a process a core": "llamafactory-cores",
}
"""Names to what runs them."""


def main() -> None:
    """Run every contender in turn and print the table."""
    options = parse()
    if options.worker:
        print("RESULT " + json.dumps(WORKERS[options.worker](Path(options.rows))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = write_rows(folder / "rows.jsonl", options)
        count = sum(1 for _ in rows.open(encoding="utf-8"))
        print(f"{date.today().isoformat()}, {os.cpu_count()} cores, {count:,} rows")
        names = [name for name in CONTENDERS if options.llamafactory or "LLaMA" not in name]
        speeds: dict[str, list[float]] = {one: [] for one in names}
        busy: dict[str, list[float]] = {one: [] for one in names}
        for number in range(options.rounds):
            for place, one in enumerate(names):
                result = run(one, rows, folder / f"{place}-{number}", options.llamafactory)
                if result is not None:
                    speeds[one].append(result["rows"] / result["seconds"])
                    busy[one].append(1e6 * result["cpu_seconds"] / result["rows"])
                    print(
                        f"round {number + 1}  {one:31} {speeds[one][-1]:8.0f} rows/s {busy[one][-1]:8.0f} us of processor a row"
                        f"  {result['tokens']:,} tokens",
                        flush=True,
                    )
        print_ratios(speeds, busy)
        for number in (1, 2):
            result = run("cached", rows, folder / "kept", None)
            if result is not None:
                print(f"start {number} with the cache: {result['seconds']:.2f} s")
    print_packing()


def print_ratios(speeds: dict[str, list[float]], busy: dict[str, list[float]]) -> None:
    """Medians, and xtune against the faster way of each other."""
    middle = {one: statistics.median(some) for one, some in speeds.items() if some}
    cost = {one: statistics.median(some) for one, some in busy.items() if some}
    for one in middle:
        print(f"median   {one:31} {middle[one]:8.0f} rows/s {cost[one]:8.0f} us of processor a row")
    if OURS not in middle:
        return
    for family in dict.fromkeys(one.partition(",")[0] for one in middle if one != OURS):
        ways = [one for one in middle if one.startswith(family)]
        fastest, cheapest = max(ways, key=middle.__getitem__), min(ways, key=cost.__getitem__)
        print(
            f"xtune / {fastest} (the faster): {middle[OURS] / middle[fastest]:.2f} by the clock (goal {GOAL:g}); "
            f"{cheapest} / xtune: {cost[cheapest] / cost[OURS]:.2f} by processor time"
        )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data")
    parser.add_argument("--rows", help="any JSON Lines file; default: rows are made up")
    parser.add_argument("--count", type=int, default=20_000, help="how many rows at most")
    parser.add_argument("--repeat", type=int, default=1, help="how often the rows of the file come")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--llamafactory", help="a Python that can import llamafactory")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    return parser.parse_args()


def write_rows(path: Path, options: argparse.Namespace) -> Path:
    """The rows in the messages format, which all contenders read."""
    given, count = options.rows, options.count
    with path.open("w", encoding="utf-8") as file:
        for _ in range(options.repeat):
            for messages in made_up(count) if given is None else given_rows(given, count):
                file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    return path


def made_up(count: int) -> Any:
    """Conversations of two to six turns of made-up words, lengths log-normal."""
    generator = random.Random(0)
    syllables = [a + b for a in "bcdfghklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er")]
    words = ["".join(generator.choices(syllables, k=generator.randint(1, 4))) for _ in range(5000)]
    for _ in range(count):
        yield [
            {
                "role": ("user", "assistant")[turn % 2],
                "content": " ".join(
                    generator.choices(words, k=max(2, int(generator.lognormvariate(3, 0.8))))
                ),
            }
            for turn in range(2 * generator.randint(1, 3))
        ]


def given_rows(path: str, count: int) -> Any:
    """The conversations of a file, as xtune reads them."""
    from itertools import islice

    from xtune.data.problems import Problems
    from xtune.data.rows import RowReader
    from xtune.data.sources import find_files
    from xtune.data.types import Conversation

    problems = Problems()
    for row in islice(RowReader(find_files([path])[0], problems), count):
        if isinstance(row, Conversation):
            yield [{"role": one.role, "content": one.content} for one in row.messages]
    problems.raise_any()


def run(name: str, rows: Path, folder: Path, python: str | None) -> dict[str, float] | None:
    """One contender in a process of its own, with empty caches; None if it failed."""
    environment = {
        **os.environ,
        "XTUNE_CACHE": str(folder / "xtune"),
        "HF_DATASETS_CACHE": str(folder / "datasets"),
        "HF_HUB_OFFLINE": "1",
        "DISABLE_VERSION_CHECK": "1",
    }
    worker = CONTENDERS.get(name, name)
    command = [sys.executable, "-m", "benchmarks.data", "--worker", worker, "--rows", str(rows)]
    if "LLaMA" in name:
        script = Path(__file__).with_name("data_llamafactory.py")
        from xtune.demo.bundled import bundled_path

        command = [
            str(python),
            str(script),
            str(rows),
            str(bundled_path("bundled:demo")),
            str(folder),
            *([str(os.cpu_count())] if "process" in name else []),
        ]
        environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        print(f"{name} failed:\n{done.stderr[-1500:]}")
        return None
    result: dict[str, float] = json.loads(lines[-1].removeprefix("RESULT "))
    return result


class Stopwatch:
    """Seconds by the clock and of processors, those of ended children included, since it was made."""

    def __init__(self) -> None:
        self._clock, self._cpu = time.perf_counter(), sum(os.times()[:4])

    def read(self) -> dict[str, float]:
        """The seconds so far."""
        return {
            "seconds": time.perf_counter() - self._clock,
            "cpu_seconds": sum(os.times()[:4]) - self._cpu,
        }


def prepare_with_xtune(rows: Path, *, cache: bool) -> dict[str, float]:
    """Read, check, encode and report, as `xtune train` does."""
    from xtune.data.prepare import prepare
    from xtune.hardware import detect
    from xtune.memory import ModelShape
    from xtune.models.load import load_tokenizer, read_config
    from xtune.plan import resolve
    from xtune.recipe import Recipe

    recipe = Recipe.model_validate(
        {
            "model": {"name": "bundled:demo"},
            "method": "lora",
            "data": {"train": str(rows), "max_tokens": MAX_TOKENS, "cache": cache},
            "train": {"learning_rate": 1e-4, "max_steps": 1},
        }
    )
    plan = resolve(recipe, detect(), ModelShape.from_config(read_config(recipe.model)))
    tokenizer = load_tokenizer(recipe.model, None)
    watch = Stopwatch()
    report = prepare(plan, tokenizer).report.train
    return {**watch.read(), "rows": report.rows_read, "tokens": report.tokens}


def prepare_with_trl(rows: Path, processes: int | None) -> dict[str, float]:
    """What `SFTTrainer` does with a data set before training, labels of the answers alone."""
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from xtune.demo.bundled import bundled_path

    model = str(bundled_path("bundled:demo"))
    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = AutoModelForCausalLM.from_pretrained(model)
    arguments = SFTConfig(
        output_dir=str(rows.parent / "trl"),
        max_length=MAX_TOKENS,
        assistant_only_loss="{% generation %}" in (tokenizer.chat_template or ""),
        dataset_num_proc=processes,
        report_to=[],
        use_cpu=True,
        bf16=False,
    )
    watch = Stopwatch()
    data = load_dataset("json", data_files=str(rows), split="train")
    trainer = SFTTrainer(
        model=loaded, args=arguments, train_dataset=data, processing_class=tokenizer
    )
    times = watch.read()
    tokens = sum(len(ids) for ids in trainer.train_dataset["input_ids"])
    return {**times, "rows": len(trainer.train_dataset), "tokens": tokens}


WORKERS: dict[str, Callable[[Path], dict[str, float]]] = {
    "xtune": lambda rows: prepare_with_xtune(rows, cache=False),
    "cached": lambda rows: prepare_with_xtune(rows, cache=True),
    "trl": lambda rows: prepare_with_trl(rows, None),
    "trl-cores": lambda rows: prepare_with_trl(rows, os.cpu_count()),
}


def print_packing() -> None:
    """Time and efficiency of packing a million rows of real-looking lengths."""
    from xtune.data.packing import pack

    generator = np.random.default_rng(0)
    lengths = np.clip(generator.lognormal(5.3, 0.9, 1_000_000).astype(np.int64), 2, MAX_TOKENS)
    began = time.perf_counter()
    packs = pack(lengths, MAX_TOKENS, np.random.default_rng(0))
    seconds = time.perf_counter() - began
    full = lengths.sum() / (len(packs) * MAX_TOKENS)
    print(f"packing {len(lengths):,} rows: {seconds:.2f} s, {full:.2%} full")


if __name__ == "__main__":
    main()
