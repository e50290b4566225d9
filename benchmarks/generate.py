"""How near selfinstruct comes to the ideal throughput of a server with latency, at 256 requests at a time, and what it costs.

    python -m benchmarks.generate [--concurrency 256] [--latency 0.2] [--requests 6600] [--tasks 1 2 4 17]

The server (`benchmarks.reply_server`) is a process of its own on the same machine and answers each request after the
latency, in the language that was asked for. Ideal: concurrency / latency. Measured: the client alone (`direct`, then
through the openai package), and whole runs of 11 languages with journal, parsing, rules, novelty and pool, for replies
of several sizes. Beside the rate stands the processor time of a reply in each process. From it two rates are computed
that no other program and no latency slows down: with the server on these processors, as here, and with a server
elsewhere, as users have it. One process asks, whatever there are. At the end, how many processors other programs took
meanwhile.
"""

import argparse
import asyncio
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from selfinstruct.llm.server import ServerLLM
from selfinstruct.llm.settings import LLMSettings
from selfinstruct.pool.tally import Tally
from selfinstruct.report.progress import Lines
from selfinstruct.run.session import run
from selfinstruct.seeds import shipped_seeds
from selfinstruct.settings import read_settings
from selfinstruct.types import Request

LANGUAGES = ["ar", "de", "es", "fr", "id", "ja", "ko", "pt", "ru", "th", "vi"]


def main() -> None:
    """Measure, and print a line each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--requests", type=int, default=6600)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 2, 4, 17], help="in each reply")
    parser.add_argument("--workers", default="auto", help="processes that read replies")
    parser.add_argument("--runs-only", action="store_true", help="leave the client alone out")
    options = parser.parse_args()
    os.environ.setdefault("OPENAI_API_KEY", "none")
    ideal = options.concurrency / options.latency
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"ideal: {options.concurrency} / {options.latency:g} s = {ideal:,.0f} replies/s")
    for client in () if options.runs_only else ("direct", "openai"):
        with_client(client, options, ideal)
    for tasks in options.tasks:
        whole_run(options, tasks, ideal)


@dataclass(kw_only=True)
class Times:
    """Seconds: of the wall, and of the processor by who took them."""

    wall: float
    asking: float
    reading: float
    server: float
    everybody: float

    @classmethod
    def now(cls, server: psutil.Process) -> "Times":
        """Since whenever."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        running = psutil.Process().children()
        reading = sum(_processor(child) for child in running if child.pid != server.pid)
        machine = psutil.cpu_times()
        return cls(
            wall=time.perf_counter(),
            asking=time.process_time(),
            reading=reading + ended.ru_utime + ended.ru_stime,
            server=_processor(server),
            everybody=machine.user + machine.nice + machine.system + getattr(machine, "softirq", 0),
        )

    def __sub__(self, other: "Times") -> "Times":
        return Times(**{name: value - vars(other)[name] for name, value in vars(self).items()})

    def told(self, replies: int, ideal: float) -> str:
        """A line for people."""
        own = self.asking + self.reading + self.server
        each = [f"{1e6 * part / replies:,.0f}" for part in (self.asking, self.reading, self.server)]
        cores = os.cpu_count() or 1
        most = replies / self.asking  # one process asks
        beside = min(most, cores * replies / own)
        elsewhere = min(most, cores * replies / (self.asking + self.reading))
        return (
            f"{replies / self.wall:,.0f}/s, {replies / self.wall / ideal:.0%} of ideal; "
            f"processor us a reply: asking {each[0]}, reading {each[1]}, server {each[2]}; "
            f"computed from these, {cores} processors carry {_share(beside, ideal)} with the server, "
            f"{_share(elsewhere, ideal)} with a server elsewhere; "
            f"others took {max(0.0, self.everybody - own) / self.wall:.1f} processors"
        )


def _share(rate: float, ideal: float) -> str:
    """Replies/s at which the processors are full, and what part of the ideal is reached: never more than all of it."""
    return f"{rate:,.0f}/s ({min(1.0, rate / ideal):.0%} of ideal)"


def _processor(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def with_client(client: str, options: argparse.Namespace, ideal: float) -> None:
    """The client alone, twice; the second time counts."""
    with Server(options.latency, 1, 100) as server:
        settings = LLMSettings.model_validate(
            {
                "model": "scripted",
                "base_url": server.url,
                "client": client,
                "concurrency": options.concurrency,
            }
        )
        for _ in range(2):
            before = Times.now(server.process)
            asyncio.run(ask(settings, options.requests))
            times = Times.now(server.process) - before
    print(f"client {client}: {times.told(options.requests, ideal)}")


async def ask(settings: LLMSettings, count: int) -> None:
    """Ask `count` times."""
    llm = ServerLLM(settings)
    requests = [
        Request(
            id=f"{number}",
            messages=({"role": "user", "content": f"{number} " + "words " * 500},),
            max_tokens=100,
        )
        for number in range(count)
    ]
    await asyncio.gather(*map(llm.complete, requests))
    await llm.close()


def whole_run(options: argparse.Namespace, tasks: int, ideal: float) -> None:
    """A whole run, until the last reply is in the pool."""
    rounds = max(1, options.requests // (len(LANGUAGES) * 200))
    with (
        Server(options.latency, tasks, rounds * 200) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        recipe = Path(folder) / "recipe.yaml"
        recipe.write_text(
            f"languages: [{', '.join(LANGUAGES)}]\n"
            f"llm: {{model: scripted, base_url: '{server.url}', output: text, concurrency: {options.concurrency}}}\n"
            f"generate: {{rounds: {rounds}, first_round_prompts: 200, prompts_per_round: 200}}\n"
            f"seeds: {shipped_seeds('en')}\n"
            f"run: {{folder: {folder}/run, workers: {options.workers}}}\n",
            encoding="utf-8",
        )
        clock = Clocked(server.process)
        outcome = run(read_settings(str(recipe)), clock)
    tally = outcome.tally
    kept = sum(tally.kept.values()) / max(1, tally.replies * tasks)
    print(
        f"whole run, {len(LANGUAGES)} languages, {tasks} tasks a reply ({kept:.0%} kept): {tally.replies:,} replies, "
        f"after a third of them {clock.told(ideal)}"
    )


class Clocked(Lines):
    """Notes when a third of the replies were in the pool, every process having started by then, and when all were."""

    def __init__(self, server: psutil.Process) -> None:
        super().__init__(sys.stderr)
        self._server = server
        self._first: Times | None = None
        self._last_tally: Times | None = None
        self._replies = -1
        self._before = 0

    def show(self, tally: Tally) -> None:
        """Note the times."""
        if self._first is None and 3 * tally.replies >= tally.expected:
            self._first = Times.now(self._server)
            self._before = tally.replies
        if tally.replies != self._replies and tally.replies == tally.expected:
            self._last_tally = Times.now(self._server)
        self._replies = tally.replies

    def told(self, ideal: float) -> str:
        """What lay between, as a line."""
        assert self._first is not None
        assert self._last_tally is not None
        return (self._last_tally - self._first).told(self._replies - self._before, ideal)


class Server:
    """The server in a process of its own."""

    def __init__(self, latency_s: float, tasks: int, replies: int) -> None:
        words = [sys.executable, "-m", "benchmarks.reply_server", latency_s, tasks, replies]
        self._words = list(map(str, words))

    def __enter__(self) -> "Server":
        root = Path(__file__).parents[1]
        self._process = subprocess.Popen(self._words, cwd=root, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/v1"
        self.process = psutil.Process(self._process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


if __name__ == "__main__":
    main()
