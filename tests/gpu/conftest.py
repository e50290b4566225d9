"""The device of these tests. `XTUNE_GPU_TESTS=cpu pytest -m gpu tests/gpu/test_techniques.py` runs their code where there is none."""

import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def gpu() -> Iterator[Any]:
    """A CUDA device with nothing of earlier tests on it; skips where there is none."""
    import torch

    if os.environ.get("XTUNE_GPU_TESTS") == "cpu":
        yield torch.device("cpu")
        return
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    yield torch.device("cuda", torch.cuda.current_device())
