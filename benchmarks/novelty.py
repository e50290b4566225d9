"""Speed and memory of the novelty filter, beside rouge_score's own loop in the same run.

    python -m benchmarks.novelty [--streams paper,one,million] [--search compiled|numpy]
    python -m benchmarks.novelty --files es=instructions.jsonl    # real texts, their field "instruction"

`paper` is 132,701 tasks in the 11 languages of MultiAlpaca, a pool each; `one` as many in one language; `million` a
million in one language. Texts are invented (`benchmarks.invented`) unless files are given. Each stream runs in a process
of its own; every text is compared with all kept before it. The reference is timed on a sample of pairs of the same stream
and multiplied by the number of pairs, in both forms in which the older tools loop over a pool:

- `score`: `RougeScorer.score(a, b)` for each pair, which cuts both texts anew, as self-instruct has it. The filter cuts
  its texts too, so the goal is about this one, with `xtune.text.tokenizer`, which gives the filter's tokens. Tokenising alone is timed with it as well,
  text by text; the filter cuts many at once.
- `_score_lcs`: the texts were cut before, as Alpaca has it. Given against the whole filter and against it less tokenising.

Texts are cut while those before them are searched for, and these are searched for on all cores the process may run on. So
the filter is given in seconds of the clock, which mean something on an idle machine only, and in those of the processor,
all threads together. Tokenising takes one thread; the reference is seconds of processor, on one thread as well. The peak of memory is read before `rouge_score` is imported.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from benchmarks.invented import PAPER, texts_in

BATCH = 131_072
"""Texts offered together."""

SAMPLED_PAIRS = 3000
MOST_TIMES_TOKENISING = 4
LEAST_TIMES_REFERENCE = 20_000
MOST_MEGABYTES = {"paper": 400, "one": 400}
"""What we promise."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One stream."""

    name: str
    texts: int
    kept: int
    first_call_s: float
    """Importing, and loading what was compiled before or waiting for the process that compiles; not part of the other times,
    by the clock."""

    threads: int
    tokenising_s: float
    tokenising_clock_s: float
    filtering_s: float
    """All of it: tokenising, numbering tokens, searching, verdicts."""

    filtering_clock_s: float

    score_s: float
    """All pairs by `RougeScorer.score`."""

    lcs_s: float
    """All pairs by `_score_lcs`."""

    peak_mb: float

    @property
    def times_tokenising(self) -> float:
        """The whole filter's time over tokenising alone, by the clock."""
        return self.filtering_clock_s / self.tokenising_clock_s

    @property
    def processor_times_tokenising(self) -> float:
        """The same by the processor, all threads together."""
        return self.filtering_s / self.tokenising_s

    @property
    def times_score(self) -> float:
        """How many times faster than `RougeScorer.score`, which tokenises too."""
        return self.score_s / self.filtering_s

    @property
    def times_lcs(self) -> float:
        """How many times faster than `_score_lcs` on texts that are tokens already, the filter's tokenising counted."""
        return self.lcs_s / self.filtering_s

    @property
    def times_lcs_without_tokenising(self) -> float:
        """The same for the search alone."""
        return self.lcs_s / (self.filtering_s - self.tokenising_s)


def main() -> None:
    """Run each stream in a process of its own and print the table."""
    options = parse()
    if options.worker:
        print("RESULT " + json.dumps(asdict(measure(options))))
        return
    print(
        "stream | texts | kept | threads | tokenise s | filter s | times | of processor: tokenise s | filter s | "
        "times | score, h | faster | "
        "_score_lcs, h | faster | search alone | peak MB"
    )
    for name in ["files"] if options.files else options.streams.split(","):
        command = [sys.executable, "-m", "benchmarks.novelty", *sys.argv[1:], "--worker", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        show(Measured(**json.loads(done.stdout.rpartition("RESULT ")[2])))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Speed of the novelty filter.")
    parser.add_argument("--streams", default="paper,one,million")
    parser.add_argument("--files", nargs="*", metavar="LANGUAGE=FILE", default=[])
    parser.add_argument("--search", choices=["compiled", "numpy"], default="compiled")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def streams(options: argparse.Namespace) -> Mapping[str, Iterable[str]]:
    """Language to its texts."""
    if options.files:
        named = [entry.partition("=") for entry in options.files]
        return {language: instructions(Path(path)) for language, _, path in named}
    if options.worker == "paper":
        return {language: texts_in(language, count) for language, count in PAPER.items()}
    return {"es": texts_in("es", 1_000_000 if options.worker == "million" else sum(PAPER.values()))}


def instructions(path: Path) -> Iterator[str]:
    """The instructions of a JSONL file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["instruction"]


def measure(options: argparse.Namespace) -> Measured:
    """Filter one stream."""
    started = time.perf_counter()
    from selfinstruct.novelty import NoveltyPool
    from selfinstruct.novelty.search import NumpyNearest, fastest_nearest
    from xtune.text import tokenizer

    search = NumpyNearest if options.search == "numpy" else fastest_nearest()
    # enough texts to run all that is compiled, posting lists and their merging included
    NoveltyPool("en", nearest=search).offer_many(f"text {n} of {n} others" for n in range(5_000))
    first_call_s = time.perf_counter() - started
    tokenising, filtering = Watch(), Watch()
    texts = kept = 0
    sampled: list[tuple[str, list[str], int]] = []
    for language, stream in streams(options).items():
        tokenize = tokenizer(language)
        tokenize("wake the segmenter")
        pool = NoveltyPool(language, nearest=search)
        draw, sample, pairs = random.Random(0), [], 0
        remaining = iter(stream)
        while batch := list(islice(remaining, BATCH)):
            with tokenising:
                for text in batch:
                    tokenize(text)
            with filtering:
                verdicts = pool.offer_many(batch)
            size = len(pool) - sum(verdict.kept for verdict in verdicts)
            for verdict in verdicts:
                pairs += size
                size += verdict.kept
            texts += len(batch)
            sample += draw.sample(batch, min(640, len(batch)))
        kept += len(pool)
        sampled.append((language, sample, pairs))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    score_s, lcs_s = map(sum, zip(*(reference_s(*of) for of in sampled), strict=True))
    return Measured(
        name=options.worker,
        texts=texts,
        kept=kept,
        first_call_s=first_call_s,
        threads=getattr(search(0.7, False), "threads", 1),
        tokenising_s=tokenising.processor_s,
        tokenising_clock_s=tokenising.clock_s,
        filtering_s=filtering.processor_s,
        filtering_clock_s=filtering.clock_s,
        score_s=score_s,
        lcs_s=lcs_s,
        peak_mb=peak_mb,
    )


class Watch:
    """Adds up what runs within it."""

    def __init__(self) -> None:
        self.clock_s = self.processor_s = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.clock_s += time.perf_counter() - self._started[0]
        self.processor_s += time.process_time() - self._started[1]


def reference_s(language: str, sample: list[str], pairs: int) -> tuple[float, float]:
    """What rouge_score takes for so many pairs of texts of the sample, cutting them or not."""
    from rouge_score.rouge_scorer import RougeScorer, _score_lcs

    from xtune.text import tokenizer

    class Ours:
        tokenize = staticmethod(tokenizer(language))

    scorer, draw = RougeScorer(["rougeL"], tokenizer=Ours()), random.Random(0)
    texts = [(draw.choice(sample), draw.choice(sample)) for _ in range(SAMPLED_PAIRS)]
    tokens = [(Ours.tokenize(a), Ours.tokenize(b)) for a, b in texts]
    seconds = []
    for score, inputs in ((scorer.score, texts), (_score_lcs, tokens)):
        started = time.process_time()
        for a, b in inputs:
            score(a, b)
        seconds.append((time.process_time() - started) / SAMPLED_PAIRS * pairs)
    return seconds[0], seconds[1]


def show(it: Measured) -> None:
    """One row, and the goals it misses."""
    print(
        f"{it.name} | {it.texts:,} | {it.kept:,} | {it.threads} | {it.tokenising_clock_s:.2f} | {it.filtering_clock_s:.2f} | "
        f"{it.times_tokenising:.1f} | {it.tokenising_s:.2f} | {it.filtering_s:.2f} | {it.processor_times_tokenising:.1f} | {it.score_s / 3600:,.0f} | {it.times_score:,.0f} | "
        f"{it.lcs_s / 3600:,.0f} | {it.times_lcs:,.0f} | {it.times_lcs_without_tokenising:,.0f} | {it.peak_mb:.0f}"
        f"   (first call {it.first_call_s:.1f} s)"
    )
    if it.times_tokenising > MOST_TIMES_TOKENISING:
        print(f"  misses the goal: at most {MOST_TIMES_TOKENISING} times tokenising")
    if it.times_score < LEAST_TIMES_REFERENCE:
        print(f"  misses the goal: {LEAST_TIMES_REFERENCE:,} times faster than rouge_score")
    if it.peak_mb > MOST_MEGABYTES.get(it.name, float("inf")):
        print(f"  misses the goal: {MOST_MEGABYTES[it.name]} MB")


if __name__ == "__main__":
    main()
