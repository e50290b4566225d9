"""What only a CUDA device can show: a QLoRA step trains, and the computed peak is near the measured one."""

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
