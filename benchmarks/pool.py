"""A pool of a million tasks on disk: how long it takes to grow and to open again, and how much memory each takes.

    python -m benchmarks.pool [--tasks 1000000] [--words 12] [--folder FOLDER]

Growing and opening are processes of their own, so that the memory of each is its own. The tasks are made up: twelve
words of a vocabulary of 50,000 drawn by Zipf's law, so that hardly one resembles another, with a journal line and a
reply line for every 17 tasks, through the journal, the pool and the novelty filter that a run uses.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from selfinstruct.generate.answers import Contents, Read, events_of
from selfinstruct.novelty import NoveltyPool
from selfinstruct.novelty.packed import packed_for_travel
from selfinstruct.pool.disk import Appender
from selfinstruct.pool.journal import Journal
from selfinstruct.pool.lines import json_text
from selfinstruct.pool.pool import LanguagePool
from selfinstruct.types import Reply, Request
from xtune.text import tokenize

TASKS_A_REPLY = 17
WORDS = 50_000
REPLIES_A_SYNC = 64


def main() -> None:
    """Grow and open, each in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--words", type=int, default=12, help="of an instruction")
    parser.add_argument("--folder", help="left out: one that is removed afterwards")
    parser.add_argument("--step", choices=["grow", "open"], help="for the processes")
    options = parser.parse_args()
    if options.step:
        step(options)
        return
    with tempfile.TemporaryDirectory() as spare:
        folder = options.folder or spare
        for name in ("grow", "open"):
            words = ["--tasks", str(options.tasks), "--words", str(options.words)]
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "benchmarks.pool",
                    *words,
                    "--folder",
                    folder,
                    "--step",
                    name,
                ],
                check=True,
            )


def step(options: argparse.Namespace) -> None:
    """One of the two, and a line of what it took."""
    folder = Path(options.folder)
    NoveltyPool("en").offer("compiled beforehand")
    began, processor, before = time.perf_counter(), time.process_time(), peak_mb()
    if options.step == "grow":
        asyncio.run(grow(folder, options.tasks, options.words))
    journal = Journal(folder)
    pool = LanguagePool(folder / "en.jsonl", NoveltyPool("en"), [])
    bytes_ = sum(path.stat().st_size for path in folder.glob("*.jsonl"))
    print(
        f"{'grown and opened' if options.step == 'grow' else 'opened'}: {len(pool):,} tasks, {pool.replies:,} replies, "
        f"{journal.count:,} in the journal, {bytes_ / 1e6:,.0f} MB of files; {time.perf_counter() - began:,.0f} s, "
        f"{time.process_time() - processor:,.0f} s of processor; {peak_mb():,.0f} MB at most, {before:,.0f} MB before",
        flush=True,
    )


def peak_mb() -> float:
    """Most memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def grow(folder: Path, tasks: int, words: int) -> None:
    """Fill journal and pool as a run does."""
    journal = Journal(folder)
    pool = LanguagePool(folder / "en.jsonl", NoveltyPool("en"), [])
    appender = Appender(asyncio.get_running_loop())
    draw = np.random.default_rng(1)
    vocabulary = np.array([f"w{number:x}" for number in range(WORDS)])
    weights = 1 / np.arange(1, WORDS + 1)
    weights /= weights.sum()
    number = 0
    while len(pool) < tasks:
        texts = draw.choice(vocabulary, (REPLIES_A_SYNC, TASKS_A_REPLY, words), p=weights)
        waiting = []
        for reply_texts in texts:
            request = Request(id=f"en/01/{number:06}", messages=(), max_tokens=1)
            number += 1
            instructions = list(map(" ".join, reply_texts))
            reply = Reply(text=json.dumps(instructions), model="none")
            read = Read(request=request, reply=reply, contents=contents_of(instructions))
            waiting.append(journal.append(request, reply, appender))
            waiting.append(pool.append(events_of([read], pool), appender))
        await asyncio.gather(*waiting)
    appender.close()


def contents_of(instructions: list[str]) -> Contents:
    """A reply of tasks with these instructions."""
    fields = b'"input": "", "output": "An answer of some length stands here.", "changes": []'
    pieces = [("", json_text(text), fields) for text in instructions]
    return Contents(pieces, *packed_for_travel(instructions, "en", tokenize))


if __name__ == "__main__":
    main()
