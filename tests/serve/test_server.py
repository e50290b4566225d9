"""The server as the real `openai` client and plain sockets see it; expected answers come from loops by hand."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import openai
import pytest
import torch
from awaited import wait_for
from openai import AsyncOpenAI, OpenAI
from serve_support import START_SECONDS

from xtune import api
from xtune.adapter.open import open_run
from xtune.demo.bundled import bundled_path
from xtune.serve.limits import Limits

QUESTIONS = [
    "Write this order as JSON: We put yellow duters (13) in a box for Zedokas on Thursday.",
    "hello",
    "This order is from Mibun, who wants 42 pieces of siklans.",
    "Which goods?",
    "Count to ten.",
    "The customer is Kubel.",
]
MODELS = ("tasks", "bundled:demo")


def asked(question: str) -> Any:
    return [{"role": "user", "content": question}]


@pytest.fixture(scope="module")
def by_hand() -> dict[tuple[str, str], str]:
    """Greedy answers of 16 tokens, each token from a whole forward pass of one prompt."""
    opened = open_run(bundled_path("bundled:tasks"))
    answers = {}
    for question in QUESTIONS:
        prompt: Any = opened.tokenizer.apply_chat_template(
            asked(question), add_generation_prompt=True, return_dict=False
        )
        for name in MODELS:
            model: Any = opened.model
            answers[name, question] = _continued(
                model, opened.tokenizer, prompt, base=name != "tasks"
            )
    return answers


def _continued(model: Any, tokenizer: Any, prompt: Sequence[int], *, base: bool) -> str:
    ids = list(prompt)
    with torch.no_grad():
        while len(ids) < len(prompt) + 16:
            tensor = torch.tensor([ids])
            if base:
                with model.disable_adapter():
                    logits = model(input_ids=tensor, use_cache=False, logits_to_keep=1).logits
            else:
                logits = model(input_ids=tensor, use_cache=False, logits_to_keep=1).logits
            token = int(logits[0, -1].argmax())
            if token == tokenizer.eos_token_id:
                break
            ids.append(token)
    return str(tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True))


def test_answers_under_load_are_those_of_single_prompts_whole_and_streamed(
    demo: api.Server, by_hand: dict[tuple[str, str], str]
) -> None:
    async def ask_all() -> dict[tuple[str, str, bool], str]:
        async with AsyncOpenAI(base_url=demo.url, api_key="none") as client:

            async def ask(name: str, question: str, stream: bool) -> str:
                options: Any = {"model": name, "temperature": 0, "max_tokens": 16}
                if not stream:
                    whole = await client.chat.completions.create(
                        messages=asked(question), **options
                    )
                    return whole.choices[0].message.content or ""
                pieces = await client.chat.completions.create(
                    messages=asked(question), stream=True, **options
                )
                return "".join(
                    [
                        piece.choices[0].delta.content or ""
                        async for piece in pieces
                        if piece.choices
                    ]
                )

            keys = [
                (name, question, stream)
                for question in QUESTIONS
                for name in MODELS
                for stream in (True, False)
            ]
            return dict(zip(keys, await asyncio.gather(*(ask(*key) for key in keys)), strict=True))

    found = asyncio.run(ask_all())
    assert found == {key: by_hand[key[0], key[1]] for key in found}
    assert len(set(found.values())) > 6


def test_draws_depend_on_the_seed_alone(demo: api.Server) -> None:
    async def draw(client: AsyncOpenAI, seed: int) -> str:
        reply = await client.completions.create(
            model="bundled:demo", prompt="The", max_tokens=12, temperature=1.2, seed=seed
        )
        return reply.choices[0].text

    async def draw_all() -> tuple[list[str], list[str]]:
        async with AsyncOpenAI(base_url=demo.url, api_key="none") as client:
            alone = [await draw(client, seed) for seed in range(5)]
            return alone, await asyncio.gather(*(draw(client, seed) for seed in range(5)))

    alone, together = asyncio.run(draw_all())
    assert together == alone
    assert len(set(alone)) == 5


def test_models_are_listed_and_found(client: OpenAI) -> None:
    assert [(model.id, model.object) for model in client.models.list()] == [
        ("tasks", "model"),
        ("bundled:demo", "model"),
    ]
    assert client.models.retrieve("bundled:demo").id == "bundled:demo"
    with pytest.raises(openai.NotFoundError, match="there are: tasks, bundled:demo"):
        client.models.retrieve("gpt-4")


def test_stop_texts_end_an_answer_before_them(client: OpenAI) -> None:
    options: Any = {
        "model": "bundled:demo",
        "prompt": "The goods",
        "temperature": 0,
        "max_tokens": 24,
    }
    whole = client.completions.create(**options).choices[0]
    stop = whole.text[9:13]
    cut = client.completions.create(stop=["never", stop], **options).choices[0]
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert (whole.finish_reason, cut.finish_reason) == ("length", "stop")
    pieces = list(client.completions.create(stop=stop, stream=True, **options))
    assert "".join(piece.choices[0].text for piece in pieces) == cut.text
    assert pieces[-1].choices[0].finish_reason == "stop"


def test_choices_logprobs_and_usage_agree_with_each_other(client: OpenAI) -> None:
    reply = client.chat.completions.create(
        model="tasks",
        messages=asked("hello"),
        n=3,
        max_tokens=6,
        temperature=1.5,
        seed=2,
        logprobs=True,
        top_logprobs=4,
    )
    assert reply.usage is not None
    counted = 0
    for choice in reply.choices:
        assert choice.logprobs is not None
        content = choice.logprobs.content or []
        counted += len(content)
        for entry in content:
            assert entry.logprob <= max(other.logprob for other in entry.top_logprobs)
            assert len(entry.top_logprobs) == 4
        written = bytes(byte for entry in content for byte in entry.bytes or ()).decode()
        assert written == choice.message.content
    assert reply.usage.completion_tokens == counted
    assert len({choice.message.content for choice in reply.choices}) == 3


def test_log_probabilities_tell_the_bytes_of_parts_of_characters(client: OpenAI) -> None:
    # so hot that all tokens are alike, and many of them are parts of characters
    options: Any = {"model": "tasks", "max_tokens": 60, "temperature": 100, "seed": 2}
    reply = client.chat.completions.create(
        messages=asked("x"), logprobs=True, top_logprobs=0, **options
    )
    choice = reply.choices[0]
    assert choice.logprobs is not None
    content = choice.logprobs.content or []
    written = b"".join(bytes(entry.bytes or ()) for entry in content)
    assert written.decode(errors="replace") == choice.message.content
    assert "\ufffd" in choice.message.content
    assert any(entry.token.startswith("\\x") for entry in content)
    plain = client.completions.create(prompt="x", logprobs=20, **options).choices[0]
    assert plain.logprobs is not None
    assert {len(likeliest) for likeliest in plain.logprobs.top_logprobs or ()} == {20}
    offsets, tokens = plain.logprobs.text_offset or [], plain.logprobs.tokens or []
    for offset, token in zip(offsets, tokens, strict=True):
        assert token.startswith("bytes:") or plain.text[offset:].startswith(token)


def test_a_stream_ends_with_its_usage_if_asked(client: OpenAI) -> None:
    options: Any = {"model": "tasks", "messages": asked("hello"), "max_tokens": 5, "temperature": 0}
    whole = client.chat.completions.create(**options)
    *pieces, last = client.chat.completions.create(
        stream=True, stream_options={"include_usage": True}, **options
    )
    assert last.choices == []
    assert last.usage == whole.usage
    assert all(piece.usage is None for piece in pieces)
    assert pieces[0].choices[0].delta.role == "assistant"
    assert pieces[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_completions_take_several_prompts_of_text_or_tokens(client: OpenAI) -> None:
    tokenizer = open_run(bundled_path("bundled:demo")).tokenizer
    ids: list[int] = tokenizer("The goods")["input_ids"]
    options: Any = {"model": "bundled:demo", "temperature": 0, "max_tokens": 6}
    texts = client.completions.create(prompt=["The goods", "One"], **options)
    tokens = client.completions.create(prompt=[ids], stop=None, **options)
    assert texts.choices[0].text == tokens.choices[0].text
    assert [choice.index for choice in texts.choices] == [0, 1]
    assert tokens.usage is not None
    assert tokens.usage.prompt_tokens == len(ids)
    first: int = tokenizer(tokens.choices[0].text, add_special_tokens=False)["input_ids"][0]
    ended = client.completions.create(
        prompt=[ids], extra_body={"stop_token_ids": [first]}, **options
    )
    assert (ended.choices[0].text, ended.choices[0].finish_reason) == ("", "stop")


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"model": "gpt-4"}, 404, "`gpt-4` does not exist here"),
        ({"messages": []}, 400, "`messages`: List should have at least 1 item"),
        ({"messages": [{"role": "user"}]}, 400, "`messages[0]` has `role` and no `content`"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "`messages[0].role` is the text 'wizard'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "reads text alone"),
        ({"messages": asked("word " * 3000)}, 400, "together the model has 2048"),
        ({"max_tokens": -1}, 400, "`max_tokens`"),
        ({"max_tokens": "7"}, 400, "`max_tokens`"),
        ({"max_tokens": 1501}, 400, "this server gives 1500"),
        ({"temperature": -0.1}, 400, "`temperature`"),
        ({"n": 17}, 400, "`n`"),
        ({"top_k": 2**63}, 400, "`top_k`"),
        ({"temprature": 1}, 400, "Did you mean `temperature`?"),
        ({"frequency_penalty": 0.5}, 400, "`frequency_penalty` is not supported"),
        ({"logit_bias": {"5": 1.0}}, 400, "`logit_bias` is not supported"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "has no tools"),
        ({"top_logprobs": 3}, 400, "`top_logprobs` needs `logprobs`"),
        ({"stop": ["a", ""]}, 400, "would end every answer"),
        ({"stream_options": {"include_usage": True}}, 400, "needs `stream`"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_told_in_one_sentence(
    client: OpenAI, changes: dict[str, Any], status: int, said: str
) -> None:
    body = {"model": "tasks", "messages": asked("hello"), **changes}
    with pytest.raises(openai.APIStatusError) as caught:
        client.post("/chat/completions", body=body, cast_to=object)
    assert caught.value.status_code == status
    error: Any = caught.value.body
    assert said in error["message"]
    assert "\n" not in error["message"]
    assert error["type"] == "invalid_request_error"


def post(demo: api.Server, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    """A request as it is, by Python's own client."""
    connection = http.client.HTTPConnection("127.0.0.1", demo.listener.getsockname()[1])
    connection.request(
        "POST", "/v1/chat/completions", body, {"Content-Type": "application/json", **headers}
    )
    reply = connection.getresponse()
    found = reply.status, json.loads(reply.read())
    connection.close()
    return found


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "must be a JSON object"),
        (b"{", 400, "not JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[" * 100_000, 400, "error parsing the body"),
        (b'{"model":"tasks","messages":[{"role":"user","content":"\\ud800"}]}', 400, "surrogate"),
        (b'{"model":"tasks","messages":[{"role":"user","content":"x"}],"b\\ud800":1}', 400, "surrogate"),
        (b'{"model":"a\\ud800","messages":[{"role":"user","content":"x"}]}', 404, "`a\\ud800` does not"),
        (b'{"model":"tasks","messages":[{"role":"user","content":"x"}],"tools":[{"function":{"name":"f\\ud800"}}]}', 400, "surrogate"),
        (b'{"model":"tasks","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f\\ud800","arguments":"{}"}}]}]}', 400, "surrogate"),
        (
            b'{"model":"tasks","messages":[{"role":"user","content":"x"}],"top_p":NaN}',
            400,
            "`top_p`",
        ),
    ],
)  # fmt: skip
def test_a_malformed_body_is_an_error_in_json(
    demo: api.Server, body: bytes, status: int, said: str
) -> None:
    found, reply = post(demo, body)
    assert found == status
    assert said in reply["error"]["message"]


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(demo: api.Server) -> None:
    status, reply = post(demo, b"", **{"Content-Length": str(5 << 20)})
    assert (status, "larger than" in reply["error"]["message"]) == (413, True)


def test_a_page_under_another_name_is_not_answered(demo: api.Server) -> None:
    status, reply = post(demo, b"{}", Host="evil.example")
    assert (status, reply["error"]["type"]) == (403, "invalid_request_error")


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_place(demo: api.Server, stream: bool) -> None:
    # the base goes on for ever where it takes the likeliest token: 1,500 tokens, which take seconds
    body = json.dumps(
        {
            "model": "bundled:demo",
            "messages": asked("x"),
            "stream": stream,
            "temperature": 0,
            "n": 2,
        }
    ).encode()
    wait_for(lambda: demo.engine.load == (0, 0))
    left = socket.create_connection(demo.listener.getsockname())
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    left.sendall(head.encode() + body)
    wait_for(lambda: demo.engine.load == (2, 0))
    rows = [seat.row for seat in demo.engine._running]
    left.close()
    wait_for(lambda: demo.engine.load == (0, 0))
    assert len(rows) == 2
    assert all(row.finish is None for row in rows)  # given up, not finished


def test_more_requests_than_fit_are_told_to_come_back(
    start_tiny: Callable[..., api.Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = start_tiny(limits=Limits(concurrent=1, queued=1, input_tokens=40))
    step, told = tiny.engine._batcher.step, threading.Event()

    def step_when_told() -> None:
        assert told.wait(START_SECONDS)
        step()

    monkeypatch.setattr(tiny.engine._batcher, "step", step_when_told)

    async def flood() -> list[Any]:
        async with AsyncOpenAI(base_url=tiny.url, api_key="none", max_retries=0) as client:
            options: Any = {"model": "tiny", "prompt": "red", "max_tokens": 9, "temperature": 1.0}
            asking = [asyncio.ensure_future(client.completions.create(**options)) for _ in range(6)]
            while sum(one.done() for one in asking) < 4:  # one is computed, one waits
                await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED, timeout=0.05)
            told.set()
            return await asyncio.gather(*asking, return_exceptions=True)

    found = asyncio.run(flood())
    refused = [one for one in found if isinstance(one, openai.RateLimitError)]
    assert len(refused) == 4
    assert len([one for one in found if hasattr(one, "choices")]) == 2
    assert int(refused[0].response.headers["Retry-After"]) >= 1
    # the client's own retries, which obey the header, get through
    patient = OpenAI(base_url=tiny.url, api_key="none", max_retries=9)
    assert patient.completions.create(model="tiny", prompt="red", max_tokens=2).choices
    with pytest.raises(openai.BadRequestError, match="this server takes 40"):
        patient.completions.create(model="tiny", prompt="red " * 60)


def test_a_key_is_asked_for_and_never_shown(
    start_tiny: Callable[..., api.Server], capfd: pytest.CaptureFixture[str]
) -> None:
    tiny = start_tiny(api_key="sesame-8123")
    right = OpenAI(base_url=tiny.url, api_key="sesame-8123", max_retries=0)
    assert right.models.list().data[0].id == "tiny"
    for key in ("sesame-812", "none", "sesame-8123x"):
        wrong = OpenAI(base_url=tiny.url, api_key=key, max_retries=0)
        with pytest.raises(openai.AuthenticationError, match="missing or wrong"):
            wrong.models.list()
    connection = http.client.HTTPConnection("127.0.0.1", tiny.listener.getsockname()[1])
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    connection.close()
    assert "sesame" not in repr(tiny) + str(tiny)
    assert "sesame" not in "".join(capfd.readouterr())
