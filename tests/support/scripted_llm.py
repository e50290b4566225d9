"""A chat-completions server on loopback that answers by script: real sockets, faults on demand, a reply that depends on the prompt alone."""

import asyncio
import contextlib
import hashlib
import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

WORDS = [
    "river",
    "lamp",
    "stone",
    "violin",
    "market",
    "garden",
    "letter",
    "winter",
    "engine",
    "forest",
    "mirror",
    "bridge",
    "candle",
    "teacher",
    "island",
    "window",
    "planet",
    "harbour",
    "ticket",
    "basket",
    "copper",
    "thunder",
    "meadow",
    "pencil",
    "saddle",
    "lantern",
    "orchard",
    "pepper",
    "velvet",
    "anchor",
    "button",
    "circus",
    "describe",
    "compare",
    "summarise",
    "invent",
    "explain",
    "count",
    "rewrite",
    "classify",
    "review",
    "imagine",
    "sort",
    "defend",
    "question",
    "measure",
]


def tasks_text(prompt: str, tasks: int = 17, first: int = 4) -> str:
    """A well-formed reply that is a function of the prompt; one task in eight resembles one that others write too."""
    draw = random.Random(hashlib.sha256(prompt.encode()).digest())
    lines = []
    for number in range(first, first + tasks):
        words = draw.choices(WORDS, k=12)
        if draw.random() < 0.125:
            words = [*WORDS[:11], draw.choice(WORDS)]
        lines += [
            f"{number}. Instruction: Write about {' '.join(words)}.",
            f"{number}. Input: {'<noinput>' if draw.random() < 0.7 else f'The {draw.choice(words)} was sold at noon.'}",
            f"{number}. Output: The {draw.choice(words)} has {draw.randrange(9999)} parts, and each one needs care.",
        ]
    return "\n".join(lines)


def completion(text: str, finish_reason: str = "stop", usage: bool = True) -> dict[str, Any]:
    """The body of a good answer."""
    body: dict[str, Any] = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": text},
            }
        ],
    }
    if usage:
        body["usage"] = {"prompt_tokens": 500, "completion_tokens": 700, "total_tokens": 1200}
    return body


@dataclass
class Say:
    """What to send back."""

    status: int = 200
    body: Any = None
    """Text, bytes, or a value for JSON; None: not even its length."""

    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Send this many bytes of the body, then reset the connection."""

    delay_s: float = 0.0
    bytes_per_s: float | None = None
    chunked: bool = False
    times: int = 1
    """Send it so often, though it was asked for once."""


Script = Callable[[int, dict[str, Any]], "Say | None"]
"""From the number of the request (from 0) and its body to what to say; None: a well-formed reply."""


class ScriptedLLM:
    """The server; counts what it was asked."""

    def __init__(
        self, script: Script | None = None, *, delay_s: float = 0.0, tasks: int = 17
    ) -> None:
        self.script = script
        self.delay_s = delay_s
        self.tasks = tasks
        self.requests: list[dict[str, Any]] = []
        self.keys: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        """Good answers sent, by prompt."""

        self.at_once = self.most_at_once = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, port: int = 0) -> asyncio.AbstractServer:
        server = await asyncio.start_server(self._connection, "127.0.0.1", port, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with (
            contextlib.closing(writer),
            contextlib.suppress(ConnectionError, asyncio.IncompleteReadError),
        ):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                headers = dict(
                    line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line
                )
                raw = await reader.readexactly(int(headers.get("content-length", 0)))
                if head.startswith("GET") and "/models" in head.split("\r\n")[0]:
                    self._send(
                        writer,
                        Say(
                            body={
                                "object": "list",
                                "data": [
                                    {
                                        "id": "scripted",
                                        "object": "model",
                                        "created": 1,
                                        "owned_by": "me",
                                    }
                                ],
                            }
                        ),
                    )
                    continue
                self.keys[headers.get("authorization", "")] += 1
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    alive = await self._answer(json.loads(raw), writer)
                finally:
                    self.at_once -= 1
                if not alive:
                    break

    async def _answer(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        number = len(self.requests)
        self.requests.append(body)
        prompt = body["messages"][-1]["content"]
        said = self.script(number, body) if self.script else None
        if said is None:
            said = Say(body=completion(tasks_text(prompt, self.tasks)))
        await asyncio.sleep(self.delay_s + said.delay_s)
        if said.status == 200 and said.cut_after is None:
            self.paid[prompt] += 1
        return await self._deliver(writer, said)

    async def _deliver(self, writer: asyncio.StreamWriter, said: Say) -> bool:
        if said.bytes_per_s is None:
            return self._send(writer, said)
        payload = self._payload(said)
        step = max(1, len(payload) // 20)
        for start in range(0, len(payload), step):
            writer.write(payload[start : start + step])
            await writer.drain()
            await asyncio.sleep(step / said.bytes_per_s)
        return True

    @staticmethod
    def _payload(said: Say) -> bytes:
        if said.body is None:
            return f"HTTP/1.1 {said.status} X\r\n\r\n".encode()
        text = said.body if isinstance(said.body, str | bytes) else json.dumps(said.body)
        data = text if isinstance(text, bytes) else text.encode()
        headers = {"Content-Type": "application/json", **said.headers}
        if said.chunked:
            headers["Transfer-Encoding"] = "chunked"
            half = len(data) // 2
            parts = [data[:half], data[half:]]
            data = b"".join(
                f"{len(part):x};x=1\r\n".encode() + part + b"\r\n" for part in parts if part
            )
            data += b"0\r\nTrailer: 1\r\n\r\n"
        else:
            headers["Content-Length"] = str(len(data))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {said.status} X\r\n{lines}\r\n".encode() + data

    def _send(self, writer: asyncio.StreamWriter, said: Say) -> bool:
        payload = self._payload(said)
        if said.cut_after is None:
            writer.write(payload * said.times)
            return True
        end = payload.index(b"\r\n\r\n") + 4 + said.cut_after if said.cut_after >= 0 else 0
        writer.write(payload[:end])
        writer.transport.abort() if said.cut_after < 0 else writer.close()
        return False


@contextlib.contextmanager
def serving(llm: ScriptedLLM) -> Iterator[ScriptedLLM]:
    """Run the server in a thread."""
    ready = threading.Event()
    ends: list[Callable[[], object]] = []

    async def serve() -> None:
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        ends.append(lambda: loop.call_soon_threadsafe(over.set))
        server = await llm.serve()
        ready.set()
        await over.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield llm
    finally:
        ends[0]()
        thread.join(60)


def main() -> None:
    """`python scripted_llm.py PORT DELAY_S TASKS`: a process of its own, for measuring."""

    async def forever() -> None:
        llm = ScriptedLLM(delay_s=float(sys.argv[2]), tasks=int(sys.argv[3]))
        server = await llm.serve(int(sys.argv[1]))
        print(llm.port, flush=True)
        await server.serve_forever()

    asyncio.run(forever())


if __name__ == "__main__":
    main()
