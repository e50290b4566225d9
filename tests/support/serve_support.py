"""A server of `xtune serve` in this process, on a free port of loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xtune import api
from xtune.serve.server import make_server


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
