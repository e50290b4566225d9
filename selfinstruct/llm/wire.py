"""Carries one JSON request to a chat-completions server and its answer back; it judges nothing and retries nothing.

Two ways with one face. `DirectWire` speaks HTTP/1.1 on asyncio streams: 0.1 ms of processor time a request.
`OpenAIWire` goes through the openai package: 2.2 ms, so one process carries 400 requests/s at most (two EPYC
cores, 2026-11-24); it is for proxies, and for whoever trusts it more.
"""

import asyncio
import json
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson

from selfinstruct.llm.environment import Key
from selfinstruct.llm.package import open_client

CONNECT_S = 15.0
"""Longest wait for a connection. openai's own 5 s is short for a TLS handshake of hundreds at once."""

_MOST_HEAD_BYTES = 64 * 2**10
_MOST_BODY_BYTES = 64 * 2**20
_LAST_CALL_S = 0.5
_IDLE_S = 4.0
"""A connection idle for longer is not used again: uvicorn, the commonest server, closes after 5 s."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server sent back, unread."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""

    body: bytes = b""


class WireError(Exception):
    """No whole answer came: refused, reset, cut off, timed out, or not HTTP."""

    def __init__(
        self,
        what: str,
        *,
        is_timeout: bool = False,
        is_refused: bool = False,
        is_untrusted: bool = False,
    ) -> None:
        super().__init__(what)
        self.is_untrusted = is_untrusted
        """The server's certificate is not one that this machine trusts; asking again cannot help."""

        self.is_timeout = is_timeout
        self.is_refused = is_refused
        """Nothing listens at the address, or it has no such host."""


class Wire(Protocol):
    """A way to the server."""

    async def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Send one request, `/chat/completions` say, and wait for its whole answer.

        Raises:
            WireError: None came.
        """
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...


class _Reader(asyncio.StreamReader):
    """Also knows whether something came that is not read."""

    _buffer: bytearray

    @property
    def has_more(self) -> bool:
        """Whether bytes wait to be read: behind a whole answer nobody asked for them."""
        return bool(self._buffer)


_Connection = tuple[_Reader, asyncio.StreamWriter]


class DirectWire:
    """HTTP/1.1 with connections kept open, as many as there are requests at a time."""

    def __init__(self, base_url: str, key: Key, *, timeout_s: float) -> None:
        parts = urlsplit(base_url)
        self._host = parts.hostname or ""
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._prefix = parts.path.rstrip("/")
        self._key = key
        self._named = parts.netloc
        self._timeout_s = timeout_s
        self._idle: list[tuple[float, _Connection]] = []

    async def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """See `Wire.post`.

        Raises:
            WireError: No whole answer came.
        """
        payload = _payload(body)
        head = (
            f"POST {self._prefix}{path} HTTP/1.1\r\nHost: {self._named}\r\n"
            f"Authorization: {self._key.header()}\r\nContent-Type: application/json\r\n"
            "Accept: application/json\r\nAccept-Encoding: identity\r\nUser-Agent: selfinstruct\r\n"
            f"Content-Length: {len(payload)}\r\n\r\n"
        )
        message = head.encode("ascii") + payload
        kept = self._kept()
        if kept is not None:
            try:
                return await self._exchange(kept, message)
            except _StaleError:
                pass  # the server had closed it before the request came
        try:
            return await self._exchange(await self._connect(), message)
        except _StaleError:
            raise WireError("the connection was closed without an answer") from None

    async def close(self) -> None:
        """See `Wire.close`."""
        for _, (_, writer) in self._idle:
            writer.close()
        self._idle.clear()

    async def _exchange(self, connection: _Connection, message: bytes) -> Answer:
        reader, writer = connection
        limit = _Limit(writer, self._timeout_s)
        keep = False
        try:
            writer.write(message)
            answer, keep = await _read(reader)
        except (OSError, EOFError) as error:
            if limit.expired:
                what = f"no whole answer within {self._timeout_s:g} s"
                raise WireError(what, is_timeout=True) from None
            raise _cut(error) from None
        except (asyncio.LimitOverrunError, ValueError):
            raise WireError("the answer is not HTTP") from None
        finally:
            limit.cancel()
            # kept only after a whole answer and nothing more: what is left would meet the next question
            if keep and not reader.has_more:
                self._idle.append((asyncio.get_running_loop().time(), connection))
            else:
                writer.close()
        return answer

    def _kept(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            since, (reader, writer) = self._idle.pop()
            is_open = not reader.at_eof() and not writer.is_closing()
            if now - since < _IDLE_S and is_open and not reader.has_more:
                return reader, writer
            writer.close()
        return None

    async def _connect(self) -> _Connection:
        try:
            return await asyncio.wait_for(self._open(), CONNECT_S)
        except asyncio.TimeoutError:
            raise WireError(f"no connection within {CONNECT_S:g} s", is_timeout=True) from None
        except ssl.SSLCertVerificationError as error:
            raise WireError(error.verify_message, is_untrusted=True) from None
        except ssl.SSLError as error:
            raise WireError(f"no secure connection ({error.reason or 'TLS failed'})") from None
        except OSError as error:
            what = (
                "connection refused"
                if isinstance(error, ConnectionRefusedError)
                else str(error.strerror or error)
            )
            raise WireError(what, is_refused=True) from None

    async def _open(self) -> _Connection:
        """`asyncio.open_connection` with a reader of our own."""
        loop = asyncio.get_running_loop()
        reader = _Reader(limit=_MOST_HEAD_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(
            lambda: protocol, self._host, self._port, ssl=self._tls
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def _payload(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:  # half a surrogate pair, say
        return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


class _Limit:
    """Breaks a connection off when its time is up; a task of its own for each request would cost more than the request.

    The last call is a timer of its own: in a process that was stopped for a while (SIGSTOP, a paused virtual machine)
    all timers are due before anything is read, and answers that are paid for lie in the sockets.
    """

    def __init__(self, writer: asyncio.StreamWriter, seconds: float) -> None:
        self.expired = False
        self._writer = writer
        self._timer = asyncio.get_running_loop().call_later(seconds, self._last_call)

    def cancel(self) -> None:
        self._timer.cancel()

    def _last_call(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_LAST_CALL_S, self._expire)

    def _expire(self) -> None:
        self.expired = True
        self._writer.transport.abort()


class _StaleError(Exception):
    """The connection was closed before an answer began."""


def _cut(error: Exception) -> Exception:
    if isinstance(error, asyncio.IncompleteReadError) and error.partial:
        return WireError("the answer was cut off")
    if isinstance(error, _BodyCutError):
        return WireError("the answer was cut off")
    if isinstance(error, asyncio.IncompleteReadError | ConnectionError):
        return _StaleError()
    return WireError("the connection was lost")


class _BodyCutError(EOFError):
    """An answer began and did not come whole."""


async def _read(reader: asyncio.StreamReader) -> tuple[Answer, bool]:
    """Read an answer; also whether its connection can carry another.

    Raises:
        ValueError: It is not HTTP.
        EOFError: It ends too early.
        _BodyCutError: It ends in its body.
        WireError: It cannot be unpacked.
        OSError: The connection broke.
    """
    status, headers = await _read_head(reader)
    while 100 <= status < 200:
        status, headers = await _read_head(reader)
    keep = headers.get("connection", "").lower() != "close"
    try:
        if status in _WITHOUT_BODY:
            body = b""
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            body = await _read_chunks(reader)
        elif "content-length" in headers:
            length = int(headers["content-length"])
            if not 0 <= length <= _MOST_BODY_BYTES:
                raise ValueError("a body beyond all measure")
            body = await reader.readexactly(length)
        else:
            body, keep = await reader.read(_MOST_BODY_BYTES), False
            while part := await reader.read(_MOST_BODY_BYTES):
                body += part
    except (asyncio.IncompleteReadError, ConnectionError):
        raise _BodyCutError from None
    body = _decoded(body, headers.get("content-encoding", ""))
    return Answer(status=status, headers=headers, body=body), keep


_WITHOUT_BODY = {204, 304}
"""RFC 9112, section 6.3."""


def _decoded(body: bytes, encoding: str) -> bytes:
    """A body without the compression that a proxy gave it unasked.

    Raises:
        WireError: It is none that is known here, broken, or too large.
    """
    for name in reversed(encoding.lower().split(",")):
        name = name.strip()
        if name in {"", "identity"}:
            continue
        if name not in {"gzip", "x-gzip", "deflate"}:
            raise WireError(f"the answer is compressed as {name!r}, which was not asked for")
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | _GZIP_OR_ZLIB)
        try:
            body = unpacker.decompress(body, _MOST_BODY_BYTES)
        except zlib.error:
            raise WireError("the answer's compression is broken") from None
        if not unpacker.eof:
            raise WireError("the answer was cut off")
    return body


_GZIP_OR_ZLIB = 32
"""Added to `wbits`: zlib looks at the head which of the two it is."""


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    first = await reader.readuntil(b"\n")
    version, _, rest = first.decode("latin-1").partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError("not HTTP/1")
    try:
        lines = await _read_fields(reader, b"\r\n" if first.endswith(b"\r\n") else b"\n")
    except asyncio.IncompleteReadError:
        raise _BodyCutError from None
    headers = {}
    for line in lines.decode("latin-1").split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return int(rest[:3]), headers


async def _read_fields(reader: asyncio.StreamReader, line_end: bytes) -> bytes:
    """The lines of a head below its first, which ended so: some servers leave the carriage return out (RFC 9112, section 2.2)."""
    start = await reader.readexactly(len(line_end))
    return b"" if start == line_end else start + await reader.readuntil(2 * line_end)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """The body of a chunked answer (RFC 9112, section 7.1).

    Raises:
        ValueError: It is not one.
    """
    parts = []
    total = 0
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0].strip(), 16)
        total += size
        if size < 0 or total > _MOST_BODY_BYTES:
            raise ValueError("a body beyond all measure")
        if size == 0:
            break
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    return b"".join(parts)


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The refused certificate among an error's causes, if it was one."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


class OpenAIWire:
    """Through the openai package, whose HTTP client knows proxies."""

    def __init__(self, base_url: str, key: Key, *, timeout_s: float) -> None:
        self._client = open_client(base_url, key, timeout_s=timeout_s)  # the retries are ours

    async def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """See `Wire.post`.

        Raises:
            WireError: No whole answer came.
        """
        import httpx2  # noqa: PLC0415 - comes with openai
        import openai

        try:
            response = await self._client.post(path, body=dict(body), cast_to=httpx2.Response)
        except openai.APIStatusError as error:
            response = error.response
        except openai.APITimeoutError:
            raise WireError("no answer in time", is_timeout=True) from None
        except openai.APIConnectionError as error:
            untrusted = _certificate_error(error)
            if untrusted is not None:
                raise WireError(untrusted.verify_message, is_untrusted=True) from None
            refused = isinstance(error.__cause__, httpx2.ConnectError)
            raise WireError("connection failed", is_refused=refused) from None
        except httpx2.HTTPError:
            raise WireError("the answer was cut off") from None
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status_code, headers=headers, body=response.content)

    async def close(self) -> None:
        """See `Wire.close`."""
        await self._client.close()
