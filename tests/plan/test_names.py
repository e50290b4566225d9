"""What of a recipe's names a config alone can refuse is refused by it, in the words of the loaded model."""

import re
from pathlib import Path
from typing import Any

import pytest
from factories import make_model, save_model
from machines import make_recipe

from xtune import api, api_plan
from xtune.adapter.targets import check_modules_to_save, check_start, choose_targets
from xtune.errors import ModelError, XtuneError
from xtune.memory import ModelShape
from xtune.plan.names import name_problems

WRONG: list[tuple[bool, dict[str, Any]]] = [
    (True, {"targets": ["lm_head"]}),
    (True, {"targets": ["q_proj", "lm_head"]}),
    (False, {"targets": ["embed_tokens"]}),
    (False, {"targets": ["embed"]}),
    (False, {"targets": ["q_proj", "q_prj"]}),
    (False, {"targets": ["lm_head", "self_attn"]}),
    (False, {"targets": ["model.layers.9.self_attn.q_proj"]}),
    (False, {"targets": ["norm"]}),
    (False, {"modules_to_save": ["lm_haed"]}),
    (False, {"modules_to_save": ["head"]}),
    (False, {"modules_to_save": ["mlp"]}),
    (False, {"init": "pissa", "rank": 65}),
    (False, {"init": "olora", "rank": 33}),
    (False, {"init": "mica", "rank": 33}),
]
RIGHT: list[tuple[bool, dict[str, Any]]] = [
    (False, {"targets": ["lm_head"]}),
    (False, {"targets": ["q_proj", "mlp.up_proj", "model.layers.1.self_attn.o_proj"]}),
    (True, {"targets": ["all-linear"], "modules_to_save": ["embed_tokens", "norm", "q_norm"]}),
    (True, {"modules_to_save": ["lm_head", "up_proj"]}),
    (False, {"init": "pissa", "rank": 32}),
    (False, {"init": "olora", "rank": 33, "targets": ["q_proj"]}),
]


def problems(model: Any, method: dict[str, Any]) -> list[str]:
    recipe = make_recipe({"type": "lora", **method})
    return [
        str(each) for each in name_problems(recipe, ModelShape.from_config(model.config.to_dict()))
    ]


def refused_when_loaded(model: Any, method: dict[str, Any]) -> str:
    asked: Any = make_recipe({"type": "lora", **method}).method
    with pytest.raises(ModelError) as refused:
        check_when_loaded(model, asked)
    return str(refused.value)


def check_when_loaded(model: Any, asked: Any) -> None:
    check_start(model, asked)
    check_modules_to_save(model, asked)
    choose_targets(model, asked)


@pytest.mark.parametrize(("tied", "method"), WRONG)
def test_a_wrong_name_is_refused_in_the_words_of_the_loaded_model(
    tied: bool, method: dict[str, Any]
) -> None:
    model = make_model("qwen3", tie_word_embeddings=tied)
    assert problems(model, method) == [refused_when_loaded(model, method)]


@pytest.mark.parametrize(
    "kind",
    [
        "llama", "qwen2", "qwen3", "gemma2", "phi3", "olmo", "olmo2", "olmo3", "exaone4", "cohere", "cohere2", "stablelm",
        "gpt_neox", "nemotron", "arcee", "apertus", "helium", "ernie4_5", "hunyuan_v1_dense", "seed_oss", "ministral", "ministral3",
    ],
)  # fmt: skip
def test_every_module_of_a_family_is_known_by_name(kind: str) -> None:
    model = make_model(kind, pad_token_id=0)
    method = {"targets": ["nothing"], "modules_to_save": ["nothing"]}
    asked: Any = make_recipe({"type": "lora", **method}).method
    expected = []
    for check in (choose_targets, check_modules_to_save):
        with pytest.raises(ModelError) as refused:
            check(model, asked)
        expected.append(str(refused.value))
    assert problems(model, method) == expected


@pytest.mark.parametrize(("tied", "method"), RIGHT)
def test_a_right_name_is_not_refused(tied: bool, method: dict[str, Any]) -> None:
    model = make_model("qwen3", tie_word_embeddings=tied)
    assert problems(model, method) == []
    check_when_loaded(model, make_recipe({"type": "lora", **method}).method)


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe", "olmoe", "granitemoe", "gpt_oss"])
@pytest.mark.parametrize("target", ["experts", "gate_proj", "w1", "gate"])
def test_of_a_mixture_only_attention_is_linear(kind: str, target: str) -> None:
    experts = {"num_experts": 4, "num_local_experts": 4, "moe_intermediate_size": 32}
    model = make_model(kind, **experts, num_experts_per_tok=2, decoder_sparse_step=1)
    method = {"targets": ["q_proj", target]}
    assert problems(model, method) == [refused_when_loaded(model, method)]


@pytest.mark.parametrize("every", [1, 2])
def test_of_a_shared_expert_all_matrices_are_linear(every: int) -> None:
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    shared = {"shared_expert_intermediate_size": 64, "decoder_sparse_step": every}
    model = make_model("qwen2_moe", **experts, **shared)
    names = ["q_proj", "shared_expert.down_proj", "mlp.shared_expert_gate", "up_proj"]
    assert problems(model, {"targets": names}) == []
    method = {"targets": [*names, "experts"]}
    assert problems(model, method) == [refused_when_loaded(model, method)]


def test_a_gate_of_one_output_has_one_direction() -> None:
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    model = make_model("qwen2_moe", **experts, shared_expert_intermediate_size=64)
    method: dict[str, Any] = {"init": "pissa", "rank": 16}
    assert problems(model, method) == [refused_when_loaded(model, method)]
    method["targets"] = ["q_proj"]
    assert problems(model, method) == []
    check_when_loaded(model, make_recipe({"type": "lora", **method}).method)


def test_what_is_quantised_cannot_be_saved() -> None:
    shape = ModelShape.from_config(make_model("llama").config.to_dict())
    recipe = make_recipe({"type": "qlora", "modules_to_save": ["norm", "up_proj"]})
    (problem,) = name_problems(recipe, shape)
    assert "names up_proj, which is quantised" in str(problem)


def test_plan_and_train_say_the_same_and_leave_no_folder(tmp_path: Path) -> None:
    folder, run = save_model(tmp_path / "tied", tie_word_embeddings=True), tmp_path / "run"
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "one", "completion": "two"}\n' * 4)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: {{name: {folder}}}\nmethod: {{type: lora, rank: 2}}\ndata: {{train: {rows}, max_tokens: 32}}\n"
        f"train: {{learning_rate: 1e-4, max_steps: 1, batch_size: 1}}\nrun: {{folder: {run}}}\n"
    )
    words = ["method.targets=[lm_head]", "method.modules_to_save=[nothing]"]
    said = []
    for verb in (api_plan.plan, api.train):
        with pytest.raises(XtuneError) as refused:
            verb(recipe, words)
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert re.search("shares its matrix(.|\n)*names nothing, which matches no module", said[0])
    assert not run.exists()
