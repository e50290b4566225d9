"""Servers in this process, on loopback: the demo model with its adapter, and a tiny one with narrow limits."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from openai import OpenAI

from xtune import api
from xtune.serve.engine import Limits
from xtune.serve.server import make_server


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@contextmanager
def serving(*runs: str, **options: Any) -> Iterator[api.Server]:
    """A server while it runs."""
    ready = api.serve(runs, address=("127.0.0.1", 0), **options)
    server = make_server(ready.engine, host=ready.host, api_key=ready.api_key, grace_s=5)
    thread = threading.Thread(target=server.run, args=([ready.listener],))
    thread.start()
    while not server.started:
        pass
    try:
        yield ready
    finally:
        server.should_exit = True
        thread.join()


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
