"""Settings given on the command line: what they mean and how mistakes in them are told."""

import pytest

from xtune.recipe import Full, LoRA, QLoRA, Source
from xtune.recipe.read import parse_recipe


@pytest.fixture
def short(base):
    return base.replace("method:\n  type: lora\n  rank: 8\n", "method: lora\n")


def read(text, *overrides):
    return parse_recipe(text, overrides, source="recipes/x.yaml")


def test_values_are_yaml_1_2_scalars_and_flow(base):
    recipe = read(
        base,
        "train.learning_rate=3e-5",
        "data.train=[a.jsonl, b.jsonl]",
        "data.columns={instruction: question}",
        "train.max_minutes=null",
        "train.max_grad_norm=",
        "method.dora=true",
        "run.folder='no'",
        "data.evaluate=0.1",
    )

    assert recipe.train.learning_rate == 3e-5
    assert [source.source for source in recipe.data.train] == ["a.jsonl", "b.jsonl"]
    assert recipe.data.columns == {"instruction": "question"}
    assert recipe.train.max_minutes is None
    assert recipe.train.max_grad_norm is None
    assert recipe.method.dora is True
    assert recipe.run.folder == "no"
    assert recipe.data.evaluate == 0.1


@pytest.mark.parametrize(
    "value",
    ["*.jsonl", "a: b.jsonl", "a=b.jsonl", "#1.jsonl", "!x", "&x", "C:\\x", "@x", "data/ü.jsonl"],
)
def test_text_on_the_command_line_needs_no_yaml_quotes(base, value):
    assert read(base, f"data.train={value}").data.train == (Source(source=value),)


def test_a_setting_below_the_short_form_of_method_makes_it_long(short):
    assert read(short, "method.rank=4").method == LoRA(rank=4)


def test_naming_a_method_replaces_all_of_it(base):
    assert read(base, "method=full").method == Full()
    assert read(base, "method=qlora", "method.quantization=int8").method == QLoRA(
        quantization="int8"
    )


def test_changing_only_the_type_keeps_the_rest(base):
    assert read(base, "method.type=qlora").method == QLoRA(rank=8)


def test_a_later_override_wins_and_mends_an_earlier_mistake(base):
    assert (
        read(base.replace("rank: 8", "rank: 0"), "method.rank=x", "method.rank=2").method.rank == 2
    )


def test_sections_that_the_file_leaves_out_can_be_set(base):
    assert read(base, "memory.gradient_checkpointing=false").memory.gradient_checkpointing is False
    assert read(base + "memory:\n", "memory.loss_chunk_tokens=64").memory.loss_chunk_tokens == 64


WRONG = [
    (
        "train.epochs",
        "`train.epochs` sets nothing (command line: train.epochs); "
        "write `section.key=value`, `train.epochs=3` say.",
    ),
    (
        "--train.epochs=3",
        "`--train.epochs=3` sets nothing (command line: --train.epochs=3); "
        "write `section.key=value`, `train.epochs=3` say. Settings of the recipe have no dashes in front.",
    ),
    (
        "train.learning_rate.x=3",
        "`train.learning_rate` is 0.0001 (recipes/x.yaml:9; command line: train.learning_rate.x=3); "
        "it has no `x` to set.",
    ),
    (
        "trian.epochs=3",
        "`trian` is not a setting of a recipe (command line: trian.epochs=3). Did you mean `train`?",
    ),
    (
        "lora_r=3",
        "`lora_r` is not a setting of a recipe (command line: lora_r=3). In a recipe it is `method.rank`.",
    ),
    (
        "train.batch_size=2.5",
        "`train.batch_size` is 2.5 (command line: train.batch_size=2.5); "
        "it must be a whole number of at least 1.",
    ),
    (
        "method={type: full, rank: 3}",
        "`method.rank` is not a setting of method `full` (command line: method={type: full, rank: 3}). "
        "It belongs to `type: lora` or `type: qlora`.",
    ),
    (
        "data.train=[*.jsonl]",
        "a value begins with `*` or `&` (command line: data.train=[*.jsonl]); put quotes around it.",
    ),
    (
        "model.dtype=bf16",
        '`model.dtype` is "bf16" (command line: model.dtype=bf16); it must be `auto`, `bfloat16`, '
        "`float16` or `float32`. Did you mean `bfloat16`?",
    ),
    (
        "train=3",
        "`train` is 3 (command line: train=3); it must be a section with `learning_rate`.",
    ),
]


@pytest.mark.parametrize(("override", "message"), WRONG)
def test_a_wrong_override_is_told_in_these_words(base, problems, override, message):
    assert problems(base, override) == [message]


@pytest.mark.parametrize("override", ["=3", ".=3", "a..b=3", "train.=3", ".train=3", ""])
def test_an_override_without_a_path_is_refused(base, problems, override):
    assert "sets nothing" in problems(base, override)[0]


def test_overrides_are_checked_even_where_the_file_cannot_be_read(problems):
    assert len(problems("model: [", "nonsense", "data.train=[")) == 3
