"""Every memory technique on a CUDA device: the losses of the plain path, and the bytes that were computed."""

import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from pretend_cuda import environment as environment_of

from benchmarks import gpu_worker
from benchmarks.gpu import _missing
from benchmarks.gpu_cells import Cell, all_cells

PRETENDED = os.environ.get("XTUNE_GPU_TESTS") == "pretend"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),
]

ALL = all_cells(full_depth=False)
CELLS = {each.name: each for each in ALL if each.table == "techniques"}
GOALS = {each.name: each for each in ALL if each.table == "goals"}
PLAIN = {True: "QLoRA, nothing", False: "full"}
OTHER_NUMBERS = {
    "QLoRA, head nf4": 2e-2, "QLoRA, head int8": 1e-2, "full, GaLore": 0.2, "full, APOLLO": 0.2,
    # the host steps float32 numbers, the device bfloat16 ones
    "full, states host": 3e-2, "full, 8-bit states host": 3e-2, "full, layers in host memory": 3e-2,
}  # fmt: skip
"""Techniques that are meant to change numbers, and by how much at most."""


def run(cell: Cell, device: torch.device, folder: Path, *, tiny: bool) -> dict[str, Any]:
    if missing := _missing(cell):
        pytest.skip(missing)
    given = {"cell": cell.to_json(), "device": device.type, "tiny": tiny, "folder": str(folder)}
    return gpu_worker.run(torch, given)


@cache
def plain_losses(quantized: bool, kind: str) -> tuple[float, ...]:
    found = run(CELLS[PLAIN[quantized]], torch.device(kind), Path(), tiny=True)
    return tuple(found["losses"])


@pytest.mark.parametrize("name", CELLS)
def test_a_technique_gives_the_losses_of_none(
    name: str, gpu: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))
    cell = CELLS[name]
    found = run(cell, gpu, tmp_path, tiny=True)
    assert found["outcome"] == "ok", found["detail"]
    expected = plain_losses(bool(cell.rank), gpu.type)
    assert found["losses"] == pytest.approx(expected, abs=OTHER_NUMBERS.get(name, 5e-3))


@pytest.mark.parametrize("name", GOALS)
def test_what_is_planned_for_eight_gigabytes_trains(
    name: str, gpu: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))
    found = run(GOALS[name], gpu, tmp_path, tiny=True)
    assert found["outcome"] == "ok", found["detail"]


@pytest.mark.parametrize("name", CELLS)
def test_the_computed_peak_is_within_five_percent_of_the_measured_one(
    name: str, gpu: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if gpu.type == "cpu":
        pytest.skip("real sizes, for a GPU")
    if torch.cuda.get_device_properties(gpu).total_memory < 20 * 2**30:
        pytest.skip("four layers of an 8B model at 8,192 tokens need up to 20 GiB")
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))
    found = run(CELLS[name], gpu, tmp_path, tiny=False)
    assert found["outcome"] == "ok", found["detail"]
    assert found["predicted_allocated_bytes"] == pytest.approx(found["allocated_bytes"], rel=0.05)


@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_states_on_the_host_are_stepped_to_the_bits_of_states_on_the_device(
    name: str, gpu: torch.device
) -> None:
    """In stretches that cross, with bitsandbytes' own kernels; the numbers are float32 in both."""
    from bitsandbytes import optim

    from xtune.train import crossing
    from xtune.train.piecewise import PiecewiseOptimizer

    build: Any = optim.AdamW8bit if name == "adamw" else optim.Lion8bit
    shapes = [(1100, 1000), (700, 61), (8, 8)]
    assert shapes[0][0] * shapes[0][1] > crossing.STEP_STRETCH
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in shapes]
    whole, pieces = ([torch.nn.Parameter(each.to(gpu)) for each in start] for _ in range(2))
    reference = build(whole, lr=1e-2)
    groups = [{"params": pieces, "lr": 1e-2, "kind": "rest"}]
    optimizer = PiecewiseOptimizer(groups, build, on_host=True, crossing=True)
    for _ in range(4):
        slopes = [torch.randn(shape, generator=generator) for shape in shapes]
        for params in (whole, pieces):
            for parameter, slope in zip(params, slopes, strict=True):
                parameter.grad = slope.to(gpu)
        reference.step()
        optimizer.step()
    states = [
        each["__bnb_optimizer_quant_state__"] for each in optimizer.state_dict()["state"].values()
    ]
    assert all(each["state1"].device.type == "cpu" for each in states)
    large = list(zip(whole, pieces, strict=True))[
        :2
    ]  # the last has 32-bit states, stepped by the processor
    assert all(torch.equal(one, other) for one, other in large)
    torch.testing.assert_close(whole[2], pieces[2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window", [None, 40])
def test_attention_sinks_in_16_bits_are_those_of_a_written_out_softmax(
    window: int | None, gpu: torch.device
) -> None:
    from xtune.kernels.attention import AttentionSettings, attend

    generator = torch.Generator().manual_seed(0)
    tokens, heads = 200, 8
    shapes = [(1, heads, tokens, 64), (1, 2, tokens, 64), (1, 2, tokens, 64)]
    exact = [torch.randn(shape, generator=generator).to(gpu) for shape in shapes]
    sinks = torch.randn(heads, generator=generator).to(gpu)
    narrow = [each.bfloat16().requires_grad_() for each in exact]
    asked = AttentionSettings(window=window, sinks=sinks.bfloat16())
    found = attend(narrow[0], narrow[1], narrow[2], documents=None, settings=asked)
    wide = [each.detach().float().requires_grad_() for each in narrow]
    key, value = (each.repeat_interleave(heads // 2, 1) for each in wide[1:])
    index = torch.arange(tokens, device=gpu)
    seen = index[:, None] >= index
    if window is not None:
        seen = seen & (index[:, None] - index < window)
    scores = (wide[0] @ key.mT / 8).masked_fill(~seen, -torch.inf)
    column = sinks.bfloat16().float().view(1, -1, 1, 1).expand(1, heads, tokens, 1)
    expected = torch.softmax(torch.cat([scores, column], -1), -1)[..., :-1] @ value
    torch.testing.assert_close(found.float(), expected, rtol=2e-2, atol=2e-2)
    slope = torch.randn(expected.shape, generator=generator).to(gpu)
    of_narrow = torch.autograd.grad(found, narrow, slope.bfloat16())
    of_wide = torch.autograd.grad(expected, wide, slope)
    for one, other in zip(of_narrow, of_wide, strict=True):
        assert (one.float() - other).norm() < 2e-2 * other.norm()


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_layer_by_layer_loading_gives_transformers_own_tensors_and_a_peak_near_them(
    quantization: str, gpu: torch.device, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    from benchmarks.gpu_stacks import write_random_model
    from xtune.models.load import Loading, load_base
    from xtune.recipe import QLoRA
    from xtune.recipe.models import Model

    hidden, wide = (2048, 5504) if gpu.type == "cuda" and not PRETENDED else (256, 704)
    fields = {
        "model_type": "llama", "vocab_size": 512, "hidden_size": hidden, "intermediate_size": wide,
        "num_hidden_layers": 6, "num_attention_heads": 16, "num_key_value_heads": 16,
    }  # fmt: skip
    write_random_model(fields, tmp_path, gpu)
    loading = Loading(
        model=Model(name=str(tmp_path)),
        device=gpu.type,
        weight_dtype="bfloat16",
        compute_dtype="bfloat16",
        attention="sdpa",
        quantization=QLoRA(type="qlora", quantization=quantization),
    )
    on_gpu = gpu.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if on_gpu else 0
    found = load_base(loading)
    if on_gpu:
        matrix = hidden * wide * 2
        held = torch.cuda.memory_allocated() - before
        assert torch.cuda.max_memory_allocated() - before < held + 4 * matrix
    make: Any = BitsAndBytesConfig
    settings = (
        make(load_in_8bit=True)
        if quantization == "int8"
        else make(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    )
    expected = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.bfloat16, quantization_config=settings, device_map={"": str(gpu)}
    )
    ours, theirs = found.state_dict(), expected.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(ours[name], tensor), name


def test_what_the_allocator_held_is_measured(gpu: torch.device) -> None:
    from xtune.train.reserve import held_here

    if gpu.type == "cpu":
        assert held_here() is None
        return
    block = torch.empty(64 << 20, dtype=torch.uint8, device=gpu)
    held = held_here()
    assert held is not None
    assert held.reserved >= held.allocated >= block.numel()


def test_a_streamed_run_that_is_killed_goes_on_to_the_losses_of_one_that_is_not(
    gpu: torch.device, tmp_path: Path
) -> None:
    from running import losses

    def command(folder: Path, *more: str) -> list[str]:
        changes = [
            "memory.base=host", "memory.checkpoints=host", "memory.embeddings=host", "memory.head=host",
            "train.max_steps=8", "train.save_every=2", "train.evaluate_every=null", "data.evaluate=null",
            f"run.folder={folder}",
        ]  # fmt: skip
        return [sys.executable, "-m", "xtune", "train", "quickstart", *changes, *more]

    races = tmp_path / "races"
    environment = {**(environment_of(races) if PRETENDED else os.environ), "XTUNE_DEVICE": gpu.type}
    quiet: dict[str, Any] = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "env": environment,
    }
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    subprocess.run(command(straight), check=True, **quiet)
    child = subprocess.Popen(command(killed), **quiet)
    while child.poll() is None and not list(killed.glob("checkpoints/step-*")):
        time.sleep(0.005)
    if child.poll() is None:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()
    subprocess.run(command(killed, "--resume"), check=True, **quiet)
    assert not races.exists(), races.read_text(encoding="utf-8")
    # flash attention's backward pass adds up in any order
    assert losses(killed) == pytest.approx(losses(straight), rel=1e-3)
