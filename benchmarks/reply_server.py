"""A chat-completions server for `benchmarks.generate`: replies in the language that the prompt asks for, after a latency, at little cost.

    python -m benchmarks.reply_server LATENCY_S TASKS REPLIES

It prints its port. REPLIES are made for each language before the first request, and a prompt's checksum chooses one,
so that what the server itself takes from the processor is reading and sending. The texts are those of
`benchmarks.invented`, words of each language as frequent and instructions as alike as in real ones.
"""

import asyncio
import contextlib
import json
import random
import re
import sys
import zlib
from collections.abc import Sequence
from itertools import islice

from benchmarks.invented import texts_in

NAMES = {
    "Arabic": "ar", "German": "de", "Spanish": "es", "French": "fr", "Indonesian": "id", "Japanese": "ja",
    "Korean": "ko", "Portuguese": "pt", "Russian": "ru", "Thai": "th", "Vietnamese": "vi",
}  # fmt: skip
"""What a prompt calls a language."""

TEXTS_OF_AN_ANSWER = 3
"""Invented instructions behind each other in an answer: 215 letters, as in published Spanish MultiAlpaca rows."""

SHARE_WITH_INPUT = 0.3
TEXTS = 1_000

_LANGUAGE = re.compile("|".join(NAMES))


def main() -> None:
    """Serve until killed."""
    latency_s, tasks, replies = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    bodies = {name: bodies_in(code, tasks, replies) for name, code in NAMES.items()}
    asyncio.run(serve(bodies, latency_s))


def bodies_in(language: str, tasks: int, replies: int) -> list[bytes]:
    """Answers in HTTP and JSON, each with tasks 4, 5 and so on; inputs and outputs are put together of a thousand texts."""
    draw = random.Random(f"{language}/{tasks}")
    texts = texts_in(language, replies * tasks + TEXTS)
    others = list(islice(texts, TEXTS))
    return [body(list(islice(texts, tasks)), others, draw) for _ in range(replies)]


def body(instructions: Sequence[str], others: Sequence[str], draw: random.Random) -> bytes:
    """One of them."""
    lines = []
    for number, instruction in enumerate(instructions, start=4):
        entry, *answer = draw.sample(others, 1 + TEXTS_OF_AN_ANSWER)
        shown = entry if draw.random() < SHARE_WITH_INPUT else "<noinput>"
        lines += [
            f"{number}. Instruction: {instruction}",
            f"{number}. Input: {shown}",
            f"{number}. Output: {' '.join(answer)}",
        ]
    message = {"role": "assistant", "content": "\n".join(lines)}
    value = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {
            "prompt_tokens": 600,
            "completion_tokens": 60 * len(instructions),
            "total_tokens": 1,
        },
    }
    data = json.dumps(value, ensure_ascii=False).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


async def serve(bodies: dict[str, list[bytes]], latency_s: float) -> None:
    """Answer every POST after the latency."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                asked = await reader.readexactly(length)
                due = loop.time() + latency_s
                prompt = json.loads(asked)["messages"][-1]["content"]
                found = _LANGUAGE.search(prompt)
                chosen = bodies[found[0] if found else "Spanish"]
                answer = chosen[zlib.crc32(asked) % len(chosen)]
                await asyncio.sleep(due - loop.time())
                writer.write(answer)
        writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    main()
