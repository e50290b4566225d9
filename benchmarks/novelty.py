"""Speed and memory of the novelty filter, beside rouge_score's own loop in the same run.

    python -m benchmarks.novelty [--streams paper,one,million] [--search compiled|numpy]
    python -m benchmarks.novelty --files es=instructions.jsonl    # real texts, their field "instruction"

`paper` is 132,701 tasks in the 11 languages of MultiAlpaca, a pool each; `one` as many in one language; `million` a
million in one language. Texts are invented (`benchmarks.invented`) unless files are given. Each stream runs in a process of its own; every
text is compared with all kept before it. Reference: `_score_lcs` of rouge_score on the same tokens, timed on a sample
of pairs of the same stream and multiplied by the number of pairs. That loop does not tokenise, so two ratios are given:
the whole filter against it, and the filter less tokenising. Times are seconds of processor, all on one thread.
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

BATCH = 4096
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
    """Importing and compiling, or loading what was compiled before; not part of the other times."""

    tokenising_s: float
    filtering_s: float
    """All of it: tokenising, numbering tokens, searching, verdicts."""

    pairs: int
    reference_s_per_pair: float
    peak_mb: float

    @property
    def times_tokenising(self) -> float:
        """The whole filter's time over tokenising alone."""
        return self.filtering_s / self.tokenising_s

    @property
    def times_reference(self) -> float:
        """How many times faster than rouge_score's loop, tokenising and all."""
        return self.pairs * self.reference_s_per_pair / self.filtering_s

    @property
    def times_reference_without_tokenising(self) -> float:
        """The same without the time that tokenising alone took, which rouge_score's loop does not do either."""
        search_s = self.filtering_s - self.tokenising_s
        return self.pairs * self.reference_s_per_pair / search_s


def main() -> None:
    """Run each stream in a process of its own and print the table."""
    options = parse()
    if options.worker:
        print("RESULT " + json.dumps(asdict(measure(options))))
        return
    print(
        "stream | texts | kept | tokenise s | filter s | times | rouge_score h | faster | "
        "without tokenising | peak MB"
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
    started = time.process_time()
    from selfinstruct.novelty import NoveltyPool
    from selfinstruct.novelty.search import NumpyNearest, fastest_nearest
    from xtune.text import tokenizer

    search = NumpyNearest if options.search == "numpy" else fastest_nearest()
    # enough texts to run all that is compiled, posting lists and their merging included
    NoveltyPool("en", nearest=search).offer_many(f"text {n} of {n} others" for n in range(5_000))
    first_call_s = time.process_time() - started
    tokenising_s = filtering_s = reference_s = 0.0
    texts = kept = pairs = 0
    languages = streams(options)
    for language, stream in languages.items():
        tokenize = tokenizer(language)
        tokenize("wake the segmenter")
        pool = NoveltyPool(language, nearest=search)
        draw, sample = random.Random(0), []
        remaining = iter(stream)
        while batch := list(islice(remaining, BATCH)):
            started = time.process_time()
            for text in batch:
                tokenize(text)
            tokenising_s += time.process_time() - started
            started = time.process_time()
            verdicts = pool.offer_many(batch)
            filtering_s += time.process_time() - started
            size = len(pool) - sum(verdict.kept for verdict in verdicts)
            for verdict in verdicts:
                pairs += size
                size += verdict.kept
            texts += len(batch)
            sample += [tokenize(text) for text in draw.sample(batch, min(20, len(batch)))]
        kept += len(pool)
        reference_s += reference_s_per_pair(sample, draw) / len(languages)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Measured(
        name=options.worker,
        texts=texts,
        kept=kept,
        first_call_s=first_call_s,
        tokenising_s=tokenising_s,
        filtering_s=filtering_s,
        pairs=pairs,
        reference_s_per_pair=reference_s,
        peak_mb=peak_mb,
    )


def reference_s_per_pair(sample: list[list[str]], draw: random.Random) -> float:
    """What rouge_score takes for a pair of texts of the sample."""
    from rouge_score.rouge_scorer import _score_lcs

    pairs = [(draw.choice(sample), draw.choice(sample)) for _ in range(SAMPLED_PAIRS)]
    started = time.process_time()
    for a, b in pairs:
        _score_lcs(a, b)
    return (time.process_time() - started) / len(pairs)


def show(it: Measured) -> None:
    """One row, and the goals it misses."""
    hours = it.pairs * it.reference_s_per_pair / 3600
    print(
        f"{it.name} | {it.texts:,} | {it.kept:,} | {it.tokenising_s:.2f} | {it.filtering_s:.2f} | "
        f"{it.times_tokenising:.1f} | {hours:,.0f} | {it.times_reference:,.0f} | "
        f"{it.times_reference_without_tokenising:,.0f} | {it.peak_mb:.0f}"
        f"   (first call {it.first_call_s:.1f} s)"
    )
    if it.times_tokenising > MOST_TIMES_TOKENISING:
        print(f"  misses the goal: at most {MOST_TIMES_TOKENISING} times tokenising")
    if it.times_reference < LEAST_TIMES_REFERENCE:
        print(f"  misses the goal: {LEAST_TIMES_REFERENCE:,} times faster than rouge_score")
    if it.peak_mb > MOST_MEGABYTES.get(it.name, float("inf")):
        print(f"  misses the goal: {MOST_MEGABYTES[it.name]} MB")


if __name__ == "__main__":
    main()
