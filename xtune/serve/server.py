"""Runs the application until a signal, and then to its end."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn

from xtune.serve.address import LOOPBACK, is_loopback
from xtune.serve.app import make_app
from xtune.serve.engine import Engine
from xtune.stopping import stop_signals

GRACE_SECONDS = 30.0
"""Time for answers to end after a signal."""


def make_server(
    engine: Engine,
    *,
    host: str,
    api_key: str | None,
    grace_s: float = GRACE_SECONDS,
) -> "Server":
    """A server that runs until SIGTERM, SIGHUP or Ctrl-C; then it takes no more requests and finishes those at hand.

    Args:
        engine: What answers.
        host: The name under which its socket was bound.
        api_key: What clients must send; None: nothing.
        grace_s: How long answers may take to end.
    """
    # without a key, a page in a browser could reach the server by a name of its own
    hosts = LOOPBACK | {host.lower()} if api_key is None and is_loopback(host) else None
    config = uvicorn.Config(
        make_app(engine, api_key=api_key, hosts=hosts),
        log_config=None,
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=max(1, int(grace_s)),
        server_header=False,
    )
    return Server(config)


class Server(uvicorn.Server):
    """uvicorn's, with signals that end it and are not raised again."""

    cut = False
    """Whether answers were broken off."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let a first signal end the server, and a second one at once."""

        def end(number: int, frame: Any) -> None:
            del frame
            if number != signal.SIGHUP:  # which comes twice where a terminal is closed
                self.force_exit = self.should_exit
            self.should_exit = True

        if threading.current_thread() is not threading.main_thread():  # a notebook's, say
            yield
            return
        before = {number: signal.signal(number, end) for number in stop_signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def _wait_tasks_to_complete(self) -> None:
        try:
            await super()._wait_tasks_to_complete()
        except asyncio.CancelledError:  # the grace is over
            self.cut = True
            raise
        self.cut |= bool(self.server_state.tasks)
        if self.force_exit:
            for task in list(self.server_state.tasks):
                task.cancel()
            await asyncio.sleep(0.1)
            await self.lifespan.shutdown()
