"""Folders: data sets of row files, and corpora of texts and source code as they are."""

import logging
from pathlib import Path

import pytest
from file_rows import read_rows

from xtune.data.sources import find_files
from xtune.data.types import Document
from xtune.errors import DataError
from xtune.recipe import Data, Source


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


CORPUS = {
    "README.md": b"# Title\n",
    "src/main.py": b"print('hi')\n",
    "src/lib.rs": b"fn f() {}\n",
    "src/__init__.py": b"",
    "src/blob.c": b"\x7fELF\0\0",
    "LICENSE": b"free",
    "docs/a.txt": "é\r\nzwei".encode(),
    ".git/config.txt": b"hidden",
    "logo.png": b"\x89PNG\0",
}


def names(folder: Path, source: Source | None = None) -> list[str]:
    return [
        Path(file.name).relative_to(folder).as_posix()
        for file in find_files([source or str(folder)])
    ]


def test_a_folder_without_rows_is_a_corpus_of_its_texts_and_code(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, CORPUS)
    with caplog.at_level(logging.WARNING, "xtune"):
        assert names(tmp_path) == ["README.md", "docs/a.txt", "src/lib.rs", "src/main.py"]
    (told,) = caplog.messages
    for part in ("1 hidden", "1 .png", "1 without an ending", "1 empty", "1 binary"):
        assert part in told
    rows = read_rows(find_files([str(tmp_path)]))
    assert [row.text for row in rows if isinstance(row, Document)] == [
        "# Title\n",
        "é\r\nzwei",
        "fn f() {}\n",
        "print('hi')\n",
    ]


def test_a_folder_with_rows_is_a_data_set_without_its_descriptions_and_scripts(
    tmp_path: Path,
) -> None:
    fill(tmp_path, {**CORPUS, "train.jsonl": b'{"text": "T"}\n'})
    assert names(tmp_path) == ["docs/a.txt", "train.jsonl"]


def test_format_text_makes_a_corpus_of_any_folder(tmp_path: Path) -> None:
    fill(tmp_path, {**CORPUS, "package.json": b'{"name": "x"}', "table.csv": b"a,b\n1,2\n"})
    source = Source(source=str(tmp_path), format="text")
    assert names(tmp_path, source) == ["README.md", "docs/a.txt", "src/lib.rs", "src/main.py"]


@pytest.mark.parametrize(
    ("json", "is_rows"),
    [
        (b'{\n "name": "x",\n "files": [1]\n}\n', False),
        (b'{"name": "x"}', False),
        (b' [\n{"text": "T"}]', True),
        (b'{"text": "T"}\n{"text": "U"}\n', True),
        (b'{"text": "' + b"T" * 9000 + b'"}\n{"text": "U"}\n', True),
    ],
)
def test_settings_in_json_make_no_data_set_of_a_program(
    json: bytes, is_rows: bool, tmp_path: Path
) -> None:
    fill(tmp_path, {"main.py": b"print()\n", "some.json": json})
    assert names(tmp_path) == (["some.json"] if is_rows else ["main.py"])


def test_a_folder_of_rows_alone_is_read_as_texts_where_that_is_pinned(tmp_path: Path) -> None:
    fill(tmp_path, {"a.jsonl": b'{"text": "T", "label": 1}\n'})
    (row,) = read_rows(find_files([Source(source=str(tmp_path), format="text")]))
    assert isinstance(row, Document)


def test_a_folder_with_nothing_to_read_says_what_is_in_it(tmp_path: Path) -> None:
    fill(tmp_path, {"a.png": b"x", "b.png": b"y", "c.py": b" \n"})
    with pytest.raises(DataError, match=r"without data files \(left out: 2 \.png, 1 empty\)"):
        find_files([str(tmp_path)])


def test_a_source_goes_before_data_and_data_before_nothing(tmp_path: Path) -> None:
    fill(tmp_path, {"a.jsonl": b'{"q": "Q", "a": "A"}\n', "b.jsonl": b'{"body": "B"}\n'})
    data = Data.model_validate(
        {
            "train": [
                str(tmp_path / "a.jsonl"),
                {"source": str(tmp_path / "b.jsonl"), "format": "text", "columns": {"text": "body"}},
            ],
            "format": "prompt_completion",
            "columns": {"prompt": "q", "completion": "a"},
        }
    )  # fmt: skip
    first, second = find_files(data.train, data)
    assert (first.source, first.format, dict(first.columns)) == (0, "prompt_completion", {"prompt": "q", "completion": "a"})  # fmt: skip
    assert (second.source, second.format, dict(second.columns)) == (1, "text", {"text": "body"})
    assert len(read_rows([first, second])) == 2


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"source": "bundled:orders/test.jsonl", "split": "test"}, "`split` of `bundled:orders/test.jsonl` is given.*only data sets of a hub"),
        ({"source": "a.jsonl", "subset": "x", "revision": "y"}, "`subset`, `revision` of `a.jsonl` are given"),
        ({"source": "a.jsonl", "columns": {"promt": "q"}}, "names `promt`, which no format has.*[Dd]id you mean `prompt`"),
    ],
)  # fmt: skip
def test_what_a_source_cannot_have_is_told(source: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        find_files([Source.model_validate(source)])


def test_an_empty_name_is_no_folder() -> None:
    with pytest.raises(DataError, match="empty text"):
        find_files([""])


def test_a_set_saved_to_disk_by_datasets_is_read(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list([{"text": "one"}, {"text": "two"}]).save_to_disk(str(tmp_path / "set"))
    rows = read_rows(find_files([str(tmp_path / "set")]))
    assert [row.text for row in rows if isinstance(row, Document)] == ["one", "two"]


def test_a_name_like_a_hubs_is_told_how_hubs_are_named() -> None:
    with pytest.raises(DataError, match="is named `hf:owner/name` or `modelscope:owner/name`"):
        find_files(["owner/name"])
