"""Recipes of `selfinstruct run`: those that ship, mistakes in the house's words, keys that are never written."""

from pathlib import Path

import pytest

from selfinstruct.settings import changes, dump_settings, read_settings
from xtune.catalog.recipes import list_recipes, recipes_folder
from xtune.errors import RecipeError

SHIPPED = sorted((recipes_folder() / "selfinstruct").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_reads_by_path_and_by_name_and_is_short(path):
    assert read_settings(str(path)) == read_settings(path.stem)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60


def test_the_papers_recipe_has_the_papers_numbers_and_they_are_the_defaults(tmp_path):
    paper = read_settings("multialpaca")
    assert len(paper.languages) == 11
    generate = paper.generate
    assert (generate.rounds, generate.first_round_prompts, generate.prompts_per_round) == (
        10,
        10,
        100,
    )
    assert (generate.seeds_shown, generate.generated_shown, generate.tasks_per_prompt) == (2, 1, 20)
    assert paper.novelty.threshold == 0.7

    bare = tmp_path / "bare.yaml"
    bare.write_text("languages: [es]\nllm: {model: x}\nrun: {folder: out}\n")
    assert read_settings(str(bare)).generate == generate


def test_recipes_of_selfinstruct_are_no_training_recipes():
    assert not [entry.name for entry in list_recipes() if entry.name.startswith("selfinstruct")]


def told(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        read_settings(str(path), overrides)
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_all_mistakes_are_told_together_with_line_and_advice(tmp_path):
    text = "languages: [es, es]\nllm:\n  modle: x\n  base_url: ftp://x\n  concurrency: -3\ngenerate: {round: 3}\nrun: {}\n"
    assert told(tmp_path, text) == [
        '`languages` has "es" twice (x.yaml:1); name it once.',
        "`llm.model` is missing (x.yaml:2); it must be text.",
        "`llm.modle` is not a setting of `llm` (x.yaml:3). Did you mean `llm.model`?",
        "`llm.base_url` is no web address (x.yaml:4); write http://127.0.0.1:8000/v1, say.",
        "`llm.concurrency` is -3 (x.yaml:5); it must be at least 1.",
        "`generate.round` is not a setting of `generate` (x.yaml:6). Did you mean `generate.rounds`?",
        "`run.folder` is missing (x.yaml:7); it must be text.",
    ]


def test_a_key_in_a_recipe_or_on_the_command_line_is_refused_and_not_repeated(tmp_path):
    good = "languages: [es]\nllm: {model: x}\nrun: {folder: out}\n"
    for problems in (
        told(tmp_path, good.replace("model: x", "model: x, api_key: sk-secret-1234")),
        told(tmp_path, good, "llm.api_key=sk-secret-1234"),
        told(tmp_path, good, "llm.model=sk-secret-1234"),
        told(tmp_path, good, "llm.base_url=http://me:sk-secret-1234@host/v1"),
    ):
        assert len(problems) == 1
        assert "sk-secret" not in problems[0]
        assert "key_variable" in problems[0]


def test_a_server_named_beside_a_model_of_this_process_is_refused(tmp_path):
    """As in `selfinstruct run demo llm.base_url=...`, which would ask the bundled model all the same."""
    recipe = "languages: [es]\nllm: {model: 'local:bundled:tasks'}\nrun: {folder: out}\n"
    (problem,) = told(tmp_path, recipe, "llm.base_url=http://127.0.0.1:8000/v1")
    assert "name the server's model, or leave `base_url` out" in problem


def test_what_may_change_in_a_run_that_goes_on():
    old = read_settings("multialpaca").model_dump(mode="json")
    free = [
        "generate.rounds=3",
        "generate.target=5",
        "limits.budget_usd=1",
        "llm.concurrency=7",
        "llm.price={prompt: 1, completion: 2}",
    ]
    assert changes(old, read_settings("multialpaca", free).model_dump(mode="json")) == []
    fixed = ["llm.model=other", "generate.seed=1", "novelty.threshold=0.6"]
    assert changes(old, read_settings("multialpaca", fixed).model_dump(mode="json")) == [
        "generate.seed", "llm.model", "novelty.threshold",
    ]  # fmt: skip


def test_the_written_recipe_reads_back_as_itself(tmp_path):
    settings = read_settings("multialpaca", ["limits.budget_usd=2.5"])
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_settings(settings), encoding="utf-8")
    assert read_settings(str(path)) == settings


def test_a_prompt_that_asks_for_nothing_is_refused(tmp_path):
    good = "languages: [es]\nllm: {model: x}\nrun: {folder: out}\n"
    (problem,) = told(tmp_path, good, "generate.tasks_per_prompt=3")
    assert (
        problem
        == "`generate.tasks_per_prompt` is 3 (x.yaml); it must be above the 3 tasks that are shown."
    )
