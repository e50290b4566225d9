"""Which files of a repository are a split: the `datasets` library decides the same files for the same names and cards."""

from pathlib import Path

import pytest
import yaml

from xtune.data.splits import choose
from xtune.errors import DataError

LAYOUTS = [
    ["train.jsonl", "test.jsonl"],
    ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet"],
    ["data/train_sft-00000-of-00001-abc.parquet", "data/test_sft-00000-of-00001-abc.parquet"],
    ["ar.jsonl", "de.jsonl", "README.md"],
    ["my_train_file.csv", "my_validation_file.csv", "evaluation.csv"],
    ["training-data.json", "dev.json", "contrast.json"],
    ["train/0.parquet", "train/1.parquet", "valid/0.parquet"],
    ["en/train.jsonl", "en/test.jsonl", "fr/train.jsonl"],
    ["default/train/0000.parquet", "default/test/0000.parquet"],
    ["rows.jsonl", ".hidden.jsonl", "dataset_info.json", "__cache__/x.jsonl"],
    ["pretrain.jsonl", "trainer.jsonl"],
    ["deep/er/train.jsonl.gz", "deep/er/eval.jsonl.gz"],
    ["data/rest.jsonl", "data/more.jsonl"],
    ["TRAIN.jsonl", "Test.jsonl"],
]  # fmt: skip
CARDS: list[tuple[list[str], object]] = [
    (["a.jsonl", "b.jsonl", "c.txt"], "a.jsonl"),
    (["a.jsonl", "b.jsonl", "c.txt"], ["a.jsonl", "b.jsonl"]),
    (["x/a.parquet", "x/b.parquet", "y/c.parquet"], "x/*.parquet"),
    (["x/a.parquet", "x/z/b.parquet", "y/c.parquet"], "x/**"),
    (["x/a.parquet", "x/z/b.parquet", "y/c.parquet"], "**/*.parquet"),
    (["x/a-1.jsonl", "x/a-12.jsonl", "x/b.jsonl"], [{"split": "train", "path": "x/a-?.jsonl"}, {"split": "held", "path": ["x/a-??.jsonl", "x/b.jsonl"]}]),
    (["x/a-1.jsonl", "x/a-2.jsonl", "x/a-3.jsonl"], "x/a-[12].jsonl"),
]  # fmt: skip


def make(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


def relative(folder: Path, files: "dict[str, list[str]]") -> dict[str, set[str]]:
    return {
        str(split): {Path(file).relative_to(folder).as_posix() for file in paths}
        for split, paths in files.items()
    }


def ours(names: list[str], splits: "dict[str, set[str]]", card: str = "") -> dict[str, set[str]]:
    return {
        split: {name for name, _ in choose(names, card, place="hf:a/b", split=split).files}
        for split in splits
    }


@pytest.mark.parametrize("names", LAYOUTS, ids=lambda names: names[0])
def test_splits_by_name_are_those_of_datasets(names: list[str], tmp_path: Path) -> None:
    from datasets.data_files import DataFilesDict, get_data_patterns

    make(tmp_path, names)
    patterns = get_data_patterns(str(tmp_path))
    expected = relative(tmp_path, DataFilesDict.from_patterns(patterns, base_path=str(tmp_path)))
    assert ours(names, expected) == expected
    with pytest.raises(DataError, match="no split `nothing`"):
        choose(names, "", place="hf:a/b", split="nothing")


@pytest.mark.parametrize(("names", "data_files"), CARDS, ids=str)
def test_splits_by_card_are_those_of_datasets(
    names: list[str], data_files: object, tmp_path: Path
) -> None:
    from datasets.data_files import DataFilesDict, sanitize_patterns

    make(tmp_path, names)
    patterns = sanitize_patterns(data_files)
    expected = relative(tmp_path, DataFilesDict.from_patterns(patterns, base_path=str(tmp_path)))
    front = yaml.safe_dump({"configs": [{"config_name": "default", "data_files": data_files}]})
    assert ours(names, expected, f"---\n{front}---\n# Title\n") == expected


def card(*configs: dict[str, object]) -> str:
    return f"---\n{yaml.safe_dump({'license': 'mit', 'configs': list(configs)})}---\n"


def test_a_subset_is_a_config_else_a_folder_else_a_file() -> None:
    names = ["de/x.jsonl", "fr/y.jsonl"]
    described = card({"config_name": "german", "data_dir": "de"})
    assert choose(names, described, place="p", split="train", subset="german").files == [("de/x.jsonl", "jsonl")]  # fmt: skip
    assert choose(names, "", place="p", split="train", subset="fr").files == [("fr/y.jsonl", "jsonl")]  # fmt: skip
    flat = ["data/de.json.gz", "data/fr.json.gz", "README.md"]
    assert choose(flat, "", place="p", split="train", subset="fr").files == [("data/fr.json.gz", "json")]  # fmt: skip
    with pytest.raises(DataError, match=r"no subset `it`.*it has `de`, `fr`"):
        choose(flat, "", place="p", split="train", subset="it")


def test_several_subsets_and_none_by_default_are_listed() -> None:
    both = card(
        {"config_name": "a", "data_files": "a.jsonl"}, {"config_name": "b", "data_files": "b.jsonl"}
    )
    with pytest.raises(
        DataError, match=r"2 subsets and none by default.*`a`, `b`.*Say which with `subset`"
    ):
        choose(["a.jsonl", "b.jsonl"], both, place="p", split="train")


def test_of_several_kinds_the_commonest_is_read_and_the_others_are_counted() -> None:
    chosen = choose(["a.parquet", "b.parquet", "a.csv", "notes.pdf"], "", place="p", split="train")
    assert chosen.files == [("a.parquet", "parquet"), ("b.parquet", "parquet")]
    assert chosen.left_out == {"csv files beside parquet": 1}


def test_patterns_of_a_known_set_go_before_its_card() -> None:
    chosen = choose(
        ["full.jsonl", "part/a.jsonl"], "", place="p", split="train", paths=["full.jsonl"]
    )
    assert chosen.files == [("full.jsonl", "jsonl")]


@pytest.mark.parametrize(
    "text", ["", "# no front", "---\n: : :\n---\n", "---\n[1]\n---\n", "---\nconfigs: 7\n---\n", "---\nopen"]
)  # fmt: skip
def test_a_card_that_says_nothing_is_passed_over(text: str) -> None:
    assert choose(["a.jsonl"], text, place="p", split="train").files == [("a.jsonl", "jsonl")]
