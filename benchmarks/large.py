"""Encodes, or streams, one large file of conversations, and prints rows, time and the peak memory of every process.

    python -m benchmarks.large --rows alpaca.jsonl --gigabytes 5 --folder /big/disk [--stream SECONDS]

The file is made of the given rows (instruction, input, output) in a seeded order, some ten turns a
conversation, about 5 KB each; it and the cache stay in the folder. Nothing is trained.
"""

import argparse
import json
import os
import random
import threading
import time
from collections import defaultdict
from pathlib import Path

from xtune.data.batch import Assembly
from xtune.data.prepare import Listener, prepare
from xtune.data.stream_batches import StreamBatches
from xtune.hardware import detect, launch
from xtune.memory import ModelShape
from xtune.models.load import load_tokenizer, read_config
from xtune.plan import Plan, resolve
from xtune.recipe import Recipe


def make_file(rows: Path, path: Path, size: int) -> None:
    """Write conversations until the file has so many bytes."""
    given = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    chance, number = random.Random(0), 0
    with path.open("wb") as file:
        while file.tell() < size:
            messages, length = [], 0
            while length < 4700:
                row = chance.choice(given)
                asked = f"{row['instruction']}\n{row.get('input') or ''} ({number}.{len(messages)})"
                messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": row["output"]}]  # fmt: skip
                length += len(asked) + len(row["output"]) + 60
            line = json.dumps({"messages": messages}, ensure_ascii=False)
            file.write(line.encode() + b"\n")
            number += 1


def make_plan(path: Path, *, streaming: bool, workers: int | None) -> Plan:
    """A plan for the bundled demo model on this file."""
    data = {"train": str(path), "max_tokens": 8192, "over_length": "truncate", "packing": streaming}
    recipe = Recipe.model_validate(
        {
            "model": {"name": "bundled:demo"},
            "method": {"type": "lora"},
            "data": {**data, "streaming": streaming, "workers": workers},
            "train": {"max_steps": 1_000_000, "batch_size": 32, "learning_rate": 1e-3},
        }
    )
    shape = ModelShape.from_config(read_config(recipe.model))
    return resolve(recipe, detect(), shape, launch=launch(), recipe_name="large")


def peak_kilobytes(process: int | str) -> int:
    """VmHWM of a process; 0 once it is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def watch(peaks: dict[str, int]) -> None:
    """Note the peaks of this process's children, every second."""
    while True:
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            peaks[child] = max(peaks[child], peak_kilobytes(child))
        time.sleep(1)


def main() -> None:
    """Make the file if it is not there, then encode or stream it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--stream", type=float, metavar="SECONDS")
    asked = parser.parse_args()
    path = asked.folder / "large.jsonl"
    if not path.exists():
        make_file(asked.rows, path, int(asked.gigabytes * 1e9))
    os.environ["XTUNE_CACHE"] = str(asked.folder / "cache")
    plan = make_plan(path, streaming=asked.stream is not None, workers=asked.workers)
    tokenizer = load_tokenizer(plan.recipe.model, None)
    peaks: dict[str, int] = defaultdict(int)
    threading.Thread(target=watch, args=(peaks,), daemon=True).start()
    before, began = peak_kilobytes("self"), time.monotonic()
    prepared = prepare(plan, tokenizer, listener=Listener(say=print))
    print(f"prepared in {time.monotonic() - began:.1f} s; {before:,} kB before")
    rows, tokens = prepared.report.train.rows_read, prepared.report.train.tokens
    if asked.stream is not None:
        steps = prepared.batches(Assembly(micro_batch_size=1, pad_token_id=0, packed=True))
        assert isinstance(steps, StreamBatches)
        rows = tokens = index = 0
        while time.monotonic() - began < asked.stream and steps.epoch(index) < 1:
            step = steps.step(index)
            if index == 0:
                print(f"first step after {time.monotonic() - began:.1f} s")
            rows, tokens, index = rows + len(step.origins), tokens + step.tokens, index + 1
    print(f"{rows:,} rows, {tokens:,} tokens, {time.monotonic() - began:.0f} s; peaks in kB: {peak_kilobytes('self'):,}, {sorted(peaks.values())}")  # fmt: skip


if __name__ == "__main__":
    main()
