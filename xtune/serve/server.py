"""Runs the application until a signal, and then to its end."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from xtune.errors import XtuneError
from xtune.serve.app import make_app
from xtune.serve.engine import Engine
from xtune.serve.guard import LOOPBACK

GRACE_SECONDS = 30.0
"""Time for answers to end after a signal."""


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens; taken before a model is loaded, so that a taken port is told at once.

    Raises:
        XtuneError: The host or port cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "there is no such port"
        raise XtuneError(
            f"The server cannot listen on {host} port {port}: {reason or error}.",
            advice="Choose another --port or --host; 0 takes a free port.",
        ) from None
    return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host."""
    return host in LOOPBACK or host.startswith("127.")


def run(
    engine: Engine,
    listener: socket.socket,
    *,
    host: str,
    api_key: str | None,
    grace_s: float = GRACE_SECONDS,
) -> bool:
    """Serve until SIGTERM or Ctrl-C; then take no more requests and finish those at hand.

    Args:
        engine: What answers.
        listener: Where to listen.
        host: The name under which it was bound.
        api_key: What clients must send; None: nothing.
        grace_s: How long answers may take to end.

    Returns:
        Whether every answer was finished; False after the grace, or a second signal.
    """
    # without a key, a page in a browser could reach the server by a name of its own
    hosts = LOOPBACK | {host.lower()} if api_key is None and is_loopback(host) else None
    config = uvicorn.Config(
        make_app(engine, api_key=api_key, hosts=hosts),
        log_config=None,
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=max(1, int(grace_s)),
        server_header=False,
    )
    server = _Server(config)
    server.run(sockets=[listener])
    return not server.cut


class _Server(uvicorn.Server):
    """uvicorn's, with signals that end it and are not raised again."""

    cut = False
    """Whether answers were broken off."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        """Let a first signal end the server, and a second one at once."""

        def end(number: int, frame: Any) -> None:
            del number, frame
            self.force_exit = self.should_exit
            self.should_exit = True

        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
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
