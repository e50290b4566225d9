"""What is written of a recipe reads back as the same recipe, here and for any other reader of YAML 1.2."""

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xtune.recipe import Data, Full, LoRA, Memory, Model, QLoRA, Recipe, Run, Train
from xtune.recipe.read import dump_recipe, parse_recipe

texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
) | st.sampled_from(
    [
        "no",
        "null",
        "~",
        "1e-4",
        "0x1F",
        "1:30",
        "- a",
        "a: b",
        "a #b",
        "*a",
        " a ",
        "a\nb",
        "\u2028",
        "true",
        "=",
        "<<",
    ]
)
lists = st.lists(texts, max_size=3).map(tuple)
some = st.lists(texts, min_size=1, max_size=3).map(tuple)
positive = st.floats(min_value=1e-300, max_value=1e300)
counts = st.integers(min_value=1, max_value=2**63 - 1)
fractions = st.floats(min_value=0, max_value=1)
shares = st.floats(min_value=0, max_value=1, exclude_max=True)


def maybe(strategy):
    return st.none() | strategy


low_rank = {
    "rank": counts,
    "alpha": maybe(positive),
    "dropout": shares,
    "targets": some,
    "init": st.sampled_from(["default", "pissa", "pissa_niter_16", "olora", "gaussian"]),
    "rslora": st.booleans(),
    "dora": st.booleans(),
    "lora_plus_ratio": maybe(st.floats(min_value=1, max_value=1e9)),
    "new_tokens": lists,
    "modules_to_save": lists,
}
recipes = st.builds(
    Recipe,
    stage=st.sampled_from(["sft", "pretrain"]),
    model=st.builds(Model, name=texts, revision=maybe(texts), trust_remote_code=st.booleans()),
    method=st.one_of(
        st.builds(Full),
        st.builds(LoRA, **low_rank),
        st.builds(
            QLoRA,
            **{**low_rank, "init": st.sampled_from(["default", "gaussian"])},
            quantization=st.sampled_from(["nf4", "fp4"]),
            double_quantization=maybe(st.booleans()),
        ),
    ),
    data=st.builds(
        Data,
        train=some,
        evaluate=maybe(some | fractions),
        columns=st.dictionaries(texts, texts, max_size=3),
        template=maybe(texts),
        max_tokens=st.integers(min_value=8, max_value=2**40),
        packing=st.booleans() | st.just("auto"),
        max_rows=maybe(counts),
    ),
    train=st.builds(
        Train,
        learning_rate=positive,
        schedule=st.sampled_from(["cosine", "linear", "constant", "wsd"]),
        warmup_steps=maybe(st.integers(min_value=0, max_value=10**6)),
        warmup_fraction=fractions,
        epochs=maybe(positive),
        max_minutes=maybe(positive),
        micro_batch_size=counts | st.just("auto"),
        beta1=shares,
        max_grad_norm=maybe(positive),
    ),
    memory=st.builds(Memory, gradient_checkpointing=st.booleans() | st.just("auto")),
    run=st.builds(
        Run, folder=maybe(texts), trackers=st.sampled_from([(), ("wandb",), ("mlflow", "swanlab")])
    ),
)


@given(recipes)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_recipe_written_and_read_is_the_same_recipe(recipe):
    assert parse_recipe(dump_recipe(recipe), source="x") == recipe


def test_what_was_asked_for_stands_out_from_defaults():
    recipe = Recipe(
        model=Model(name="bundled:demo"),
        method=LoRA(rank=8),
        data=Data(train=("a.jsonl",)),
        train=Train(learning_rate=1e-4),
    )
    asked = [
        line.strip()
        for line in dump_recipe(recipe).splitlines()
        if line.startswith("  ") and "# default" not in line
    ]

    assert asked == [
        'name: "bundled:demo"',
        "type: lora",
        "rank: 8",
        "train: a.jsonl",
        "learning_rate: 0.0001",
    ]


def test_another_yaml_reader_sees_the_same_values():
    recipe = Recipe(
        model=Model(name="no"),
        method=Full(),
        data=Data(train=("a", "b")),
        train=Train(learning_rate=0.5),
    )
    seen = yaml.safe_load(dump_recipe(recipe))

    assert seen["model"]["name"] == "no"
    assert seen["data"]["train"] == ["a", "b"]
    assert seen["train"]["max_minutes"] is None
