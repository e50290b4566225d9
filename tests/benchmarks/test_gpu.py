"""`benchmarks.gpu` without a GPU: the whole path at toy size, its bookkeeping, and its refusals."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu

# peft 0.21 reads a property that transformers 5.23 deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),
]


def test_machine_without_cuda_is_told_in_one_line_with_exit_code_two(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert gpu.main(["--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert "needs a CUDA device" in captured.err
    assert not (tmp_path / "out").exists()


def test_whole_path_at_toy_size_trains_both_stacks(tmp_path: Path) -> None:
    words = ["--device", "cpu", "--shape", "tiny", "--lengths", "24", "--steps", "2"]
    assert gpu.main([*words, "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    cells = report["cells"]
    assert [(cell["stack"], cell["tokens"], cell["outcome"]) for cell in cells] == [
        ("plain", 24, "ok"),
        ("ours", 24, "ok"),
    ]
    for cell in cells:
        assert len(cell["losses"]) == 4
        assert cell["losses"][-1] < cell["losses"][0]
    # The same model, data and arithmetic: the stacks must agree up to bfloat16.
    assert cells[0]["losses"][0] == pytest.approx(cells[1]["losses"][0], abs=0.01)
    page = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "--shape tiny" in page
    assert page.count("| ok |") == 2


def test_chunked_loss_of_its_own_is_the_models_own_loss() -> None:
    import torch

    from benchmarks.gpu_stacks import _chunked_loss, quantised_model, random_ids

    device = torch.device("cpu")
    model = quantised_model("tiny", device, 32)
    model.train()
    ids = random_ids("tiny", 32, device)
    expected = model(input_ids=ids, labels=ids, use_cache=False).loss
    found = _chunked_loss(model, ids, chunk_tokens=7)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)


def test_stacks_start_from_equal_weights_and_have_the_adapter_of_peft() -> None:
    import torch

    from benchmarks.gpu_stacks import build

    device = torch.device("cpu")
    for name in gpu.STACKS:
        stack = build(name, "tiny", device, 32)
        trained = sum(each.numel() for each in stack.model.parameters() if each.requires_grad)
        # Two layers of q and o (128 to 128), k and v (to 64), gate, up (128 to 256) and down, r = 16.
        widths = 2 * (128 + 128) + 2 * (128 + 64) + 3 * (128 + 256)
        assert trained == 2 * 16 * widths


@pytest.mark.parametrize("words", [["--lengths", "a,b"], ["--lengths", "1"], ["--shape", "huge"]])
def test_impossible_options_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        gpu.main(words)
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err


def results_of(
    monkeypatch: pytest.MonkeyPatch, words: list[str], cell: Any
) -> list[dict[str, Any]]:
    monkeypatch.setattr(gpu, "run_cell", cell)
    return list(gpu.measure(gpu._parse(words)))


def test_out_of_memory_is_a_result_and_spares_that_stack_greater_lengths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cell(task: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
        if task["stack"] == "plain" and task["tokens"] >= 64:
            return {"outcome": "oom", "detail": "CUDA out of memory"}
        return {"outcome": "ok", "detail": "", "tokens_per_s": timeout_s}

    results = results_of(monkeypatch, ["--lengths", "128,32,64"], cell)
    found = [(each["tokens"], each["stack"], each["outcome"]) for each in results]
    assert found == [
        (32, "plain", "ok"),
        (32, "ours", "ok"),
        (64, "plain", "oom"),
        (64, "ours", "ok"),
        (128, "plain", "not run"),
        (128, "ours", "ok"),
    ]
    assert results[4]["detail"] == "out of memory at 64 tokens"


def test_time_limit_leaves_the_rest_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def cell(*_: Any, **__: Any) -> dict[str, Any]:
        raise RuntimeError("nothing must run")

    results = results_of(monkeypatch, ["--lengths", "32", "--time-limit-s", "0"], cell)
    assert {each["detail"] for each in results} == {"out of time"}


def test_cell_that_outlives_its_time_is_stopped() -> None:
    task = {"stack": "ours", "shape": "tiny", "tokens": 16, "device": "cpu", "cap_gib": 0}
    found = gpu.run_cell({**task, "warmup": 0, "steps": 1}, timeout_s=0.05)
    assert found == {"outcome": "not run", "detail": "out of time"}


def test_crash_of_a_cell_is_a_failure_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    found = gpu.run_cell({}, timeout_s=20)
    assert found == {"outcome": "failed", "detail": "exit code 1: no message"}


def test_page_shows_every_outcome() -> None:
    report = {
        "machine": {"device": "a card", "date": "2026-11-22", "python": "3.12", "packages": {}},
        "options": vars(gpu._parse(["--lengths", "32"])),
        "cells": [
            {
                "tokens": 32,
                "stack": "ours",
                "outcome": "ok",
                "detail": "",
                "allocated_bytes": 3 * 2**30,
                "reserved_bytes": 2**32,
                "tokens_per_s": 100.4,
                "losses": [10.0, 9.5],
            },
            {"tokens": 32, "stack": "plain", "outcome": "oom", "detail": "CUDA out of memory"},
        ],
    }
    page = gpu.markdown(report)
    assert "| 32 | ours | 3.00 | 4.00 | 100 | 10.000 to 9.500 | ok |" in page
    assert "| 32 | plain | - | - | - | - | oom: CUDA out of memory |" in page
