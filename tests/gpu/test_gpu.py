"""What only a CUDA device can show: a QLoRA step trains, and the computed peak is near the measured one."""

from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),
]


@pytest.fixture(autouse=True)
def cuda_device() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


@pytest.mark.parametrize("stack", ["plain", "ours"])
def test_qlora_on_cuda_is_finite_and_its_loss_falls(stack: str) -> None:
    import torch

    from benchmarks.gpu_stacks import build, is_finite_and_falls, random_ids

    device = torch.device("cuda")
    trained = build(stack, "tiny", device, 128)
    ids = random_ids("tiny", 128, device)
    assert is_finite_and_falls([trained.step(ids) for _ in range(5)])


@pytest.mark.parametrize("tokens", [1024, 4096])
def test_computed_peak_is_within_fifteen_percent_of_the_measured_one(tokens: int) -> None:
    import torch

    from benchmarks.gpu_stacks import LOGIT_BYTES, RANK, SHAPES, build, random_ids
    from xtune.memory import ModelShape, Workload, predict

    device = torch.device("cuda")
    if torch.cuda.get_device_properties(device).total_memory < 10 * 2**30:
        pytest.skip("a step of 4,096 tokens needs about 7 GiB")
    stack = build("ours", "llama-2-7b", device, tokens)
    torch.cuda.reset_peak_memory_stats()
    ids = random_ids("llama-2-7b", tokens, device)
    for _ in range(3):
        stack.step(ids)
    measured = torch.cuda.max_memory_allocated()
    shape = ModelShape.from_config({"model_type": "llama", **SHAPES["llama-2-7b"]})
    work = Workload(
        method="qlora",
        quantization="nf4",
        rank=RANK,
        tokens=tokens,
        optimizer="paged_adamw_8bit",
        loss_chunk_tokens=LOGIT_BYTES // (4 * shape.vocab),
    )
    found = predict(shape, work)
    # torch counts neither its context nor what its allocator keeps without using it.
    computed = found.peak_bytes - found.items["context"] - found.items["reserve"]
    assert computed == pytest.approx(measured, rel=0.15)


def test_detected_device_is_the_one_that_torch_names() -> None:
    import torch

    from xtune.hardware import detect

    found = detect("cuda")
    assert found.name == torch.cuda.get_device_name(0)
    assert found.vram_free_bytes is not None
    assert found.vram_free_bytes <= found.vram_bytes


def test_every_method_of_the_doctor_works_on_cuda() -> None:
    from xtune.report.trials import try_devices

    trials: list[Any] = [each for each in try_devices() if each.device in {"cuda", "rocm"}]
    failed = [each for each in trials if each.outcome == "fails"]
    assert not failed


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parameters_on_the_gpu_follow_the_optimizer_on_the_host(dtype: str) -> None:
    """The arithmetic is the processor's, so parameters that never left it tell what comes out, to the bit."""
    import torch
    from factories import make_plan

    from xtune.train.optimizer import build_optimizer

    recipe = {"method": "full", "train": {"learning_rate": 1e-2}}
    found = []
    for device in ("cuda", "cpu"):
        generator = torch.Generator().manual_seed(0)
        params = [
            torch.nn.Parameter(
                torch.randn(shape, generator=generator).to(device, getattr(torch, dtype))
            )
            for shape in [(300, 200), (64,), (1000, 40), (8, 8)]
        ]
        group = {"params": params, "lr_scale": 1.0, "weight_decay": 0.1, "kind": "rest"}
        plan = make_plan(recipe, device=device, optimizer_states="host")
        optimizer = build_optimizer([group], plan)
        for _ in range(5):
            for parameter in params:
                gradient = torch.randn(parameter.shape, generator=generator)
                parameter.grad = gradient.to(device, parameter.dtype)
            optimizer.step()
        found.append([parameter.detach().cpu() for parameter in params])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_run_that_fills_the_gpu_goes_on_with_a_smaller_plan(tmp_path: Path) -> None:
    import json

    import torch

    from xtune import api
    from xtune.run.observer import Observers, StepMetrics

    class Squeeze(Observers):
        """After the first step the allocator may take little more than what is in use."""

        def on_step(self, metrics: StepMetrics) -> None:
            if metrics.step == 1:
                room = torch.cuda.memory_allocated() + (48 << 20)
                total = torch.cuda.get_device_properties(0).total_memory
                torch.cuda.empty_cache()
                torch.cuda.set_per_process_memory_fraction(room / total)

    changes = ["data.packing=true", "data.evaluate=null", "train.evaluate_every=null"]
    steps = ["train.max_steps=2", f"run.folder={tmp_path / 'run'}"]
    try:
        api.train("quickstart", [*changes, *steps], observers=[Squeeze([])])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    plan = json.loads((tmp_path / "run" / "plan.json").read_text(encoding="utf-8"))
    assert any("Memory ran out in step 2" in note for note in plan["notes"])
