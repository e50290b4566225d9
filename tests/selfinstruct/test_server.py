"""The client against a real server on loopback that fails in every way that servers fail."""

import asyncio
import contextlib
import gzip
import json
import socket
import time
import zlib
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_llm import Say, ScriptedLLM, completion, serving

from selfinstruct.errors import AccountError, LLMError, RequestRefused, ServerFailing
from selfinstruct.llm.environment import read_key
from selfinstruct.llm.faults import Fault, read_answer, retry_after_s
from selfinstruct.llm.server import ServerLLM, probe_json
from selfinstruct.llm.settings import LLMSettings
from selfinstruct.llm.wire import Answer, DirectWire, WireError
from selfinstruct.types import Reply, Request, Usage

KEY = "sk-a-very-secret-key-1234567890"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("selfinstruct.llm.server._FIRST_WAIT_S", 0.01)


def request(number=0, **more):
    return Request(
        id=f"en/01/{number:04}",
        messages=({"role": "user", "content": f"prompt {number} ü"},),
        max_tokens=100,
        **more,
    )


def ask(server, count=1, *, requests=None, **settings):
    """Ask `count` requests at once; returns replies or errors, in order."""
    chosen = {"model": "scripted", "base_url": server.url, "timeout_s": 60, **settings}

    async def all_of_them():
        llm = ServerLLM(LLMSettings(**chosen))
        try:
            asked = requests or [request(number) for number in range(count)]
            return await asyncio.gather(*map(llm.complete, asked), return_exceptions=True)
        finally:
            await llm.close()

    return asyncio.run(all_of_them())


def first(*said):
    """Say these first, one to a request, then answer well."""
    return lambda number, _: said[number] if number < len(said) else None


def answered(script, **settings):
    with serving(ScriptedLLM(script, tasks=1)) as server:
        (outcome,) = ask(server, **settings)
    return outcome, server


@pytest.mark.parametrize("client", ["direct", "openai"])
@pytest.mark.parametrize(
    "fault",
    [
        Say(status=429, body={"error": {"message": "slow down", "code": "rate_limit_exceeded"}}),
        Say(status=429, body="", headers={"Retry-After": "0"}),
        Say(status=500, body="<html>oops</html>"),
        Say(status=503, body={"error": "overloaded"}),
        Say(body=completion("good but cut"), cut_after=40),
        Say(body=completion("reset at once"), cut_after=-1),
        Say(body={"choices": []}),
        Say(body='{"choices": [{"mess'),
        Say(body="not JSON at all"),
        Say(body=completion("")),
        Say(body=[1, 2, 3]),
    ],
    ids=[
        "429",
        "429-after",
        "500",
        "503",
        "cut",
        "reset",
        "empty-choices",
        "torn",
        "text",
        "empty",
        "list",
    ],
)
def test_what_may_pass_is_asked_again(fault, client):
    outcome, server = answered(first(fault, fault), client=client)

    assert isinstance(outcome, Reply)
    assert outcome.text.startswith("4. Instruction: ")
    assert len(server.requests) == 3


def test_a_slow_stream_is_waited_for_and_one_that_takes_too_long_is_asked_again():
    slow = Say(body=completion("x" * 4000), bytes_per_s=20_000)
    outcome, _ = answered(first(slow))
    assert outcome.text == "x" * 4000

    outcome, server = answered(first(Say(body=completion("late"), delay_s=300)), timeout_s=5)
    assert outcome.text.startswith("4. Instruction: ")
    assert len(server.requests) == 2


def test_a_chunked_answer_with_trailers_is_read():
    outcome, _ = answered(first(Say(body=completion("žluťoučký kůň"), chunked=True)))
    assert outcome.text == "žluťoučký kůň"


@pytest.mark.parametrize("client", ["direct", "openai"])
@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)],
)
def test_an_answer_that_a_proxy_has_compressed_unasked_is_read(encoding, pack, client):
    body = pack(json.dumps(completion("žluťoučký kůň")).encode())
    outcome, server = answered(
        first(Say(body=body, headers={"Content-Encoding": encoding})), client=client
    )
    assert outcome.text == "žluťoučký kůň"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("br", b"\x8b\x02\x80abc\x03"),
        ("gzip", b"no gzip"),
        ("gzip", gzip.compress(b"x" * 999, mtime=0)[:-9]),
    ],
    ids=["unknown", "broken", "cut"],
)
def test_an_answer_that_cannot_be_unpacked_is_asked_again(encoding, body):
    outcome, server = answered(first(Say(body=body, headers={"Content-Encoding": encoding})))
    assert isinstance(outcome, Reply)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (b"HTTP/1.1 200 OK\nContent-Length: 4\nX: y\n\nfour", Answer(status=200, body=b"four")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(status=204)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n", "the answer was cut off"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 15_000 + b"\r\n", "the answer is not HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP"),
    ],
    ids=["line feeds", "no headers", "cut head", "long line", "many lines", "ssh"],
)
def test_the_head_of_an_answer_is_read_or_refused_whatever_it_is(raw, outcome):
    async def talk():
        async def answer(reader, writer):
            await reader.readuntil(b"{}")
            writer.write(raw)
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            settings = LLMSettings(model="scripted", base_url=url)
            wire = DirectWire(url, read_key(settings), timeout_s=60)
            try:
                return await wire.post("/chat/completions", {})
            except WireError as error:
                return f"{error}"
            finally:
                await wire.close()

    found = asyncio.run(talk())
    if isinstance(found, Answer):
        found = replace(found, headers={})
    assert found == outcome


def test_an_answer_that_comes_twice_is_not_taken_for_the_next_one():
    def echo(_, body):
        return Say(body=completion(body["messages"][0]["content"]), times=2)

    with serving(ScriptedLLM(echo)) as server:
        outcomes = ask(server, 12, concurrency=3)
    assert [outcome.text for outcome in outcomes] == [f"prompt {number} ü" for number in range(12)]


def test_a_web_page_at_the_address_is_said_at_once_and_what_to_check():
    said = []
    page = Say(body="<!DOCTYPE html><html><body>Welcome</body></html>")

    async def ask_page(url):
        llm = ServerLLM(LLMSettings(model="x", base_url=url, retries=1), say=said.append)
        try:
            await llm.complete(request())
        finally:
            await llm.close()

    with (
        serving(ScriptedLLM(lambda *_: page)) as server,
        pytest.raises(AccountError, match="it usually ends in /v1"),
    ):
        asyncio.run(ask_page(server.url))
    assert said == [
        f"No chat-completions server answers at {server.url} (the answer is a web page); asking again for a while."
    ]


def test_retry_after_holds_back_everybody():
    with serving(
        ScriptedLLM(first(Say(status=429, body="", headers={"Retry-After": "1"})), tasks=1)
    ) as server:
        start = time.monotonic()
        outcomes = ask(server, 8, concurrency=1)
        assert all(isinstance(outcome, Reply) for outcome in outcomes)
        assert time.monotonic() - start >= 1
        assert len(server.requests) == 9


def test_retry_after_is_read_as_seconds_as_a_date_and_as_openai_writes_it():
    now = datetime(2026, 11, 24, 12, 0, 0, tzinfo=timezone.utc)
    assert retry_after_s({"retry-after": "7"}, now) == 7
    assert retry_after_s({"retry-after": "Tue, 24 Nov 2026 12:01:30 GMT"}, now) == 90
    assert retry_after_s({"retry-after": "Tue, 24 Nov 2026 11:00:00 GMT"}, now) == 0
    assert retry_after_s({"retry-after": "7", "retry-after-ms": "250"}, now) == 0.25
    # by the server's own clock, if it says what time it has: ours may be wrong
    by_the_server = {
        "retry-after": "Tue, 24 Nov 2026 18:00:30 GMT",
        "date": "Tue, 24 Nov 2026 18:00:00 GMT",
    }
    assert retry_after_s(by_the_server, now) == 30
    assert retry_after_s({**by_the_server, "date": "noon"}, now) == 6 * 3600 + 30
    assert retry_after_s({"retry-after": "soon"}, now) is None
    assert retry_after_s({}, now) is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            Say(status=401, body={"error": {"message": f"Incorrect API key provided: {KEY}."}}),
            "does not accept the API key",
        ),
        (
            Say(status=402, body={"error": {"message": "Payment required"}}),
            "no money or quota left",
        ),
        (
            Say(
                status=429,
                body={
                    "error": {"code": "insufficient_quota", "message": "You exceeded your quota"}
                },
            ),
            "no money or quota left",
        ),
        (Say(status=403, body={"error": {"message": "no"}}), "does not let this key use scripted"),
        (Say(status=404, body={"error": {"message": "no such model"}}), "it has scripted"),
        (Say(status=302, body="", headers={"Location": "/"}), "usually ends in /v1"),
        (Say(status=204, body=None), "usually ends in /v1"),
    ],
    ids=["401", "402", "quota", "403", "404", "302", "204"],
)
def test_what_cannot_be_mended_by_asking_stops_at_once_and_says_what_to_do(said, words):
    outcome, server = answered(lambda *_: said)

    assert isinstance(outcome, AccountError)
    assert len(server.requests) == 1
    assert words in f"{outcome}"
    assert "\n" not in f"{outcome}"
    assert KEY not in f"{outcome!r} {outcome}"


def test_a_server_that_goes_on_failing_ends_the_run_after_a_bound():
    outcome, server = answered(lambda *_: Say(status=500, body="down"), retries=3)

    assert isinstance(outcome, ServerFailing)
    assert len(server.requests) == 4
    assert "HTTP 500" in f"{outcome}"


@contextlib.contextmanager
def nobody():
    """An address at which nobody listens, nor can meanwhile."""
    server = ScriptedLLM()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server.port = taken.getsockname()[1]
        yield server


def test_nobody_at_the_address_is_said_so():
    with nobody() as server:
        (outcome,) = ask(server, retries=1)

    assert isinstance(outcome, LLMError)
    assert "Nothing answers at" in f"{outcome}"


def test_it_is_said_once_that_nobody_answers_while_asking_again():
    said = []

    async def ask_nobody(url):
        llm = ServerLLM(LLMSettings(model="x", base_url=url, retries=2), say=said.append)
        await asyncio.gather(llm.complete(request(1)), llm.complete(request(2)))

    with nobody() as server, pytest.raises(LLMError):
        asyncio.run(ask_nobody(server.url))
    assert said == [
        f"Nothing answers at {server.url} (connection refused); asking again for a while."
    ]


def test_a_server_that_fails_from_the_start_is_told_of_while_asking_goes_on():
    said = []

    async def ask_once(url):
        llm = ServerLLM(LLMSettings(model="x", base_url=url), say=said.append)
        try:
            return await llm.complete(request(1))
        finally:
            await llm.close()

    down = Say(status=500, body={"error": {"message": f"no {KEY}"}})
    with serving(ScriptedLLM(first(*[down] * 5))) as server:
        asyncio.run(ask_once(server.url))

    assert said == [
        f"The server at {server.url} has not answered well so far (HTTP 500: no ***); asking again for a while."
    ]


def test_a_long_retry_after_is_not_waited_for():
    outcome, _ = answered(lambda *_: Say(status=429, body="", headers={"Retry-After": "86400"}))
    assert "asks to wait 1440 minutes" in f"{outcome}"


def test_one_request_that_is_refused_does_not_end_the_run_but_five_without_a_reply_do():
    refusal = Say(
        status=400, body={"error": {"message": "too long", "code": "context_length_exceeded"}}
    )
    with serving(ScriptedLLM(first(refusal))) as server:
        outcomes = ask(server, 3, concurrency=1)
    assert [type(outcome) for outcome in outcomes] == [RequestRefused, Reply, Reply]

    with serving(ScriptedLLM(lambda *_: refusal)) as server:
        outcomes = ask(server, 6, concurrency=1)
    assert "refuses every request" in f"{outcomes[4]}"


def no_such_parameter(_, body):
    """A model that takes neither `max_tokens` nor a temperature, and names one of them at a time."""
    name = next((name for name in ("max_tokens", "temperature") if name in body), None)
    if name is None:
        return None
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    error = {"message": message, "param": name, "code": "unsupported_parameter"}
    return Say(status=400, body={"error": error})


def test_a_parameter_that_the_model_refuses_is_left_out_or_renamed():
    outcome, server = answered(no_such_parameter)

    assert isinstance(outcome, Reply)
    assert server.requests[-1]["max_completion_tokens"] == 100
    assert "temperature" not in server.requests[-1]


def test_requests_that_were_under_way_when_a_parameter_was_refused_are_asked_again():
    with serving(ScriptedLLM(no_such_parameter, delay_s=0.05, tasks=1)) as server:
        outcomes = ask(server, 16, concurrency=16)
    assert [type(outcome) for outcome in outcomes] == [Reply] * 16


def test_tokens_are_estimated_where_the_server_counts_none():
    outcome, _ = answered(first(Say(body=completion("a" * 300, usage=False))))
    assert 75 <= outcome.usage.completion_tokens <= 150


def test_a_key_that_the_server_echoes_is_hidden():
    outcome, server = answered(first(Say(body=completion(f"your key is {KEY}!"))))
    assert outcome.text == "your key is ***!"
    assert set(server.keys) == {f"bearer {KEY}"}


def test_concurrency_keeps_its_ceiling_and_falls_when_pushed_back():
    with serving(ScriptedLLM(delay_s=1.5, tasks=1)) as server:
        ask(server, 20, concurrency=8)
        assert server.most_at_once == 8

    def crowded(*_):
        return Say(status=429, body="") if server.at_once > 4 else None

    with serving(ScriptedLLM(crowded, delay_s=0.01, tasks=1)) as server:
        outcomes = ask(server, 200, concurrency=32)
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    late = server.requests[-50:]
    assert (
        len({body["messages"][0]["content"] for body in late}) > 25
    )  # half of them at least were answered at once


def test_no_more_than_the_slots_are_under_way_or_answered_and_not_yet_kept():
    kept, counts = [], []

    async def ask_and_keep_slowly(server):
        llm = ServerLLM(LLMSettings(model="scripted", base_url=server.url, concurrency=4))

        def keep(reply):
            time.sleep(0.02)  # whatever was sent has time to arrive
            # so many would be lost now
            counts.append(len(server.requests) - len(kept))
            kept.append(reply)

        replies = await asyncio.gather(*(llm.complete(request(n), keep) for n in range(40)))
        await llm.close()
        return replies

    with serving(ScriptedLLM(tasks=1)) as server:
        replies = asyncio.run(ask_and_keep_slowly(server))
    assert max(counts) <= 4
    assert sorted(reply.text for reply in replies) == sorted(reply.text for reply in kept)
    assert len(server.requests) == len(kept) == 40


def test_requests_per_minute_are_spread():
    with serving(ScriptedLLM(tasks=1)) as server:
        start = time.monotonic()
        ask(server, 15, requests_per_minute=600)  # ten a second, and as many at once
        assert time.monotonic() - start >= 0.4


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (Say(body=completion('{"number": 7}')), True),
        (Say(body=completion("Seven.")), False),
        (
            Say(
                status=400,
                body={
                    "error": {
                        "message": "response_format is not supported",
                        "param": "response_format",
                    }
                },
            ),
            False,
        ),
    ],
    ids=["json", "text", "refused"],
)
def test_a_server_is_asked_once_whether_it_keeps_to_a_schema(said, expected):
    with serving(ScriptedLLM(lambda *_: said)) as server:

        async def probe():
            llm = ServerLLM(LLMSettings(model="scripted", base_url=server.url))
            try:
                return await probe_json(llm)
            finally:
                await llm.close()

        assert asyncio.run(probe()) is expected
        assert server.requests[0]["response_format"]["type"] == "json_schema"
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"choices": null}',
        b'{"choices": [null]}',
        b'{"choices": [{"message": {"content": 3}}]}',
        b'{"choices": [{"message": {"content": [{"type": "text", "text": 3}, null]}}]}',
        b'{"choices": [{"message": {"content": [{"type": "image"}]}}]}',
        b'{"choices": [{"message": {"content": ""}, "finish_reason": ["stop"]}], "usage": [1]}',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
def test_no_body_raises(body):
    for status in (200, 400, 401, 429, 500, 999):
        assert isinstance(read_answer(Answer(status=status, body=body)), Fault)


def test_a_message_in_parts_is_its_texts_without_what_was_thought():
    body = completion("")
    body["choices"][0]["message"]["content"] = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Two tasks, say."}]},
        {"type": "text", "text": "4. Instruction: Sing.\n"},
        {"type": "text", "text": "4. Output: La la."},
    ]
    reply = read_answer(Answer(status=200, body=json.dumps(body).encode()))

    assert isinstance(reply, Reply)
    assert reply.text == "4. Instruction: Sing.\n4. Output: La la."


def test_a_surrogate_in_an_answer_does_not_break_a_file():
    body = json.dumps(completion("bad \ud800 half")).encode()
    reply = read_answer(Answer(status=200, body=body))
    assert isinstance(reply, Reply)
    reply.text.encode("utf-8")


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=[]), min_size=1),
    model=st.text(),
    count=st.integers(0, 2**64 - 1),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-le"]),
    escaped=st.booleans(),
)
def test_an_answer_is_read_as_json_reads_it(text, model, count, encoding, escaped):
    value = completion(text) | {"model": model, "usage": {"completion_tokens": count}}
    has_halves = any("\ud800" <= letter <= "\udfff" for letter in text)
    body = json.dumps(value, ensure_ascii=escaped or has_halves).encode(encoding)
    reply = read_answer(Answer(status=200, body=body))
    said = json.loads(body)["choices"][0]["message"]["content"]
    assert reply == Reply(
        text=said.encode("utf-8", "replace").decode(),
        model=model,
        usage=Usage(completion_tokens=count),
    )


@pytest.mark.parametrize("number", ["1e400", "NaN", "-Infinity", "-0", "1e5"])
def test_a_number_that_is_no_count_costs_nothing(number):
    body = json.dumps(completion("Sing.", usage=False))
    body = body.replace("}", f', "x": [{number}]}}', 1)
    body = f'{body[:-1]}, "usage": {{"prompt_tokens": {number}}}}}'
    reply = read_answer(Answer(status=200, body=body.encode()))
    assert reply == Reply(text="Sing.", model="scripted")


def test_an_odd_reason_or_count_is_no_more_than_odd():
    body = completion("4. Instruction: Sing.")
    body["choices"][0]["finish_reason"] = {"why": "stop"}
    body |= {"model": ["x"], "usage": {"prompt_tokens": "many", "completion_tokens": -5}}
    reply = read_answer(Answer(status=200, body=json.dumps(body).encode()))
    assert reply == Reply(text="4. Instruction: Sing.")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999/v1", "http://[::1/v1", "http://x:y/v1", "127.0.0.1:8000/v1"]
)
def test_what_cannot_be_an_address_is_one_line_wherever_it_stands(url, monkeypatch):
    with pytest.raises(ValueError, match="is no web address"):
        LLMSettings(model="x", base_url=url)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(AccountError, match="OPENAI_BASE_URL is no web address"):
        ServerLLM(LLMSettings(model="x"))


def test_a_password_in_the_address_is_refused_and_not_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://me:hunter2@host/v1")
    with pytest.raises(AccountError, match="holds a password") as told:
        ServerLLM(LLMSettings(model="x"))
    assert "hunter2" not in f"{told.value}"


def test_no_key_is_one_line_and_a_server_on_this_machine_needs_none(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(AccountError, match="OPENAI_API_KEY is not set"):
        ServerLLM(LLMSettings(model="x"))
    ServerLLM(LLMSettings(model="x", base_url="http://localhost:1/v1"))
