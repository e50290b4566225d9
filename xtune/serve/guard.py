"""What stands before every request: the key, the host's name, the size of the body. It reads no JSON."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.client import REQUEST_TIMEOUT
from typing import Any, TypeAlias

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from xtune.serve.wire import ApiError

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_SECONDS = 30.0
"""Time that a client has to send a body. A design choice."""

DROP_SECONDS = 10.0
"""Longest time that the rest of a refused body is read and dropped."""

IDLE_SECONDS = 0.5
"""Time without a byte after which nothing more of it is expected. Both are design choices."""

OPEN = frozenset({"/health"})
"""Paths that need no key."""


class Guard:
    """An ASGI application before another one."""

    def __init__(
        self, app: Any, *, api_key: str | None, hosts: frozenset[str] | None, body_bytes: int
    ) -> None:
        """Stand before `app`.

        Args:
            app: The application.
            api_key: What clients must send as a bearer token; None: nothing.
            hosts: Names that the server may be called by, so that a page in a browser cannot reach it by a name
                of its own; None: any.
            body_bytes: Largest body.
        """
        self._app = app
        self._key = api_key.encode() if api_key is not None else None
        self._hosts = hosts
        self._body_bytes = body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer with what is wrong with it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            self._check(scope["path"], headers)
            body = await self._body(headers, receive)
        except ApiError as error:
            if error.status != REQUEST_TIMEOUT:
                await _drop(receive)
            # what was not read of the body would be taken for the next request
            closing = {**error.headers, "Connection": "close"}
            await JSONResponse(error.body, error.status, headers=closing)(scope, receive, send)
            return
        if body is None:  # the client went away
            return
        given = False

        async def replay() -> MutableMapping[str, Any]:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        with contextlib.suppress(asyncio.CancelledError):  # the server ends; so does the request
            await self._app(scope, replay, send)

    def _check(self, path: str, headers: Headers) -> None:
        host = headers.get("host", "").strip()
        name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
        if self._hosts is not None and name.strip("[]").lower() not in self._hosts:
            raise ApiError(403, "This server answers only to the name that it was started under.")
        if self._key is None or path in OPEN:
            return
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secrets.compare_digest(
            token.strip().encode(), self._key
        ):
            raise ApiError(
                401,
                "The API key is missing or wrong.",
                kind="authentication_error",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _body(self, headers: Headers, receive: Receive) -> bytes | None:
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._body_bytes:
            raise self._too_large()
        try:
            return await asyncio.wait_for(self._read(receive), BODY_SECONDS)
        except asyncio.TimeoutError:
            raise ApiError(REQUEST_TIMEOUT, "The body did not arrive in time.") from None

    async def _read(self, receive: Receive) -> bytes | None:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > self._body_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> ApiError:
        return ApiError(413, f"The body is larger than {self._body_bytes:,} bytes.")


async def _drop(receive: Receive) -> None:
    """Read what a client still sends, as most send all before they read: closed before that, they see no answer."""
    loop = asyncio.get_running_loop()
    end = loop.time() + DROP_SECONDS
    while loop.time() < end:
        try:
            message = await asyncio.wait_for(receive(), IDLE_SECONDS)
        except asyncio.TimeoutError:
            return
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
