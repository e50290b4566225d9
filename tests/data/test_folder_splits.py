"""A folder whose card or file names tell splits is read as a hub's set is: the `datasets` library finds the same rows."""

import json
from pathlib import Path

import pytest
import yaml

from xtune.data.folder_splits import evaluation_sources
from xtune.data.sources import find_files
from xtune.errors import DataError
from xtune.recipe import Data, Source

CARD = {
    "configs": [
        {
            "config_name": "default",
            "data_files": [
                {"split": "train", "path": ["es.jsonl", "th.jsonl"]},
                {"split": "test", "path": ["es.held.jsonl"]},
            ],
        },
        {"config_name": "th", "data_files": [{"split": "train", "path": "th.jsonl"}]},
    ]
}


def fill(folder: Path, names: list[str], card: object = None) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"text": name}) + "\n", encoding="utf-8")
    if card is not None:
        (folder / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n", encoding="utf-8")


def read(folder: Path, **fields: str) -> list[str]:
    source = Source.model_validate({"source": str(folder), **fields})
    return [Path(file.name).relative_to(folder).as_posix() for file in find_files([source])]


def of_datasets(folder: Path, split: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from datasets import load_dataset

    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    rows = load_dataset(str(folder), split=split, cache_dir=str(folder.parent / "cache"))
    return sorted(row["text"] for row in rows)


@pytest.mark.parametrize(
    ("names", "card"),
    [
        (["es.jsonl", "th.jsonl", "es.held.jsonl"], CARD),
        (["train.jsonl", "test.jsonl"], None),
        (["en/train.jsonl", "fr/train.jsonl", "fr/validation.jsonl"], None),
        (["train/0.jsonl", "train/1.jsonl", "test/0.jsonl"], None),
    ],
    ids=["card", "names", "deep", "folders"],
)
def test_the_training_split_of_a_folder_is_that_of_datasets(
    names: list[str], card: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    fill(folder, names, card)
    assert read(folder) == of_datasets(folder, "train", monkeypatch)

    sources = evaluation_sources(Data.model_validate({"train": str(folder)}))
    assert isinstance(sources, tuple)
    (source,) = sources
    found = [Path(file.name).relative_to(folder).as_posix() for file in find_files(sources)]
    assert found == of_datasets(folder, source.split, monkeypatch)


@pytest.mark.parametrize(
    ("names", "card"),
    [
        (["a.jsonl", "b.jsonl"], None),
        (["questions.jsonl", "test.jsonl"], None),
        (["train.jsonl", "more.jsonl"], None),
        (["a.jsonl", "test.jsonl"], {"license": "mit"}),
        (["train.jsonl"], {"configs": [{"config_name": "default", "data_files": "elsewhere/*"}]}),
    ],
)
def test_a_folder_that_tells_no_splits_is_read_whole(
    names: list[str], card: object, tmp_path: Path
) -> None:
    fill(tmp_path, names, card)
    assert read(tmp_path) == sorted(names)
    assert evaluation_sources(Data.model_validate({"train": str(tmp_path)})) is None


def test_a_file_of_no_split_is_trained_on_and_other_splits_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, ["more.jsonl", "test.jsonl", "train.jsonl", "valid.jsonl"])
    left_out: dict[str, dict[str, int]] = {}
    files = find_files([str(tmp_path)], None, left_out)
    assert [file.path.name for file in files] == ["more.jsonl", "train.jsonl"]
    assert left_out == {str(tmp_path): {"of split validation": 1, "of split test": 1}}


def test_another_split_or_subset_is_read_where_it_is_named(tmp_path: Path) -> None:
    fill(tmp_path, ["es.jsonl", "th.jsonl", "es.held.jsonl"], CARD)
    assert read(tmp_path, split="test") == ["es.held.jsonl"]
    assert read(tmp_path, subset="th") == ["th.jsonl"]
    with pytest.raises(DataError, match=r"no split `dev`.*it has `train`, `test`"):
        read(tmp_path, split="dev")
    with pytest.raises(DataError, match=r"no subset `fr`.*it has `default`, `th`"):
        read(tmp_path, subset="fr")


@pytest.mark.parametrize("evaluate", ["rows.jsonl", 0.1, 0])
def test_what_the_recipe_evaluates_on_goes_before_the_folders_split(
    evaluate: object, tmp_path: Path
) -> None:
    fill(tmp_path, ["train.jsonl", "test.jsonl"])
    data = Data.model_validate({"train": str(tmp_path), "evaluate": evaluate})
    assert evaluation_sources(data) == data.evaluate
