"""Data sets of a hub: a real client against a hub on loopback, with and without a network."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hub_server import Hub, running

READ = """
import json, sys
from file_rows import read_rows
from xtune.data.sources import find_files
from xtune.errors import XtuneError
from xtune.recipe import Data, Source
answers = []
for choices in json.loads(sys.argv[1]):
    try:
        files = find_files([Source(**choices)])
        rows = read_rows(files)
        answers.append({"names": [file.name for file in files], "rows": [
            getattr(row, "text", None) or [[m.role, m.content] for m in row.messages] for row in rows]})
    except XtuneError as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""


def table(*rows: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist(list(rows)), stream)
    return stream.getvalue()


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


CARD = b"""---
license: mit
configs:
- config_name: short
  data_files:
  - split: train
    path: short/part-*.parquet
  - split: held_out
    path: short/rest.parquet
- config_name: long
  default: true
  data_files: long/*.jsonl
---
# Rows
"""
REPOSITORIES = {
    "ann/plain": {
        ".gitattributes": b"",
        "README.md": b"# Nothing of use",
        "data/train-00000-of-00002.parquet": table({"text": "one"}, {"text": "two"}),
        "data/train-00001-of-00002.parquet": table({"text": "three"}),
        "data/test-00000-of-00001.parquet": table({"text": "held out"}),
    },
    "ann/card": {
        "README.md": CARD,
        "short/part-0.parquet": table({"prompt": "Q", "completion": "A"}),
        "short/rest.parquet": table({"prompt": "Q2", "completion": "A2"}),
        "long/x.jsonl": lines({"question": "Q3", "answer": "A3"}),
        "long/notes.txt": b"no row",
    },
    "databricks/databricks-dolly-15k": {
        "databricks-dolly-15k.jsonl": lines(
            {"instruction": "Q", "context": "C", "response": "A", "category": "qa"}
        )
    },
    "OpenAssistant/oasst1": {
        "2023-04-12_oasst_all.trees.jsonl.gz": b"not read",
        "data/train-00000-of-00001-abc.parquet": table(
            {
                "message_id": "1",
                "parent_id": None,
                "text": "Q",
                "role": "prompter",
                "rank": None,
                "message_tree_id": "1",
            },
            {
                "message_id": "2",
                "parent_id": "1",
                "text": "worse",
                "role": "assistant",
                "rank": 1.0,
                "message_tree_id": "1",
            },
            {
                "message_id": "3",
                "parent_id": "1",
                "text": "A",
                "role": "assistant",
                "rank": 0.0,
                "message_tree_id": "1",
            },
        ),
    },
    "DAMO-NLP-MT/multialpaca": {
        f"{code}.jsonl": lines({"instruction": f"Q {code}", "input": None, "output": "A"})
        for code in ("es", "ko")
    },
    "ann/script": {"script.py": b"raise SystemExit", "archive.zip": b"PK"},
}
QUESTIONS: list[tuple[dict[str, Any], Any]] = [
    ({"source": "hf:ann/plain"}, ["one", "two", "three"]),
    ({"source": "hf:ann/plain", "split": "test", "revision": "main"}, ["held out"]),
    ({"source": "hf:ann/card", "subset": "short"}, [[["user", "Q"], ["assistant", "A"]]]),
    ({"source": "hf:ann/card", "subset": "short", "split": "held_out"}, [[["user", "Q2"], ["assistant", "A2"]]]),
    ({"source": "set:dolly-15k"}, [[["user", "Q\nC"], ["assistant", "A"]]]),
    ({"source": "hf:databricks/databricks-dolly-15k"}, [[["user", "Q\nC"], ["assistant", "A"]]]),
    ({"source": "set:oasst1"}, [[["user", "Q"], ["assistant", "A"]]]),
    ({"source": "set:multialpaca", "subset": "ko"}, [[["user", "Q ko"], ["assistant", "A"]]]),
    ({"source": "set:multialpaca"}, [[["user", "Q es"], ["assistant", "A"]], [["user", "Q ko"], ["assistant", "A"]]]),
    (
        {"source": "hf:ann/card", "columns": {"prompt": "question", "completion": "answer"}},
        [[["user", "Q3"], ["assistant", "A3"]]],
    ),
]  # fmt: skip
FAULTS = [
    ({"source": "hf:ann/nobody"}, "no data set `ann/nobody` on Hugging Face"),
    ({"source": "hf:ann/plain", "split": "dev"}, "no split `dev` (data source); it has `train`, `test`"),
    ({"source": "hf:ann/plain", "revision": "v9"}, "no revision `v9`"),
    ({"source": "hf:ann/card", "subset": "huge"}, "no subset `huge` (data source); it has `short`, `long`"),
    ({"source": "hf:ann/script"}, "no data files that can be read (data source). The hub's own Parquet copy may do"),
    ({"source": "hf:gated/set"}, "is a gated data set (data source). Accept its terms"),
    ({"source": "hf:"}, "`hf:` names no data set"),
    ({"source": "hf:a/b/c"}, "names no data set (data source); an id looks like `hf:owner/name`"),
    ({"source": "set:dolly15k"}, "`set:dolly15k` is no known data set (data source). Did you mean `set:dolly-15k`?"),
]  # fmt: skip


def ask(questions: list[dict[str, Any]], cache: Path, **variables: str) -> list[dict[str, Any]]:
    """What a fresh process reads: huggingface_hub looks at its environment when it is imported."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("HF_")},
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(questions)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running(Hub(REPOSITORIES)) as served:
        yield served


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub-cache")


@pytest.fixture(scope="module")
def answers(hub: Hub, cache: Path) -> list[dict[str, Any]]:
    return ask([choices for choices, _ in [*QUESTIONS, *FAULTS]], cache, HF_ENDPOINT=hub.url)


@pytest.mark.parametrize("index", range(len(QUESTIONS)))
def test_a_split_of_a_hubs_data_set_is_read(index: int, answers: list[dict[str, Any]]) -> None:
    assert answers[index].get("rows") == QUESTIONS[index][1], answers[index]


@pytest.mark.parametrize("index", range(len(FAULTS)))
def test_what_cannot_be_had_from_a_hub_is_told(index: int, answers: list[dict[str, Any]]) -> None:
    assert FAULTS[index][1] in answers[len(QUESTIONS) + index].get("error", "")


def test_only_the_files_that_are_read_are_fetched(hub: Hub, answers: list[dict[str, Any]]) -> None:
    assert answers
    fetched = {path.rpartition("/")[2] for path in hub.requests if "/resolve/" in path}
    assert "part-0.parquet" in fetched
    assert not fetched & {"notes.txt", "script.py", "archive.zip", ".gitattributes"}


@pytest.mark.parametrize("variables", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])  # fmt: skip
def test_without_a_network_what_was_fetched_before_is_read(
    variables: dict[str, str], answers: list[dict[str, Any]], cache: Path
) -> None:
    assert answers
    again = ask(
        [
            QUESTIONS[0][0],
            {"source": "set:no-robots"},
            {"source": "hf:ann/plain", "split": "test"},
        ],
        cache,
        **variables,
    )
    assert again[0].get("rows") == ["one", "two", "three"], again
    assert "could not be fetched" in again[1]["error"]
    assert "On ModelScope it is `modelscope:swift/no_robots`." in again[1]["error"]
    assert again[2].get("rows") == ["held out"]


def test_a_split_that_was_fetched_in_part_is_refused_without_a_network(
    answers: list[dict[str, Any]], cache: Path
) -> None:
    assert answers
    for path in cache.rglob("train-00001-of-00002.parquet"):
        path.unlink()
    (again,) = ask([QUESTIONS[0][0]], cache, HF_HUB_OFFLINE="1")
    assert "could not be fetched" in again["error"]
