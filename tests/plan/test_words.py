"""What a plan says to people: the bars of its memory, the reasons of what does not fit, lines as wide as the terminal."""

import fcntl
import os
import struct
import subprocess
import sys
import termios

import pytest
from machines import LLAMA_7B, gpu, make_recipe

from xtune.memory import GIB
from xtune.plan.assess import assess
from xtune.plan.parts import MEANINGS, part_lines, peak_parts
from xtune.plan.resolve import NEAREST, decide


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
@pytest.mark.parametrize("memory", [6, 24, 80])
def test_the_bars_stand_on_one_another_up_to_the_peak(method: str, memory: int) -> None:
    predicted = decide(make_recipe(method), gpu(memory), LLAMA_7B)[0].predicted
    assert predicted is not None
    assert peak_parts(predicted).keys() == MEANINGS.keys()
    *parts, peak = part_lines(predicted)
    assert peak.split() == ["peak", f"{predicted.peak_bytes / GIB:.3f}", "GiB", "(computed)"]
    assert sum(float(line.split()[1]) for line in parts) == pytest.approx(
        predicted.peak_bytes / GIB, abs=0.001 * len(MEANINGS)
    )
    ends = 22  # name 12, size 8, two spaces
    for line in parts:
        assert len(line) <= 80
        bar = line[22:44]
        if "█" in bar:
            assert 22 + bar.index("█") == ends, line
            ends = 22 + bar.rindex("█") + 1
    assert ends == 44


def test_what_does_not_fit_says_of_nothing_that_there_is_room_for_it() -> None:
    found = assess(make_recipe("full", train__optimizer="adamw"), gpu(4), LLAMA_7B)
    assert not found.fits
    choices = found.plan.choices()
    assert choices["base"].reason == choices["embeddings"].reason == NEAREST
    assert choices["fused_step"].reason == NEAREST
    for name, choice in choices.items():
        assert "fit into" not in choice.reason, name
        assert "there is room" not in choice.reason, name


def test_what_was_asked_for_is_said_to_be_so_where_nothing_fits() -> None:
    found = assess(make_recipe("full", memory__embeddings="device"), gpu(2), LLAMA_7B)
    assert found.plan.embeddings.reason == "asked for in the recipe"


def shown_in(columns: int, *words: str) -> list[str]:
    """What `xtune plan` writes to a terminal of so many columns."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [sys.executable, "-m", "xtune", "plan", *words]
    with subprocess.Popen(command, stdout=theirs, env=environment) as process:
        os.close(theirs)
        pieces = []
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not piece:
                break
            pieces.append(piece)
    os.close(ours)
    assert process.returncode == 0
    return b"".join(pieces).decode().splitlines()


@pytest.mark.parametrize("target", ["qwen3-8b-qlora-8gb", "meta-llama/Llama-3.1-8B"])
def test_a_terminal_of_80_columns_shows_every_line_whole(target: str) -> None:
    lines = shown_in(80, target, "--vram", "8GiB", "--ram", "32GiB")
    assert len(lines) > 10
    assert max(map(len, lines)) <= 80
    if "qlora" in target:  # a reason that is wrapped goes on under its column
        start = next(line for line in lines if line.startswith("over_length"))
        follows = lines[lines.index(start) + 1]
        assert follows[: start.index("conversations")].isspace()
