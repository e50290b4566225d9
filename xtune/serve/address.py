"""Where a server listens, and who can reach it there."""

import socket

from xtune.errors import XtuneError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

WAITING = 2048
"""Connections that wait to be accepted: uvicorn's own number."""

MOST_PORT = 65535


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens; taken before a model is loaded, so that a taken port is told at once.

    Raises:
        XtuneError: The host or port cannot be had.
    """
    if not 0 <= port <= MOST_PORT:  # which the system would cut to 16 bits
        raise XtuneError(f"The port is {port}; it must be a number from 0 to {MOST_PORT}.")
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(WAITING)  # whoever comes while the model loads waits
    except (OSError, OverflowError, UnicodeError) as error:
        if listener is not None:
            listener.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise XtuneError(
            f"The server cannot listen on {host} port {port}: {reason or error}.",
            advice="Choose another --port or --host; 0 takes a free port.",
        ) from None
    return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host."""
    return host in LOOPBACK or host.startswith("127.")
