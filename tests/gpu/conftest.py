"""The device of these tests: a GPU, or what stands for one.

pytest -m gpu tests/gpu                                          # on a GPU
XTUNE_GPU_TESTS=pretend pytest -m gpu tests/gpu                  # on a pretended one (tests/support/pretend_cuda.py)
XTUNE_GPU_TESTS=cpu pytest -m gpu tests/gpu/test_techniques.py   # their code on a processor
"""

import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest

PRETENDED = os.environ.get("XTUNE_GPU_TESTS") == "pretend"

if PRETENDED:  # before the tests look for a device
    import pretend_cuda

    pretending = pretend_cuda.pretended_cuda()
    pretending.__enter__()


def pytest_unconfigure() -> None:
    """There is no device any more."""
    if PRETENDED:
        gc.collect()  # what still lies there gives its memory back while the device stands
        pretending.__exit__(None, None, None)


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


@pytest.fixture(autouse=True)
def no_races() -> Iterator[None]:
    """On a pretended device nothing is used while another stream may still write it."""
    if PRETENDED:
        pretend_cuda.watch.races.clear()
    yield
    if PRETENDED:
        assert pretend_cuda.watch.races == []
