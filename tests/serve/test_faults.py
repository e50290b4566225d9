"""What one request may not do to the others: break their answers, or keep the server from answering at all."""

import asyncio
import http.client
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from awaited import wait_for
from openai import AsyncOpenAI, OpenAI
from serve_support import START_SECONDS

from xtune import api
from xtune.generate.decoding import Decoding
from xtune.generate.row import Row
from xtune.serve.engine import News, Request

HELLO: Any = [{"role": "user", "content": "hello"}]


def test_a_row_that_cannot_be_computed_fails_alone(
    demo: api.Server, client: OpenAI, capfd: pytest.CaptureFixture[str]
) -> None:
    options: Any = {"model": "tasks", "messages": HELLO, "temperature": 1.3, "seed": 5}
    options |= {"max_tokens": 40}
    alone = client.chat.completions.create(**options).choices[0].message.content
    served = demo.engine.models.served["tasks"]

    async def break_it() -> News | None:
        """A token that the model has no embedding of."""
        rows = [Row(prompt=[10**6], decoding=Decoding(), adapter=served.adapter)]
        broken = Request(served=served, rows=rows)
        demo.engine.submit(broken)
        return await broken.news.get()

    pieces = iter(client.chat.completions.create(stream=True, **options))
    text = [next(pieces), next(pieces)]
    told = asyncio.run(break_it())
    text += pieces
    assert told is not None
    assert told.failed is not None
    assert "".join(piece.choices[0].delta.content or "" for piece in text) == alone
    wait_for(lambda: demo.engine.load == (0, 0))
    capfd.readouterr()


def test_an_error_names_the_parameter_that_was_sent(client: OpenAI) -> None:
    said: dict[str, Any] = {"model": "tasks", "prompt": "word " * 3000}
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**said)
    assert (caught.value.param, caught.value.code) == ("prompt", "context_length_exceeded")
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tasks", messages=HELLO, max_completion_tokens=10**6)
    assert caught.value.param == "max_completion_tokens"


def test_a_body_over_the_limit_is_told_to_the_client(demo: api.Server) -> None:
    async def ask() -> None:
        async with AsyncOpenAI(base_url=demo.url, api_key="none", max_retries=0) as client:
            await client.completions.create(model="tasks", prompt="x" * (16 << 20))

    with pytest.raises(openai.APIStatusError, match="larger than 4,194,304 bytes") as caught:
        asyncio.run(ask())
    assert caught.value.status_code == 413


def test_the_server_answers_while_a_prompt_is_tokenised(
    demo: api.Server, client: OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = demo.engine.models.served["tasks"]
    tokenise, begun, answered = served.prompter.ids, threading.Event(), threading.Event()

    def slowly(*asked: Any) -> list[int]:
        begun.set()
        answered.wait(START_SECONDS)
        return tokenise(*asked)

    monkeypatch.setattr(served.prompter, "ids", slowly)
    with ThreadPoolExecutor() as pool:
        long = pool.submit(
            client.chat.completions.create, model="tasks", messages=HELLO, max_tokens=1
        )
        assert begun.wait(START_SECONDS)
        connection = http.client.HTTPConnection(
            "127.0.0.1", demo.listener.getsockname()[1], timeout=START_SECONDS / 2
        )
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()
        answered.set()
        assert long.result().choices
