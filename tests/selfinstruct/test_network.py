"""What lies between us and a server: limits per minute, a certificate of one's own, proxies; all real, on loopback."""

import asyncio
import contextlib
import gc
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
from scripted_llm import ScriptedLLM, serving

from selfinstruct.errors import LLMError
from selfinstruct.llm.environment import has_proxy
from selfinstruct.llm.server import ServerLLM
from selfinstruct.llm.settings import LLMSettings
from selfinstruct.types import Reply, Request

KEY = "sk-a-very-secret-key-1234567890"
VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def ask(url, count=1, **settings):
    async def all_of_them():
        llm = ServerLLM(LLMSettings(model="scripted", base_url=url, timeout_s=60, **settings))
        requests = [
            Request(
                id=f"en/01/{number:04}",
                messages=({"role": "user", "content": f"prompt {number}"},),
                max_tokens=1000,
            )
            for number in range(count)
        ]
        try:
            return await asyncio.gather(*map(llm.complete, requests))
        finally:
            await llm.close()

    return asyncio.run(all_of_them())


_SLACK_S = 0.5
"""The limiter may overdraw by a request, and estimates tokens before it is told them."""


class Timed(ScriptedLLM):
    """Notes when each request came."""

    def __init__(self):
        super().__init__(self._note, tasks=1)
        self.times: list[float] = []

    def _note(self, *_):
        self.times.append(time.monotonic())


@pytest.mark.parametrize(
    "limit",
    [{"requests_per_minute": 20 * 60}, {"tokens_per_minute": 20 * 60 * 1200}],
    ids=["requests", "tokens"],
)
def test_no_span_of_time_holds_more_than_the_limit_per_minute_allows(limit):
    # a second's worth at once, and 20 requests a second from then on; a reply counts 1,200 tokens
    began = time.monotonic()
    with serving(Timed()) as server:
        replies = ask(server.url, 50, **limit)
    assert len(replies) == len(server.times) == 50
    for first, came in enumerate(server.times):
        # what was sent in time may arrive late, and so closer to what follows: this much later than it may be sent
        late = max(0.0, came - began - max(0, first - 19) / 20)
        for last in range(first, 50):
            span = server.times[last] - came
            assert last - first + 1 <= 20 + 20 * (span + _SLACK_S + late), (first, last, span, late)


@contextlib.contextmanager
def tls(server: ScriptedLLM, certificate, key) -> Iterator[int]:
    """The same server behind TLS: its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with listening(
        lambda: asyncio.start_server(server._connection, "127.0.0.1", 0, ssl=context)
    ) as started:
        yield started.sockets[0].getsockname()[1]


@contextlib.contextmanager
def listening(start: Callable[[], Awaitable[asyncio.Server]]) -> Iterator[asyncio.Server]:
    """A server in a loop of its own, in a thread."""
    ready, over, servers = threading.Event(), [], []

    async def serve():
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        over.append(lambda: loop.call_soon_threadsafe(stop.set))
        servers.append(await start())
        ready.set()
        await stop.wait()
        servers[0].close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield servers[0]
    finally:
        over[0]()
        thread.join(10)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem", folder / "key.pem"


# openai's HTTP library forgets the socket of a handshake that failed; it is collected here, not in another test
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("client", ["direct", "openai"])
def test_a_certificate_of_ones_own_is_named_in_ssl_cert_file(client, certificate, monkeypatch):
    with tls(ScriptedLLM(tasks=1), *certificate) as port:
        url = f"https://localhost:{port}/v1"
        with pytest.raises(LLMError, match=r"is not trusted \(self.signed certificate\)") as caught:
            ask(url, client=client)
        assert "export SSL_CERT_FILE=" in str(caught.value)
        del caught
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        (reply,) = ask(url, client=client)
    gc.collect()
    assert isinstance(reply, Reply)


class Proxy:
    """An HTTP proxy that sends everything to one server, whatever host was asked for, and notes the first lines."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.lines: list[str] = []
        self.port = 0

    async def start(self) -> asyncio.AbstractServer:
        """Listen on any port."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _connection(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        line = head.split(b"\r\n")[0].decode()
        self.lines.append(line)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        if line.startswith("CONNECT"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            up_writer.write(head)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer))


async def _copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


@contextlib.contextmanager
def proxying(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    with listening(proxy.start):
        yield proxy


def test_a_proxy_of_the_environment_is_used_and_https_goes_through_a_tunnel(
    certificate, monkeypatch
):
    with serving(ScriptedLLM(tasks=1)) as server, proxying(server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        (reply,) = ask("http://llm.test:8000/v1")
    assert isinstance(reply, Reply)
    assert proxy.lines == ["POST http://llm.test:8000/v1/chat/completions HTTP/1.1"]

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with tls(ScriptedLLM(tasks=1), *certificate) as port, proxying(port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        (reply,) = ask(f"https://localhost:{port}/v1", client="openai")
    assert isinstance(reply, Reply)
    assert proxy.lines == [f"CONNECT localhost:{port} HTTP/1.1"]


def test_a_server_on_this_machine_and_one_in_no_proxy_are_asked_directly(monkeypatch):
    with serving(ScriptedLLM(tasks=1)) as server, proxying(server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        for client in ("auto", "direct", "openai"):
            assert ask(server.url, client=client)
        assert proxy.lines == []
    assert has_proxy("http://llm.test/v1")
    monkeypatch.setenv("NO_PROXY", "intern.test,llm.test")
    assert not has_proxy("http://llm.test/v1")
    assert has_proxy("http://llm.example/v1")
    monkeypatch.setenv("NO_PROXY", "*")
    assert not has_proxy("http://llm.example/v1")


def test_all_proxy_counts_for_both_schemes(monkeypatch):
    assert not has_proxy("https://llm.test/v1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert has_proxy("https://llm.test/v1")
    assert has_proxy("http://llm.test/v1")


def test_a_proxy_that_is_gone_is_one_line(monkeypatch):
    monkeypatch.setattr("selfinstruct.llm.server._FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(LLMError, match=r"Nothing answers at http://llm\.test/v1"):
        ask("http://llm.test/v1", retries=1)
