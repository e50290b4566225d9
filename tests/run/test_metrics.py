"""The metrics file of a resumed run holds each step once, whatever a kill left in it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtune.run.metrics import MetricsLog, read_metrics
from xtune.run.observer import EvaluationMetrics, StepMetrics


def step(number: int) -> StepMetrics:
    return StepMetrics(
        step=number,
        loss=1.0 / number,
        learning_rate=0.1,
        grad_norm=None if number == 2 else 2.0,
        tokens=10 * number,
        trained_tokens=5.0 * number,
        epoch=0.1,
        tokens_per_s=1.0,
        elapsed_s=1.0,
        memory_bytes=1,
    )


def write(folder: Path, first: int, last: int, *, keep: int) -> None:
    log = MetricsLog(folder, keep_steps=keep)
    for number in range(first, last + 1):
        log.write_step(step(number))
        if number % 2 == 0:
            log.write_evaluation(EvaluationMetrics(step=number, loss=0.5, tokens=3.0, best=False))
    log.close()


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(0, 4000), checkpoint=st.integers(0, 9))
def test_a_file_torn_anywhere_continues_to_the_same_bytes(
    cut: int, checkpoint: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole, torn = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("torn")
    write(whole, 1, 12, keep=0)
    write(torn, 1, 10, keep=0)
    content = (torn / "metrics.jsonl").read_bytes()
    # a kill cannot lose what was written before the checkpoint it resumes from
    lines = content.splitlines(keepends=True)
    safe = sum(
        len(line)
        for line in lines
        if b'"step": ' in line and int(line.split(b'"step": ')[1].split(b",")[0]) <= checkpoint
    )
    (torn / "metrics.jsonl").write_bytes(content[: max(safe, min(cut, len(content)))])
    write(torn, checkpoint + 1, 12, keep=checkpoint)
    assert (torn / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_an_overflowed_step_has_no_norm_and_the_file_stays_json(tmp_path: Path) -> None:
    write(tmp_path, 1, 3, keep=0)
    assert [
        row["grad_norm"] for row in read_metrics(tmp_path / "metrics.jsonl") if "loss" in row
    ] == [2.0, None, 2.0]
