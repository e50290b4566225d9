"""Rows to be answered as `read_asked` finds them: whose columns they go by. No model is asked."""

import json
from pathlib import Path
from typing import Any

import pytest

from xtune.data.types import Conversation
from xtune.errors import DataError
from xtune.generate.rows import Asked, read_asked
from xtune.recipe import Recipe

TRAINED_ON = Recipe.model_validate(
    {
        "model": {"name": "bundled:demo"},
        "method": {"type": "lora"},
        "train": {"learning_rate": 1e-3, "max_steps": 1},
        "data": {"train": "quiz.jsonl", "columns": {"prompt": "frage", "completion": "antwort"}},
    }
)
"""A recipe whose training rows have names of their own."""


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def question(asked: Asked) -> str:
    assert isinstance(asked.row, Conversation)
    return asked.row.messages[0].content


def test_rows_may_have_the_training_rows_columns_or_a_formats_own(tmp_path: Path) -> None:
    theirs = write(
        tmp_path / "theirs.jsonl", [{"frage": "Wer?"}, {"frage": "Wo?", "antwort": "Da"}]
    )
    assert [question(each) for each in read_asked(theirs, TRAINED_ON)] == ["Wer?", "Wo?"]
    usual = write(tmp_path / "usual.jsonl", [{"prompt": "Who?"}, {"prompt": "Where?"}])
    asked = read_asked(usual, TRAINED_ON)
    assert [question(each) for each in asked] == ["Who?", "Where?"]
    assert [each.fields for each in asked] == [{"prompt": "Who?"}, {"prompt": "Where?"}]


def test_a_row_that_lacks_the_column_of_the_others_is_told(tmp_path: Path) -> None:
    mixed = write(tmp_path / "mixed.jsonl", [{"frage": "Wer?"}, {"prompt": "Who?"}])
    with pytest.raises(DataError, match=r"mixed\.jsonl:2"):
        read_asked(mixed, TRAINED_ON)
