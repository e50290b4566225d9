"""A server of `xtune serve` on a free port of loopback, in this process or as the command."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from awaited import wait_for

from xtune import api
from xtune.serve.server import make_server

START_SECONDS = 300
"""Longest time that a server may take to start; a busy machine takes ten."""


@contextmanager
def serving(*runs: str, **options: Any) -> Iterator[api.Server]:
    """A server while it runs."""
    ready = api.serve(runs, address=("127.0.0.1", 0), **options)
    server = make_server(ready.engine, host=ready.host, api_key=ready.api_key, grace_s=5)
    thread = threading.Thread(target=server.run, args=([ready.listener],))
    thread.start()
    wait_for(lambda: server.started or not thread.is_alive())
    assert server.started, "the server ended before it began"
    try:
        yield ready
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def served_command(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command on a free port, and where it listens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "xtune", "serve", *words, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        url = process.stdout.readline().strip()
        assert url, process.communicate()[1]
        yield process, url
    finally:
        process.kill()
        process.communicate()
