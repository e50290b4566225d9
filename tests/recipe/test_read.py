"""What a person reads when a recipe is wrong, word for word, and what a right one reads as."""

import textwrap

import pytest

from xtune.errors import RecipeError
from xtune.recipe import LoRA, QLoRA, Source
from xtune.recipe.read import parse_recipe, read_recipe


def test_a_complete_recipe_is_read_with_its_numbers_as_numbers(base):
    recipe = parse_recipe(base, source="x")

    assert recipe.train.learning_rate == 0.0001
    assert recipe.method == LoRA(rank=8)
    assert recipe.data.train == (Source(source="rows.jsonl"),)


def test_method_may_be_one_word(base):
    text = base.replace("method:\n  type: lora\n  rank: 8\n", "method: qlora\n")

    assert parse_recipe(text, source="x").method == QLoRA()


TYPICAL = [
    (
        ("rank: 8", "rank: 0"),
        "`method.rank` is 0 (recipes/x.yaml:5); it must be at least 1.",
    ),
    (
        ("learning_rate: 1e-4", "learning_rte: 1e-4"),
        "`train.learning_rte` is not a setting of `train` (recipes/x.yaml:9). "
        "Did you mean `train.learning_rate`?",
    ),
    (
        ("type: lora", "type: lroa"),
        '`method.type` is "lroa" (recipes/x.yaml:4); it must be `full`, `lora` or `qlora`. '
        "Did you mean `lora`?",
    ),
    (
        ("rank: 8", "quantization: nf4"),
        "`method.quantization` is not a setting of method `lora` (recipes/x.yaml:5). "
        "It belongs to `type: qlora`.",
    ),
    (
        ("  type: lora\n", ""),
        "`method.type` is missing (recipes/x.yaml:3); it must be `full`, `lora` or `qlora`.",
    ),
    (
        ("model:", "rank: 8\nmodel:"),
        "`rank` is not a setting of a recipe (recipes/x.yaml:1). `rank` belongs under `method`.",
    ),
    (
        ("1e-4", "1e-4\n  num_train_epochs: 3"),
        "`train.num_train_epochs` is not a setting of `train` (recipes/x.yaml:10). "
        "In a recipe it is `train.epochs`.",
    ),
    (
        ("1e-4", "1e-4\n  epochs: '3'"),
        '`train.epochs` is "3" (recipes/x.yaml:10); it must be a number above 0 or null. '
        "Write the number in digits alone, without quotes or `_`.",
    ),
    (
        ("rows.jsonl", "rows.jsonl\n  packing: yes"),
        '`data.packing` is "yes" (recipes/x.yaml:8); it must be true, false or `auto`. Write `true`.',
    ),
    (
        ("rank: 8", "rank: 8\n  rank: 16"),
        "`method.rank` is written twice (recipes/x.yaml:5 and 6); keep one of them.",
    ),
    (
        ("  train: rows.jsonl", "  evaluate: 1.5\n  train: rows.jsonl"),
        "`data.evaluate` is 1.5 (recipes/x.yaml:7); it must be from 0 to 1.",
    ),
    (
        ("1e-4", ".inf"),
        "`train.learning_rate` is inf (recipes/x.yaml:9); it must be a finite number.",
    ),
    (
        ("rows.jsonl", "[a.jsonl, 3]"),
        "`data.train[1]` is 3 (recipes/x.yaml:7); it must be text or a section with `source`.",
    ),
    (
        ("1e-4", "1e-4\n  compile: {bool: 1}"),
        "`train.compile` is a section (recipes/x.yaml:10); it must be true or false.",
    ),
    (
        ("1e-4", "1e-4\nmemory:"),
        "`memory` is empty (null) (recipes/x.yaml:10); it must be `auto` or a section.",
    ),
    (
        ("1e-4", "1e-4\nmemory:\n  frugal_layers: false\n  tile_tokens: 64"),
        "`memory.tile_tokens` is for frugal layers, which these settings rule out (recipes/x.yaml:12); remove it.",
    ),
]


@pytest.mark.parametrize(("change", "message"), TYPICAL)
def test_a_typical_mistake_is_told_in_these_words(base, problems, change, message):
    found = problems(base.replace(*change))

    assert message in found
    assert len(found) == (2 if "learning_rte" in message else 1)


UNREADABLE = [
    ("", "the recipe is empty (recipes/x.yaml)"),
    ("# nothing but a comment\n", "the recipe is empty (recipes/x.yaml)"),
    ("---\n...\n", "the recipe is empty (recipes/x.yaml"),
    ("- model\n", "the recipe is a list (recipes/x.yaml)"),
    ("hello", 'the recipe is only "hello" (recipes/x.yaml)'),
    ("model:\n\tname: x\n", "a tab is used (recipes/x.yaml:2); YAML wants spaces"),
    ("model: 'x\n", "a quote or bracket is not closed"),
    ("model: [x\n", "a quote or bracket is not closed"),
    ("model: a: b\n", "a `:` is not expected here (recipes/x.yaml:1)"),
    ("model: @x\n", "a value begins with `@` (recipes/x.yaml:1); put quotes around it"),
    ("a: 1\n---\nb: 1\n", "a second document begins (recipes/x.yaml:2)"),
    (b"model:\n  name: \xff\n", "byte 0xFF is not UTF-8 (recipes/x.yaml:2)"),
    ("model:\n  name: a\0b\n", "the character U+0000 is not allowed in YAML (recipes/x.yaml:2)"),
    ("a: " * 3 + "[" * 5000, "a `:` is not expected here"),
    ("a: " + "[" * 5000, "is nested too deeply (recipes/x.yaml:1)"),
    ("a: " + "{a: " * 5000, "is nested too deeply (recipes/x.yaml:1)"),
    ("a: b\n" * 100_000, "the recipe is longer than 262,144 bytes"),
    ('model: "\\UFFFFFFFF"\n', "a `\\U` escape is not a character"),
]


@pytest.mark.parametrize(("text", "message"), UNREADABLE)
def test_what_is_no_recipe_at_all_says_so(problems, text, message):
    assert problems(text)[0].startswith(message) or message in problems(text)[0]


REFUSED = [
    ("name: &a bundled:demo\nextra: *a", "`model.extra` is `*a`, a reference to another value"),
    (
        "name: !!python/object/apply:os.system [id]",
        "`model.name` has the YAML tag `!!python/object/apply:os.system`",
    ),
    ("name: !!binary aGk=", "`model.name` has the YAML tag `!!binary`"),
    ("name: x\n<<: {revision: y}", "`<<` under `model` merges another section"),
    ("name: x\n3: y", "the key `3` under `model` is not text"),
    ("name: x\n~: y", "the key `~` under `model` is empty"),
    ("name: x\n? [a, b]\n: y", "a key under `model` is not a name"),
    ("name: x\n!!str hub: y", "a key under `model` has a YAML tag"),
    ('name: "a\\0b"', "`model.name` has the character U+0000, which no text file can hold"),
    ('name: "\\ud800"', "`model.name` has the character U+D800, which no text file can hold"),
    (
        "name: x\nrevision: 123456789012345678901234567890",
        "`model.revision` is a whole number beyond 64 bits",
    ),
]


@pytest.mark.parametrize(("model", "message"), REFUSED)
def test_yaml_that_has_no_place_in_a_recipe_is_refused_and_nothing_else_is_reported(
    base, problems, model, message
):
    text = base.replace("  name: bundled:demo", textwrap.indent(model, "  "))
    (found,) = problems(text)

    assert found.startswith(
        f"{message} (recipes/x.yaml:{2 + model.count(chr(10)) - ('? ' in model)})"
    )


def test_a_billion_laughs_is_refused_at_once(problems):
    rows = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    rows += [
        f"{n}: &{n} [{', '.join([f'*{p}'] * 9)}]"
        for p, n in zip("abcdefgh", "bcdefghi", strict=True)
    ]

    assert len(problems("\n".join(rows))) > 9


def test_all_problems_are_told_together_in_the_order_of_their_lines_with_the_command_line_last(
    problems,
):
    found = problems(
        textwrap.dedent("""\
            model: {name: x, trust_remote_code: yes}
            method: {type: lora, rank: 0, alpha: -1}
            data: {train: []}
            train:
              learning_rate: fast
              schedule: cosin
            """),
        "run.seed=-1",
    )

    assert [line.split("`")[1] for line in found] == [
        "model.trust_remote_code",
        "method.rank",
        "method.alpha",
        "data.train",
        "train.learning_rate",
        "train.schedule",
        "run.seed",
    ]
    assert "(command line: run.seed=-1)" in found[-1]


def test_settings_that_do_not_agree_are_told_together_with_wrong_ones(base, problems):
    text = base + "  epochs: 0\n  optimizer: muon\n  early_stop_patience: 2\n  finish_with: best\n"

    assert problems(text) == [
        "`train.epochs` is 0 (recipes/x.yaml:10); it must be above 0.",
        "`train.optimizer: muon` is for `method: full` alone (recipes/x.yaml:11); "
        "low-rank factors want `adamw`.",
        "`train.early_stop_patience` needs held-out rows (recipes/x.yaml:12); set `data.evaluate`.",
        "`train.early_stop_patience` needs repeated evaluation (recipes/x.yaml:12); "
        "set `train.evaluate_every`.",
        "`train.finish_with: best` needs held-out rows (recipes/x.yaml:13); set `data.evaluate`.",
    ]


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (
            "{type: qlora, init: pissa}",
            "`method.init` is pissa with qlora (recipes/x.yaml:3); "
            "it starts from the base's own weights, which are quantised: use `method: lora`.",
        ),
        (
            "{type: qlora, init: orthogonal}",
            "`method.init` is orthogonal with qlora (recipes/x.yaml:3); "
            "PEFT makes such factors in the base's own type, which is quantised: use `gaussian`, or `method: lora`.",
        ),
        (
            "{type: lora, rank: 5, init: orthogonal}",
            "`method.rank` is 5 with `init: orthogonal` (recipes/x.yaml:3); it must be even.",
        ),
        (
            "{type: lora, init: mica, dora: true}",
            "`method.dora` is true with `init: mica` (recipes/x.yaml:3); PEFT has no such combination.",
        ),
        (
            "{type: lora, init: mica, lora_plus_ratio: 16}",
            "`method.lora_plus_ratio` is set with `init: mica` (recipes/x.yaml:3); "
            "it is the learning rate of B, which mica does not train.",
        ),
        (
            "{type: lora, init: eva}",
            '`method.init` is "eva" (recipes/x.yaml:3); it must be `default`, `gaussian`, `orthogonal`, `pissa`, '
            "`olora`, `mica` or `pissa_niter_N` (N from 1 to 99).",
        ),
    ],
)
def test_a_start_that_does_not_fit_the_method_is_refused_before_anything_is_loaded(
    base, problems, method, told
):
    text = base.replace("method:\n  type: lora\n  rank: 8\n", f"method: {method}\n")
    assert problems(text) == [told]


def test_a_disagreement_with_a_setting_that_is_itself_wrong_is_not_guessed_at(base, problems):
    text = base.replace("rows.jsonl", "rows.jsonl\n  evaluate: -1") + "  finish_with: best\n"

    (found,) = problems(text)

    assert found.startswith("`data.evaluate` is -1 ")


def test_no_message_speaks_the_language_of_the_validator(base, problems):
    text = (
        base.replace("rank: 8", "rank: x\n  targets: {a: 1}\n  dropout: 2")
        + "  epochs: []\nstage: x\nz: 1\n"
    )
    told = "\n".join(problems(text)).lower()

    for word in ("pydantic", "http", "input should", "literal", "tuple", "validat", "union", "loc"):
        assert word not in told.replace("`all-linear`", "")


def test_a_file_that_is_missing_is_told_with_its_nearest_neighbour(base, tmp_path):
    (tmp_path / "quick.yaml").write_text(base)

    with pytest.raises(
        RecipeError, match=r"no such recipe .*quik\.yaml.*Did you mean `quick\.yaml`\?"
    ):
        read_recipe(tmp_path / "quik.yaml")


def test_a_folder_is_told_to_be_one_with_what_it_holds(base, tmp_path):
    (tmp_path / "quick.yaml").write_text(base)

    with pytest.raises(RecipeError, match=r"is a folder .*holds quick\.yaml"):
        read_recipe(tmp_path)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "file.yaml/below.yaml"])
def test_names_that_cannot_be_files_are_told_without_a_traceback(base, tmp_path, name):
    (tmp_path / "file.yaml").write_text(base)

    with pytest.raises(RecipeError):
        read_recipe(tmp_path / name)


def test_a_byte_order_mark_and_windows_lines_are_read(base):
    raw = b"\xef\xbb\xbf" + base.replace("\n", "\r\n").encode()

    assert parse_recipe(raw, source="x") == parse_recipe(base, source="x")


def test_messages_name_the_file_by_the_name_given(base, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(base.replace("rank: 8", "rank: 0"))

    with pytest.raises(RecipeError, match=r"\(quickstart:5\)"):
        read_recipe(path, name="quickstart")


def test_a_file_with_thousands_of_mistakes_is_told_the_first_hundred_and_that_there_are_more(
    problems,
):
    found = problems("".join(f"k{number}: 1\n" for number in range(3000)))

    assert found[4].startswith("`k0` is not a setting of a recipe (recipes/x.yaml:1)")
    assert found[-1] == "more problems than are listed here were found (recipes/x.yaml)."
    assert len(found) == 101
