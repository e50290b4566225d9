"""Progress on pipes and terminals: real pipes, a real pseudo-terminal, and streams that go away."""

import io
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xtune.report.progress import PlainProgress, TerminalProgress, progress
from xtune.run.observer import EndInfo, EndStatus, StartInfo, StepMetrics


def read_all(main: int) -> bytes:
    """Everything that a terminal has received so far; one read returns a part of it only."""
    parts = []
    while select.select([main], [], [], 0.05)[0]:
        parts.append(os.read(main, 100_000))
    return b"".join(parts)


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time now."""
        return self.now


def test_a_pipe_shows_first_step_last_step_evaluations_and_the_end(
    play: Callable[..., None],
) -> None:
    stream = io.StringIO()
    play(PlainProgress(stream, clock=Clock()))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "training 1,000 of 200,000 parameters (0.50%) on 64 rows, steps 1 to 40"
    assert lines[1].startswith(
        "step  1/40   2%  loss 2.3097  lr 1.9e-04  2.0k tok/s  1.5 GiB  ETA ?"
    )
    assert lines[2].startswith("evaluation at step 20: loss 0.8707 (best so far)")
    assert lines[3].startswith("step 40/40 100%")
    assert lines[5] == "Done after 40 steps."
    assert len(lines) == 6


def test_lines_come_two_seconds_apart_at_first_and_ever_more_rarely(
    start: StartInfo, make_step: Callable[..., StepMetrics]
) -> None:
    stream, clock = io.StringIO(), Clock()
    observer = PlainProgress(stream, clock=clock)
    observer.on_start(start)
    for step in range(1, 7200):
        clock.now = step * 0.5  # an hour of half-second steps
        observer.on_step(make_step(step, learning_rate=1e-4))
    count = stream.getvalue().count("\nstep ")
    # 10 lines to 20 s at 2 s apart, a factor of 1.1 each to 600 s (36 lines), one a minute to 3600 s (50)
    assert 90 <= count <= 102


def test_an_interrupted_run_still_shows_its_last_step(
    start: StartInfo, make_step: Callable[..., StepMetrics]
) -> None:
    stream = io.StringIO()
    observer = PlainProgress(stream, clock=Clock())
    observer.on_start(start)
    for step in range(1, 8):
        observer.on_step(make_step(step))
    observer.on_end(EndInfo(status="interrupted", step=7, message="Stopped after step 7."))
    assert stream.getvalue().splitlines()[-1].startswith("step  7/40")


@pytest.mark.parametrize("status", ["failed", "diverged", "interrupted"])
def test_an_end_that_an_exception_tells_is_not_told_twice(status: EndStatus) -> None:
    stream = io.StringIO()
    PlainProgress(stream).on_end(EndInfo(status=status, step=0, message="The disk is full."))
    assert not stream.getvalue()


def test_a_pipe_without_a_reader_ends_the_output_not_the_run(play: Callable[..., None]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    play(PlainProgress(stream))
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_closed_stream_ends_the_output_not_the_run(play: Callable[..., None]) -> None:
    stream = io.StringIO()
    stream.close()
    play(PlainProgress(stream))  # raises nothing
    assert stream.closed


def test_letters_that_the_stream_cannot_hold_become_question_marks(start: StartInfo) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    observer = PlainProgress(stream)
    observer.on_start(start)
    observer.on_message("naïve 数据")
    stream.flush()
    assert raw.getvalue().endswith(b"na?ve ??\n")


def test_a_process_whose_reader_leaves_exits_with_code_zero() -> None:
    script = (
        "import sys, time\n"
        "from xtune.report.progress import progress\n"
        "observer = progress()\n"
        "for number in range(50):\n"
        "    observer.on_message('line ' * 400)\n"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read().decode()
    process.stderr.close()
    assert (process.wait(timeout=300), error) == (0, "")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    main, side = pty.openpty()
    stream = os.fdopen(side, "w")
    yield main, stream
    stream.close()
    os.close(main)


def test_a_terminal_gets_a_bar_with_the_numbers_and_lines_above_it(
    terminal, play: Callable[..., None]
) -> None:  # type: ignore[no-untyped-def]
    main, stream = terminal
    observer = progress(stream)
    assert isinstance(observer, TerminalProgress)
    play(observer)
    text = read_all(main).decode()
    assert "steps 1 to 40" in text
    assert "evaluation at step 40: loss 0.6366" in text
    assert "40/40" in text
    assert "100%" in text
    assert "tok/s" in text
    assert "Done after 40 steps." in text


def test_a_terminal_that_closes_ends_the_output_not_the_run(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    main, side = pty.openpty()
    stream = os.fdopen(side, "w")
    clock = Clock()

    def leave(step: int) -> None:
        clock.now += 1.0
        if step == 5:
            os.close(main)

    play(TerminalProgress(stream, clock=clock), between=leave)
    with pytest.raises(OSError, match="Input/output error"):
        stream.close()


def test_the_bar_is_drawn_four_times_a_second_however_short_the_steps_are(
    start: StartInfo, make_step: Callable[..., StepMetrics], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drawing takes about a millisecond of the processor: four a second are less than one percent of it."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    main, side = pty.openpty()
    clock, shown = Clock(), b""
    with os.fdopen(side, "w") as stream:
        observer = TerminalProgress(stream, clock=clock)
        observer.on_start(start)
        observer.on_step(make_step(1))
        shown += read_all(main)
        before = shown.count(b"tok/s")
        for step in range(2, 202):  # four seconds of training, with steps of twenty milliseconds
            clock.now += 0.02
            observer.on_step(make_step(step % 39, learning_rate=1e-4))  # never the last of 40
            if step % 20 == 0:
                shown += read_all(main)
        drawn = shown.count(b"tok/s") - before
        observer.on_end(EndInfo(status="finished", step=201, message="Done."))
    os.close(main)
    # 0.26 s is the first multiple of 0.02 s that is no less than a quarter: 15 times in four seconds
    assert drawn == 15
