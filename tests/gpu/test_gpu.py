"""What only a CUDA device can show of the whole: it is found, every method works on it, and a run that fills it goes on."""

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
