"""The LLM in this process, on a tiny real model: replies that depend on the request alone, and their ends."""

import asyncio

import pytest

from selfinstruct.errors import RequestRefused
from selfinstruct.llm.local import LocalLLM
from selfinstruct.llm.settings import LLMSettings
from selfinstruct.run.verbs import run_recipe
from selfinstruct.types import Reply, Request
from xtune.errors import XtuneError


def request(number, **more):
    chosen = {"max_tokens": 12, "temperature": 1.0, "seed": number, **more}
    return Request(
        id=f"en/01/{number}",
        messages=({"role": "user", "content": f"red lamp {number}"},),
        **chosen,
    )


def ask(folder, requests, *, together=True):
    async def all_of_them():
        llm = LocalLLM(LLMSettings(model=f"local:{folder}"))
        try:
            if together:
                return await asyncio.gather(*map(llm.complete, requests), return_exceptions=True)
            return [await llm.complete(one) for one in requests]
        finally:
            await llm.close()

    return asyncio.run(all_of_them())


def test_a_sampled_reply_depends_on_its_request_and_not_on_the_batch(tiny_model):
    requests = [request(number) for number in range(5)]
    together = ask(tiny_model, requests)

    assert together == ask(tiny_model, requests, together=False)
    assert len({reply.text for reply in together}) > 1
    assert all(
        reply.usage.completion_tokens <= 12 and reply.usage.prompt_tokens > 5 for reply in together
    )
    assert {reply.finish_reason for reply in together if reply.usage.completion_tokens == 12} == {
        "length"
    }


def test_the_nucleus_of_one_token_is_the_greedy_choice(tiny_model):
    greedy, nucleus = ask(tiny_model, [request(1, temperature=0.0), request(1, top_p=1e-6)])
    assert isinstance(greedy, Reply)
    assert greedy.text == nucleus.text


def test_a_prompt_that_fills_the_context_is_refused_and_the_others_are_answered(tiny_model):
    long = Request(id="x", messages=({"role": "user", "content": "red " * 400},), max_tokens=5)
    refused, answered = ask(tiny_model, [long, request(1)])
    assert isinstance(refused, RequestRefused)
    assert isinstance(answered, Reply)


def test_the_demonstration_runs_as_it_ships(tmp_path):
    few = ["generate.rounds=1", "generate.first_round_prompts=4", f"run.folder={tmp_path / 'run'}"]
    outcome = run_recipe("demo", few)
    assert outcome.tally.replies == 4
    assert outcome.tally.kept["en"] >= 1


def test_a_folder_that_is_not_there_is_one_line():
    with pytest.raises(XtuneError, match="there is no folder nowhere"):
        LocalLLM(LLMSettings(model="local:nowhere"))
