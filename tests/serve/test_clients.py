"""What clients of other servers send: scoring, template variables, JSON schemas; as plain transformers has it."""

import json
import sys
from collections.abc import Callable
from typing import Any

import httpx2
import jsonschema
import openai
import pytest
import torch
from openai import OpenAI
from transformers import AutoModelForCausalLM, AutoTokenizer

from xtune import api
from xtune.demo.bundled import bundled_path

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"customer": {"type": "string", "maxLength": 9}, "pieces": {"enum": [1, 2]}},
    "required": ["customer", "pieces"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def plain() -> tuple[Any, Any]:
    """The demo model and its tokenizer, without xtune."""
    folder = bundled_path("bundled:demo")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def log_likelihood(model: Any, given: list[int], ending: list[int]) -> float:
    ids = given + ending
    logprobs = model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
    return sum(float(logprobs[place - 1, ids[place]]) for place in range(len(given), len(ids)))


@pytest.mark.parametrize("as_tokens", [False, True])
def test_endings_are_scored_as_evaluation_harnesses_ask(
    client: OpenAI, plain: tuple[Any, Any], as_tokens: bool
) -> None:
    """One more token is asked for than is judged, and what follows the given tokens up to it is summed."""
    model, tokenizer = plain
    given: list[int] = tokenizer("We put yellow 🙂 duters")["input_ids"]
    endings: list[list[int]] = [
        tokenizer(text)["input_ids"] for text in (" in a box.", " on Thursday", "\n")
    ]
    wholes = [given + ending for ending in endings]
    prompts: Any = wholes if as_tokens else [tokenizer.decode(whole) for whole in wholes]
    reply = client.completions.create(
        model="bundled:demo", prompt=prompts, max_tokens=1, echo=True, logprobs=1, temperature=0
    )
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == sum(map(len, wholes))
    for choice, ending, whole in zip(reply.choices, endings, wholes, strict=True):
        told = choice.logprobs
        assert told is not None
        assert choice.text.startswith(tokenizer.decode(whole))
        assert told.token_logprobs is not None
        assert told.top_logprobs is not None
        assert len(told.token_logprobs) == len(whole) + 1  # an end-of-text token would be told, too
        assert told.token_logprobs[0] is None
        judged = told.token_logprobs[len(given) : -1]
        # of sums of up to nine numbers near 10, each rounded to 8 bits
        assert sum(judged) == pytest.approx(log_likelihood(model, given, ending), abs=0.3)
        for value, top in zip(judged, told.top_logprobs[len(given) : -1], strict=True):
            assert max(top.values()) >= value
        written = len(whole) + (choice.finish_reason == "length")
        for offset, token in zip(
            (told.text_offset or [])[:written], (told.tokens or [])[:written], strict=True
        ):
            assert token.startswith("bytes:") or choice.text[offset:].startswith(token)


def test_the_token_that_ends_an_answer_is_scored_where_the_prompt_is(
    client: OpenAI, plain: tuple[Any, Any]
) -> None:
    options: Any = {"model": "bundled:demo", "prompt": "One", "max_tokens": 1, "temperature": 0}
    first = client.completions.create(logprobs=1, **options).choices[0]
    assert first.logprobs is not None
    token: int = plain[1](first.text, add_special_tokens=False)["input_ids"][0]
    ended = client.completions.create(
        logprobs=1, echo=True, extra_body={"stop_token_ids": [token]}, **options
    ).choices[0]
    assert ended.logprobs is not None
    assert (ended.text, ended.finish_reason) == ("One", "stop")
    assert (ended.logprobs.tokens or [])[-1] == first.text
    assert (ended.logprobs.token_logprobs or [])[-1] == (first.logprobs.token_logprobs or [])[-1]


def test_a_prompt_alone_is_scored_whole_and_streamed(client: OpenAI) -> None:
    options: Any = {"model": "tasks", "prompt": ["Which goods?", "hello"], "max_tokens": 0}
    options |= {"echo": True, "logprobs": 2, "n": 2}
    whole = client.completions.create(**options)
    assert [choice.text for choice in whole.choices] == ["Which goods?"] * 2 + ["hello"] * 2
    assert {choice.finish_reason for choice in whole.choices} == {"length"}
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 0
    pieces = [piece.choices[0] for piece in client.completions.create(stream=True, **options)]
    for place, choice in enumerate(whole.choices):
        mine = [piece for piece in pieces if piece.index == place]
        assert "".join(piece.text for piece in mine) == choice.text
        assert mine[0].logprobs == choice.logprobs
    quiet = client.completions.create(model="tasks", prompt="hello", max_tokens=0).choices[0]
    assert (quiet.text, quiet.finish_reason) == ("", "length")


def test_a_templates_variables_are_set_and_strange_ones_refused(
    start_tiny: Callable[..., api.Server],
) -> None:
    tiny = start_tiny()
    served = tiny.engine.models.served["tiny"]
    served.tokenizer.chat_template = (
        "{% for message in messages %}{{ message.content }}\n{% endfor %}"
        "{% if add_generation_prompt and not enable_thinking | default(true) %}red green blue{% endif %}"
    )
    asking = OpenAI(base_url=tiny.url, api_key="none", max_retries=0)

    def ask(values: dict[str, Any]) -> int:
        reply = asking.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "red"}],
            max_tokens=1,
            extra_body={"chat_template_kwargs": values},
        )
        assert reply.usage is not None
        return reply.usage.prompt_tokens

    more = len(served.tokenizer("red green blue", add_special_tokens=False)["input_ids"])
    assert ask({"enable_thinking": False}) == ask({}) + more
    assert ask({"enable_thinking": True}) == ask({})
    for values in ({"enable_thinkng": False}, {"messages": []}, {"add_generation_prompt": False}):
        with pytest.raises(openai.BadRequestError, match="no variable") as caught:
            ask(values)
        assert caught.value.param == "chat_template_kwargs"


def test_an_answer_keeps_to_the_schema_that_is_asked_for(client: OpenAI) -> None:
    pytest.importorskip("llguidance", reason="an optional package: pip install 'xtune[guided]'")
    options: Any = {
        "model": "tasks",
        "messages": [{"role": "user", "content": "The customer is Kubel."}],
        "max_tokens": 60,
        "n": 2,
        "seed": 1,
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "order", "schema": SCHEMA}}
    reply = client.chat.completions.create(response_format=form, **options)
    for choice in reply.choices:
        assert choice.finish_reason == "stop"
        jsonschema.validate(json.loads(choice.message.content or ""), SCHEMA)
    pieces = list(client.chat.completions.create(response_format=form, stream=True, **options))
    streamed = ["", ""]
    for piece in pieces:
        streamed[piece.choices[0].index] += piece.choices[0].delta.content or ""
    assert streamed == [choice.message.content for choice in reply.choices]
    told = client.chat.completions.create(
        response_format={"type": "json_object"}, logprobs=True, **{**options, "max_tokens": 9}
    )
    assert all((choice.message.content or "").startswith("{") for choice in told.choices)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"type": "json_schema"}, "needs `json_schema`"),
        ({"type": "json_object", "json_schema": {"schema": {}}}, "takes no `json_schema`"),
        ({"type": "yaml"}, "`response_format`"),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, "schema` is missing"),
    ],
)
def test_a_form_that_is_none_is_told(client: OpenAI, form: dict[str, Any], said: str) -> None:
    with pytest.raises(openai.BadRequestError, match=said) as caught:
        client.chat.completions.create(
            model="tasks",
            messages=[{"role": "user", "content": "x"}],
            extra_body={"response_format": form},
        )
    assert caught.value.param == "response_format"


def test_without_the_package_the_command_that_installs_it_is_told(
    client: OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(openai.BadRequestError, match=r"pip install 'xtune\[guided\]'"):
        client.chat.completions.create(
            model="tasks",
            messages=[{"role": "user", "content": "x"}],
            response_format={"type": "json_object"},
        )


def test_texts_are_tokenised_and_put_together_again(
    demo: api.Server, plain: tuple[Any, Any]
) -> None:
    _, tokenizer = plain
    asking = httpx2.Client(base_url=demo.url.removesuffix("/v1"))
    text = "We put yellow 🙂 duters"
    told = asking.post("/tokenize", json={"prompt": text, "return_token_strs": True}).json()
    assert told["tokens"] == tokenizer(text)["input_ids"]
    assert (told["count"], told["max_model_len"]) == (len(told["tokens"]), 2048)
    assert told["token_strs"] == tokenizer.convert_ids_to_tokens(told["tokens"])
    again = asking.post("/detokenize", json={"model": "tasks", "tokens": told["tokens"]}).json()
    assert again == {"prompt": text}
    info = asking.get("/tokenizer_info").json()
    assert info["eos_token"] == tokenizer.eos_token
    for path, body in (
        ("/tokenize", {"promt": "x"}),
        ("/tokenize", {"prompt": 3}),
        ("/detokenize", {"tokens": [10**9]}),
        ("/detokenize", {"tokens": [-1]}),
    ):
        reply = asking.post(path, json=body)
        assert reply.status_code == 400
        assert "\n" not in reply.json()["error"]["message"]
    assert asking.post("/tokenize", json={"model": "x", "prompt": ""}).status_code == 404
    asking.close()
