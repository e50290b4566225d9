"""Servers in this process, on loopback: the demo model with its adapter, and a tiny one with narrow limits."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from openai import OpenAI
from serve_support import serving
from threads import on_one_thread

from xtune import api
from xtune.serve.limits import Limits


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    with on_one_thread():
        yield


@pytest.fixture(scope="session")
def demo() -> Iterator[api.Server]:
    """The demo model and the adapter that comes with it."""
    with serving(
        "bundled:tasks", limits=Limits(concurrent=8, queued=32, output_tokens=1500)
    ) as ready:
        yield ready


@pytest.fixture(scope="session")
def client(demo: api.Server) -> OpenAI:
    return OpenAI(base_url=demo.url, api_key="none", max_retries=0)


@pytest.fixture(scope="session")
def start_tiny(tiny_model: Path) -> Iterator[Callable[..., api.Server]]:
    """Starts servers of the tiny model with options."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(serving(f"tiny={tiny_model}", **options))
