"""Data sets and models of ModelScope: the real client against a hub on loopback, with and without a network."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from modelscope_server import ModelScope, running

pytestmark = pytest.mark.skipif(
    find_spec("modelscope") is None, reason='needs pip install "xtune[modelscope]"'
)
ASK = """
import json, sys
from file_rows import read_rows
from xtune.data.sources import find_files
from xtune.errors import XtuneError
from xtune.models.hub import download_file, download_snapshot
from xtune.recipe import Model, Source
answers = []
for what, choices in json.loads(sys.argv[1]):
    try:
        if what == "data":
            files = find_files([Source(**choices)])
            found = {"names": [file.name for file in files], "rows": [row.text for row in read_rows(files)]}
        else:
            model = Model(hub="modelscope", **choices)
            folder = download_snapshot(model, ["*.json", "*.safetensors"])
            found = {name.name: name.read_text() for name in sorted(folder.rglob("*")) if name.is_file()}
            assert download_file(model, "config.json").read_text() == found["config.json"]
        answers.append(found)
    except XtuneError as error:
        answers.append({"error": str(error)})
print("ANSWERS" + json.dumps(answers))
"""
ROWS = {
    "README.md": b"---\nconfigs:\n- config_name: a\n  data_files:\n  - split: train\n    path: data/one*\n---\n",
    "data/one-0.jsonl": b'{"text": "one"}\n',
    "data/one-1.jsonl": b'{"text": "two"}\n',
    "data/test.jsonl": b'{"text": "held out"}\n',
}
MANY = {f"data/train-{number:03}.jsonl": f'{{"text": "t{number}"}}\n'.encode() for number in range(230)}  # fmt: skip
WEIGHTS = {"config.json": b'{"a": 1}', "model.safetensors": b"weights", "more/config.json": b"{}", "pytorch_model.bin": b"no"}  # fmt: skip


@pytest.fixture(scope="module")
def hub() -> Iterator[ModelScope]:
    made = ModelScope(models={"ann/model": WEIGHTS}, data_sets={"ann/rows": ROWS, "ann/many": MANY})
    with running(made) as started:
        yield started


def ask(questions: list[tuple[str, dict[str, Any]]], url: str, cache: Path) -> list[dict[str, Any]]:
    support = Path(__file__).parents[1] / "support"
    environment = {
        **os.environ,
        "MODELSCOPE_ENDPOINT": url,
        "MODELSCOPE_CACHE": str(cache),
        "PYTHONPATH": os.pathsep.join([str(support), *filter(None, sys.path)]),
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(questions)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "INFO" not in done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout.partition("ANSWERS")[2])
    return answers


def test_data_sets_are_read_and_what_is_not_there_is_told(hub: ModelScope, tmp_path: Path) -> None:
    hub.requests.clear()
    rows, tagged, many, split, absent, revision = ask(
        [
            ("data", {"source": "modelscope:ann/rows"}),
            ("data", {"source": "modelscope:ann/rows", "revision": "v1"}),
            ("data", {"source": "modelscope:ann/many"}),
            ("data", {"source": "modelscope:ann/rows", "split": "test"}),
            ("data", {"source": "modelscope:ann/nobody"}),
            ("data", {"source": "modelscope:ann/rows", "revision": "v9"}),
        ],
        hub.url,
        tmp_path,
    )
    assert rows == {
        "names": [f"modelscope:ann/rows/data/one-{n}.jsonl" for n in (0, 1)],
        "rows": ["one", "two"],
    }
    assert tagged == rows
    assert many["rows"] == [f"t{n}" for n in range(230)]  # more than one page of the list
    assert "no split `test`" in split["error"]
    assert "There is no data set `ann/nobody` on ModelScope" in absent["error"]
    assert "There is no data set `ann/rows` with the revision `v9` on ModelScope" in revision["error"]  # fmt: skip
    assert not any("test.jsonl" in request for request in hub.requests)


def test_models_are_fetched_and_what_is_not_there_is_told(hub: ModelScope, tmp_path: Path) -> None:
    model, tagged, absent, revision = ask(
        [
            ("model", {"name": "ann/model"}),
            ("model", {"name": "ann/model", "revision": "v1"}),
            ("model", {"name": "ann/nobody"}),
            ("model", {"name": "ann/model", "revision": "v9"}),
        ],
        hub.url,
        tmp_path,
    )
    assert model == {"config.json": '{"a": 1}', "model.safetensors": "weights"}
    assert tagged == model
    assert "There is no model ann/nobody on ModelScope" in absent["error"]
    assert "no model ann/model with the revision v9" in revision["error"]


def test_without_a_network_what_was_fetched_before_is_read(tmp_path: Path) -> None:
    known: list[tuple[str, dict[str, Any]]] = [
        ("data", {"source": "modelscope:ann/rows"}),
        ("model", {"name": "ann/model"}),
    ]
    with running(ModelScope(models={"ann/model": WEIGHTS}, data_sets={"ann/rows": ROWS})) as hub:
        before = ask(known, hub.url, tmp_path)
        url = hub.url
    new: list[tuple[str, dict[str, Any]]] = [
        ("data", {"source": "modelscope:ann/new"}),
        ("model", {"name": "ann/new"}),
    ]
    *after, data, model = ask([*known, *new], url, tmp_path)
    assert after == before
    assert "`modelscope:ann/new` could not be fetched" in data["error"]
    assert "ModelScope cannot be reached" in model["error"]
