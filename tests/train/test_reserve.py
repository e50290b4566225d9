"""What the allocator holds and cannot use: watched in the first steps, kept in the run's folder, said where it is much."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from factories import make_plan

from xtune.memory import GIB, ModelShape, Workload, predict
from xtune.run.observer import StepMetrics
from xtune.train.reserve import STEPS, Held, ReserveWatch, read_held

LLAMA = {
    "model_type": "llama", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
}  # fmt: skip


def step() -> StepMetrics:
    return StepMetrics(
        step=1, loss=1.0, learning_rate=0.0, grad_norm=None, tokens=1, trained_tokens=1.0, epoch=0.0,
        tokens_per_s=1.0, elapsed_s=1.0, memory_bytes=1,
    )  # fmt: skip


def watched(folder: Path, figures: Iterator[Held | None]) -> tuple[ReserveWatch, list[str]]:
    said: list[str] = []
    return ReserveWatch(folder, said.append, lambda: next(figures)), said


def test_the_worst_of_the_first_steps_is_kept_for_the_next_process(tmp_path: Path) -> None:
    figures = [Held(90, 100), Held(80, 100), Held(95, 100), None, Held(96, 100), Held(1, 100)]
    watch, _ = watched(tmp_path, iter(figures))
    assert watch.usable() == 1.0
    for _ in range(STEPS + 1):  # the last figure comes too late to be looked at
        watch.on_step(step())
    assert watch.usable() == 0.8
    again, _ = watched(tmp_path, iter([Held(99, 100)]))
    assert again.usable() == 0.8
    again.on_step(step())
    assert again.usable() == 0.8


def test_an_allocator_with_room_to_spare_is_not_believed_to_lose_more_than_a_quarter() -> None:
    assert Held(10, 100).usable == 0.75
    assert Held(100, 100).usable == 1.0


@pytest.mark.parametrize("text", ["", "[]", '{"allocated_bytes": "much"}', '{"reserved_bytes": 1}'])
def test_a_damaged_note_is_no_note(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.json").write_text(text, encoding="utf-8")
    assert read_held(tmp_path) is None


@pytest.mark.parametrize(("lost_gib", "said_of"), [(0.02, None), (3.0, "3.00 GiB")])
def test_more_than_the_plan_set_aside_is_said_once(
    tmp_path: Path, lost_gib: float, said_of: str | None
) -> None:
    work = Workload(method="qlora", quantization="nf4", rank=16, tokens=2048)
    predicted = predict(ModelShape.from_config(LLAMA), work)
    reserve = predicted.items["reserve"]
    assert 0.02 * GIB < reserve < 3 * GIB
    held = Held(20 * GIB, 20 * GIB + round(lost_gib * GIB))
    watch, said = watched(tmp_path, iter([held] * STEPS))
    watch.start_over(replace(make_plan(), predicted=predicted))
    for _ in range(STEPS + 3):
        watch.on_step(step())
    assert len(said) == (0 if said_of is None else 1)
    if said_of:
        assert said_of in said[0]
        assert f"{reserve / GIB:.2f} GiB were set aside" in said[0]


def test_without_cuda_nothing_is_measured_or_written(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    watch = ReserveWatch(tmp_path, print)
    watch.on_step(step())
    assert watch.usable() == 1.0
    assert not list(tmp_path.iterdir())
