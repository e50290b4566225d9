"""What a person reads when a source in `data.train` or `data.evaluate` is wrong, word for word."""

import pytest

KEYS = "`source`, `weight`, `max_rows`, `format`, `columns`, `split`, `subset` and `revision`"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            "train: [a.jsonl, {sorce: x}]",
            [
                "`data.train[1].source` is missing (recipes/x.yaml:7); it must be text.",
                "`data.train[1].sorce` is not a setting of `data.train[1]` (recipes/x.yaml:7). Did you mean `data.train[1].source`?",
            ],
        ),
        (
            "train: {source: x, formatt: alpaca}",
            ["`data.train.formatt` is not a setting of `data.train` (recipes/x.yaml:7). Did you mean `data.train.format`?"],
        ),
        (
            "train: [{source: x, zzz: 1}]",
            [f"`data.train[0].zzz` is not a setting of `data.train[0]` (recipes/x.yaml:7); it has {KEYS}."],
        ),
        (
            "train: [{source: x, rank: 5}]",
            ["`data.train[0].rank` is not a setting of `data.train[0]` (recipes/x.yaml:7). `rank` belongs under `method`."],
        ),
        ("train: [a, 7]", ["`data.train[1]` is 7 (recipes/x.yaml:7); it must be text or a section with `source`."]),
        (
            "train: [{source: x, max_rows: 0, weight: [1, 2, 3]}]",
            [
                "`data.train[0].weight` is a list of 3 (recipes/x.yaml:7); it must be a number of at least 0, a list of two such or null.",
                "`data.train[0].max_rows` is 0 (recipes/x.yaml:7); it must be at least 1.",
            ],
        ),
        ("train: {source: x, columns: {prompt: 5}}", ["`data.train.columns.prompt` is 5 (recipes/x.yaml:7); it must be text."]),
        (
            "train: a, evaluate: [{source: x, spilt: test}]",
            ["`data.evaluate[0].spilt` is not a setting of `data.evaluate[0]` (recipes/x.yaml:7). Did you mean `data.evaluate[0].split`?"],
        ),
        (
            "train: a, evaluate: {source: x, spilt: test}",
            ["`data.evaluate.spilt` is not a setting of `data.evaluate` (recipes/x.yaml:7). Did you mean `data.evaluate.split`?"],
        ),
        (
            "train: [{source: x, format: alpacca}]",
            [
                "`data.train[0].format` is \"alpacca\" (recipes/x.yaml:7); it must be `auto`, `messages`, `sharegpt`, `alpaca`, "
                "`prompt_completion`, `query_response`, `oasst`, `text` or null. Did you mean `alpaca`?"
            ],
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_source_names_the_key_and_the_place(base, problems, written, told) -> None:
    text = base.replace("data:\n  train: rows.jsonl\n", f"data:\n  {{{written}}}\n")
    assert sorted(problems(text)) == sorted(told)
