"""The batch API, against a server that has one and one that has none."""

import json

import pytest
from batch_server import BatchServer, serving_batches
from scripted_llm import ScriptedLLM, serving

from selfinstruct.errors import LLMError
from selfinstruct.pool.lines import line_of
from selfinstruct.report.progress import Lines
from selfinstruct.run.verbs import Options, run_recipe
from selfinstruct.seeds import shipped_seeds


class Silent(Lines):
    """Shows nothing, remembers what was said."""

    def __init__(self):
        super().__init__(None)
        self.said = []

    def show(self, tally):  # noqa: D102
        self.tally = tally

    def say(self, text):  # noqa: D102
        self.said.append(text)

    def close(self):  # noqa: D102
        pass


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("selfinstruct.llm.batch._GATHER_S", 0.6)
    monkeypatch.setattr("selfinstruct.llm.batch._FIRST_POLL_S", 0.02)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-batch-secret-123456")


def grow(folder, url, *overrides, batch=True):
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "languages: [en, es]\n"
        f"seeds: {shipped_seeds('en')}\n"
        "rules: {wrong_language: false}\n"
        f"llm: {{model: scripted, base_url: '{url}', output: text}}\n"
        "generate: {rounds: 2, first_round_prompts: 3, prompts_per_round: 5}\n"
        f"run: {{folder: {folder / 'run'}}}\n",
        encoding="utf-8",
    )
    shower = Silent()
    outcome = run_recipe(str(recipe), overrides, Options(batch=batch), show=shower)
    return outcome, shower


def pools(folder):
    return {path.name: path.read_bytes() for path in (folder / "run" / "pool").iterdir()}


def test_a_round_of_all_languages_goes_up_together_and_the_pool_is_that_of_single_requests(
    tmp_path,
):
    with serving_batches(BatchServer(polls=2)) as server:
        grow(tmp_path, server.url)
        files = [server.files[batch["input_file_id"]] for batch in server.batches.values()]
    sizes = [len(text.splitlines()) for text in files]
    assert sizes[0] == 6
    assert (
        sum(sizes) == 16
    )  # on a busy machine one language's second round may miss the other's batch
    (tmp_path / "single").mkdir()
    with serving(ScriptedLLM()) as single:
        grow(tmp_path / "single", single.url, batch=False)
    assert pools(tmp_path) == pools(tmp_path / "single")


def test_a_batch_that_was_made_is_waited_for_again_and_not_made_again(tmp_path):
    with serving_batches(BatchServer()) as server:
        grow(tmp_path, server.url, "generate.rounds=1")
        # as if killed right after the batch was made, before its id was written down
        notes = tmp_path / "run" / "batches.jsonl"
        first = notes.read_bytes().splitlines(keepends=True)
        assert [sorted(json.loads(line)) for line in first] == [
            ["intent", "requests"],
            ["batch", "intent"],
        ]
        (tmp_path / "run" / "replies.jsonl").unlink()
        for path in (tmp_path / "run" / "pool").iterdir():
            path.unlink()
        for kept in (first, first[:1]):
            notes.write_bytes(b"".join(kept))
            grow(tmp_path, server.url, "generate.rounds=1")
            assert len(server.batches) == 1
            (tmp_path / "run" / "replies.jsonl").unlink()
            for path in (tmp_path / "run" / "pool").iterdir():
                path.unlink()


def test_requests_that_a_batch_left_unanswered_go_into_another(tmp_path):
    server = BatchServer()
    server.lose_lines = 2
    with serving_batches(server):
        outcome, _ = grow(tmp_path, server.url, "generate.rounds=1")
    assert outcome.tally.replies == 6
    assert [
        len(server.files[batch["input_file_id"]].splitlines()) for batch in server.batches.values()
    ] == [6, 2]


def test_a_server_without_a_batch_api_is_one_line(tmp_path):
    with (
        serving_batches(BatchServer()) as server,
        pytest.raises(LLMError, match="run without --batch"),
    ):
        grow(tmp_path, server.url.replace("/v1", "/v2"))


def test_a_line_is_written_whole():
    assert line_of({"a": "ü\n"}) == '{"a": "ü\\n"}\n'.encode()
