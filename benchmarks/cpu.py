"""Training speed on this CPU: xtune, a plain hand-written torch loop and TRL's SFTTrainer, same model, same rows.

    python -m benchmarks.cpu [--rounds 3] [--steps 60] [--dtype bfloat16] [--out docs/benchmarks]

The contenders run one after another, each in a process of its own, round after round, so that a slow
minute of the machine hits all alike; what counts is the ratio of the medians. Trained tokens are those
with a label, counted after the shift; the first steps of each run are warm-up and not timed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks.contenders import CONTENDERS, Task, prepare

GOALS = {"plain": 0.97, "trl": 1.3}
"""xtune's trained tokens/s over the contender's: what we promise."""


@dataclass(frozen=True)
class Result:
    """One contender over all rounds."""

    name: str
    tokens_per_s: tuple[float, ...]
    final_loss: float

    @property
    def median(self) -> float:
        """Median trained tokens/s over the rounds."""
        return statistics.median(self.tokens_per_s)


def main() -> None:
    """Run every contender in turn and print the table."""
    options = parse()
    if options.worker:
        task = Task(**json.loads(Path(options.task).read_text(encoding="utf-8")))
        print("RESULT " + json.dumps(CONTENDERS[options.worker](task)))
        return
    with tempfile.TemporaryDirectory() as folder:
        task = prepare(Path(folder), steps=options.steps, dtype=options.dtype)
        measured: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
        for number in range(options.rounds):
            for name in CONTENDERS:
                result = run_worker(name, Path(folder), task)
                if result:
                    measured[name].append(result)
                    print(
                        f"round {number + 1}  {name:6}  {result['tokens_per_s']:8.0f} trained tokens/s  loss {result['loss']:.3f}"
                    )
    results = [
        Result(name, tuple(run["tokens_per_s"] for run in runs), runs[-1]["loss"])
        for name, runs in measured.items()
        if runs
    ]
    text = table(results, task)
    print("\n" + text)
    if options.out:
        target = Path(options.out)
        target.mkdir(parents=True, exist_ok=True)
        (target / f"cpu-{options.dtype}.md").write_text(text + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--out", default="")
    parser.add_argument(
        "--worker", choices=sorted(CONTENDERS), default=None, help=argparse.SUPPRESS
    )
    parser.add_argument("--task", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def run_worker(name: str, folder: Path, task: Task) -> dict[str, float]:
    """One contender in a fresh process; an empty dict, with the reason printed, if it failed."""
    path = folder / "task.json"
    path.write_text(json.dumps(vars(task)), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.cpu", "--worker", name, "--task", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            result: dict[str, float] = json.loads(line.removeprefix("RESULT "))
            return result
    print(f"{name} did not run: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return {}


def table(results: list[Result], task: Task) -> str:
    """The comparison as Markdown, with the ratios and whether they meet the goals."""
    ours = next((result for result in results if result.name == "xtune"), None)
    lines = [
        f"Measured {date.today()} with `python -m benchmarks.cpu --steps {task.steps} --dtype {task.dtype}`.",
        f"{platform_line()}. Bundled demo model, LoRA r=16 on all linear layers, {task.batch_size} rows a step.",
        "",
        "| contender | trained tokens/s, median | each round | xtune over it | goal | loss at the end |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        ratio = f"{ours.median / result.median:.2f}" if ours and result is not ours else ""
        goal = f">= {GOALS[result.name]}" if result.name in GOALS else ""
        rounds = ", ".join(f"{value:.0f}" for value in result.tokens_per_s)
        lines.append(
            f"| {result.name} | {result.median:.0f} | {rounds} | {ratio} | {goal} | {result.final_loss:.3f} |"
        )
    return "\n".join(lines)


def platform_line() -> str:
    """The hardware and the versions that the numbers belong to."""
    from importlib.metadata import version

    from xtune.hardware import detect

    machine = detect()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    return f"{machine.name}, {machine.cpu_count} cores; {versions}"


if __name__ == "__main__":
    main()
