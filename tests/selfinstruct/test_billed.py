"""Answers that say nothing and that the server bills: they count to tokens and budget, once, and are no replies."""

import json
from pathlib import Path

import pytest
from batch_server import BatchServer, serving_batches
from georgian import pretend
from scripted_llm import Say, ScriptedLLM, completion, serving

from selfinstruct.pool.journal import spent
from selfinstruct.report.progress import Lines
from selfinstruct.run.verbs import Options, run_recipe, translate_seeds
from selfinstruct.seeds import read_seeds, seed_row, shipped_seeds
from selfinstruct.types import Usage

BILLED = {"prompt_tokens": 500, "completion_tokens": 700, "total_tokens": 1200}
"""As `completion` has it."""

NOTHING = [
    {**completion(""), "choices": []},
    completion(""),
    {"error": {"message": "upstream went away"}, "usage": BILLED},
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-billed-secret-1234")
    monkeypatch.setattr("selfinstruct.llm.server._FIRST_WAIT_S", 0.01)
    monkeypatch.setattr("selfinstruct.llm.batch._GATHER_S", 0.2)
    monkeypatch.setattr("selfinstruct.llm.batch._FIRST_POLL_S", 0.02)


class Quiet(Lines):
    """Shows nothing."""

    def __init__(self) -> None:
        super().__init__(None)

    def show(self, tally): ...  # noqa: D102

    def say(self, text): ...  # noqa: D102


def grow(folder: Path, url: str, *overrides: str, batch: bool = False):
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "languages: [en]\n"
        f"seeds: {shipped_seeds('en')}\n"
        f"llm: {{model: scripted, base_url: '{url}', output: text, concurrency: 2, price: {{prompt: 1, completion: 2}}}}\n"
        "generate: {rounds: 1, first_round_prompts: 6}\n"
        f"run: {{folder: {folder / 'run'}}}\n",
        encoding="utf-8",
    )
    return run_recipe(str(recipe), overrides, Options(batch=batch), show=Quiet())


def in_tokens(answers: int) -> Usage:
    return Usage(prompt_tokens=500 * answers, completion_tokens=700 * answers)


@pytest.mark.parametrize("nothing", NOTHING)
def test_an_answer_that_says_nothing_counts_as_what_the_server_bills(
    tmp_path: Path, nothing: object
) -> None:
    with serving(
        ScriptedLLM(lambda number, _: Say(body=nothing) if number < 3 else None)
    ) as server:
        outcome = grow(tmp_path, server.url)
        assert len(server.requests) == 6 + 3
        assert outcome.tally.replies == 6
        assert outcome.tally.usage == in_tokens(9) == spent(tmp_path / "run")
        assert outcome.tally.usd == pytest.approx(9 * (500 * 1 + 700 * 2) / 1e6)
        # going on counts no answer a second time and asks for none
        outcome = grow(tmp_path, server.url)
        assert len(server.requests) == 9
        assert outcome.tally.usage == in_tokens(9)


def test_an_answer_that_says_nothing_and_is_not_billed_costs_nothing(tmp_path: Path) -> None:
    nothing = Say(body={"choices": []})
    with serving(ScriptedLLM(lambda number, _: nothing if number < 3 else None)) as server:
        assert grow(tmp_path, server.url).tally.usage == in_tokens(6)


def test_answers_that_say_nothing_keep_to_the_limit(tmp_path: Path) -> None:
    with serving(ScriptedLLM(lambda _number, _body: Say(body=completion("")))) as server:
        outcome = grow(tmp_path, server.url, "limits.max_tokens_total=20000", "llm.retries=1000")
        assert "limit of 20,000 tokens" in outcome.limit
        assert 2 * 1200 <= len(server.requests) * 1200 <= 20000
        assert spent(tmp_path / "run") == in_tokens(len(server.requests))


class SaysNothingAtFirst(BatchServer):
    """Bills the first batch for answers without a text."""

    def finish(self, batch):
        """Write the answers of a batch."""
        super().finish(batch)
        if len(self.batches) > 1:
            return
        name = batch["output_file_id"]
        lines = [json.loads(line) for line in self.files[name].splitlines()]
        for line in lines[:2]:
            line["response"]["body"] = completion("")
        self.files[name] = "\n".join(map(json.dumps, lines))


def test_a_batch_bills_answers_that_say_nothing(tmp_path: Path) -> None:
    with serving_batches(SaysNothingAtFirst()) as server:
        outcome = grow(tmp_path, server.url, batch=True)
    assert outcome.tally.replies == 6
    assert outcome.tally.usage == in_tokens(8)


def test_a_translation_tells_the_tokens_of_answers_that_say_nothing(tmp_path: Path) -> None:
    (seed,) = [seed for seed in read_seeds("en") if seed.translate == "yes"][:1]
    seeds, recipe = tmp_path / "seeds.jsonl", tmp_path / "recipe.yaml"
    seeds.write_text(json.dumps(seed_row(seed)) + "\n", encoding="utf-8")

    def answer(number, body):
        if number < 2:
            return Say(body=completion(""))
        task, _ = json.JSONDecoder().raw_decode(body["messages"][1]["content"])
        return Say(body=completion(json.dumps({key: pretend(task[key]) for key in task})))

    with serving(ScriptedLLM(answer)) as server:
        recipe.write_text(
            f"languages: [ka]\nllm: {{model: scripted, base_url: '{server.url}'}}\nrun: {{folder: {tmp_path / 'run'}}}\n",
            encoding="utf-8",
        )
        told = translate_seeds(str(recipe), ["ka"], out=str(tmp_path / "out"), seeds=str(seeds))
    assert told.splitlines()[-1] == "1,500 prompt and 2,100 answer tokens."
