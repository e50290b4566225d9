"""How near selfinstruct comes to the ideal throughput of a server with latency, at 256 requests at a time.

    python -m benchmarks.generate [--concurrency 256] [--latency 0.2] [--requests 5120]

The server is a process of its own on loopback that answers each request after the latency. Ideal: concurrency /
latency. Three measurements: the client alone (`direct`, then through the openai package), and a whole run of 11
languages with journal, parsing, rules, novelty and pool.
"""

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from selfinstruct.llm.server import ServerLLM
from selfinstruct.llm.settings import LLMSettings
from selfinstruct.pool.tally import Tally
from selfinstruct.report.progress import Lines
from selfinstruct.run.session import run
from selfinstruct.seeds import shipped_seeds
from selfinstruct.settings import read_settings
from selfinstruct.types import Request

SERVER = Path(__file__).parents[1] / "tests" / "support" / "scripted_llm.py"
LANGUAGES = ["ar", "de", "es", "fr", "id", "ja", "ko", "pt", "ru", "th", "vi"]


def main() -> None:
    """Measure, and print a line each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--requests", type=int, default=5120)
    parser.add_argument("--tasks", type=int, default=1, help="tasks in each reply of the whole run")
    options = parser.parse_args()
    os.environ.setdefault("OPENAI_API_KEY", "none")
    ideal = options.concurrency / options.latency
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"ideal: {options.concurrency} / {options.latency:g} s = {ideal:,.0f} requests/s")
    for client in ("direct", "openai"):
        with_client(client, options, ideal)
    whole_run(options, ideal)


def with_client(client: str, options: argparse.Namespace, ideal: float) -> None:
    """The client alone, twice; the second time counts."""
    with Server(options.latency, 1) as url:
        settings = LLMSettings.model_validate(
            {
                "model": "scripted",
                "base_url": url,
                "client": client,
                "concurrency": options.concurrency,
            }
        )
        for _ in range(2):
            wall, processor = asyncio.run(ask(settings, options.requests))
    rate = options.requests / wall
    print(
        f"client {client}: {rate:,.0f} requests/s, {rate / ideal:.0%} of ideal, "
        f"{1000 * processor / options.requests:.2f} ms of processor a request"
    )


async def ask(settings: LLMSettings, count: int) -> tuple[float, float]:
    """Seconds of wall clock and processor for `count` requests."""
    llm = ServerLLM(settings)
    requests = [
        Request(
            id=f"{number}",
            messages=({"role": "user", "content": f"{number} " + "words " * 500},),
            max_tokens=100,
        )
        for number in range(count)
    ]
    start, processor = time.perf_counter(), time.process_time()
    await asyncio.gather(*map(llm.complete, requests))
    took = time.perf_counter() - start, time.process_time() - processor
    await llm.close()
    return took


def whole_run(options: argparse.Namespace, ideal: float) -> None:
    """A whole run, from the first reply to the last."""
    rounds = max(1, options.requests // (len(LANGUAGES) * 200))
    with Server(options.latency, options.tasks) as url, tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "recipe.yaml"
        recipe.write_text(
            f"languages: [{', '.join(LANGUAGES)}]\n"
            f"llm: {{model: scripted, base_url: '{url}', output: text, concurrency: {options.concurrency}}}\n"
            f"generate: {{rounds: {rounds}, first_round_prompts: 200, prompts_per_round: 200}}\n"
            f"seeds: {shipped_seeds('en')}\n"
            f"run: {{folder: {folder}/run}}\n",
            encoding="utf-8",
        )
        shower = Clocked()
        outcome = run(read_settings(str(recipe)), shower)
        rate = outcome.tally.replies / (shower.last - shower.first)
    print(
        f"whole run, {len(LANGUAGES)} languages, {options.tasks} tasks a reply: {outcome.tally.replies:,} replies, "
        f"{rate:,.0f}/s, {rate / ideal:.0%} of ideal"
    )


class Clocked(Lines):
    """Notes when the loop began and when it told its last."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.first = self.last = 0.0

    def show(self, tally: Tally) -> None:
        """Note the time."""
        del tally
        self.last = time.perf_counter()
        self.first = self.first or self.last


class Server:
    """The scripted server in a process of its own."""

    def __init__(self, latency_s: float, tasks: int) -> None:
        self._words = [sys.executable, SERVER.name, "0", str(latency_s), str(tasks)]

    def __enter__(self) -> str:
        self._process = subprocess.Popen(
            self._words, cwd=SERVER.parent, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        return f"http://127.0.0.1:{int(self._process.stdout.readline())}/v1"

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


if __name__ == "__main__":
    main()
