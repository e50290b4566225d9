"""Answers kept to JSON schemas, judged by `json` and `jsonschema`; those beside them stay as they are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from threads import on_one_thread
from transformers import AutoModelForCausalLM, AutoTokenizer

from xtune.errors import XtuneError
from xtune.generate.batcher import Batcher
from xtune.generate.decoding import Decoding
from xtune.generate.guide import ANY_OBJECT, Guides
from xtune.generate.row import Row

pytest.importorskip("llguidance", reason="an optional package: pip install 'xtune[guided]'")

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "pieces": {"type": "integer", "minimum": 0, "maximum": 999},
        "kind": {"enum": ["a", "b"]},
    },
    "required": ["name", "pieces", "kind"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with on_one_thread():
        yield


@pytest.fixture(scope="module")
def opened(tiny_model: Path) -> tuple[Any, Any, Guides]:
    model, tokenizer = (
        kind.from_pretrained(tiny_model) for kind in (AutoModelForCausalLM, AutoTokenizer)
    )
    size = model.get_input_embeddings().weight.shape[0]
    return model.eval(), tokenizer, Guides(tokenizer, vocabulary=size, stop=(2,))


def row(tokenizer: Any, text: str, *, guide: Any = None, temperature: float = 0.0) -> Row:
    return Row(
        prompt=tokenizer(text)["input_ids"],
        decoding=Decoding(temperature=temperature, seed=3, max_new_tokens=120),
        stop=frozenset({2}),
        answer=len(text),
        guide=guide,
    )


def answer(model: Any, rows: list[Row]) -> list[list[int]]:
    batcher = Batcher(model)
    batcher.admit(rows)
    while batcher.rows:
        batcher.step()
    return [one.tokens for one in rows]


def test_random_models_write_what_the_schema_says(opened: tuple[Any, Any, Guides]) -> None:
    model, tokenizer, guides = opened
    guide = guides.make(SCHEMA)
    rows = [
        row(tokenizer, "x" * count, guide=guide.fresh(), temperature=heat)
        for count in range(1, 6)
        for heat in (0.0, 1.0, 3.0)
    ]
    answer(model, rows)
    # the others fill their tokens with spaces and digits, and are cut
    written = [tokenizer.decode(one.tokens) for one in rows if one.finish == "stop"]
    for text in written:
        jsonschema.validate(json.loads(text), SCHEMA)
    assert len(set(written)) > 5


def test_free_answers_beside_guided_ones_are_those_without_them(
    opened: tuple[Any, Any, Guides],
) -> None:
    model, tokenizer, guides = opened
    free = [row(tokenizer, text, temperature=1.0) for text in ("red", "green boxes")]
    guided = [
        row(tokenizer, text, guide=guides.make(SCHEMA), temperature=1.0) for text in ("a", "bcd")
    ]
    together = answer(model, [free[0], guided[0], free[1], guided[1]])
    alone = [
        answer(model, [one.repeated(1)[0]])[0] for one in (free[0], guided[0], free[1], guided[1])
    ]
    assert together == alone


def test_any_object_is_an_object_where_it_ends(opened: tuple[Any, Any, Guides]) -> None:
    model, tokenizer, guides = opened
    rows = [
        row(tokenizer, "x" * count, guide=guides.make(ANY_OBJECT), temperature=1.0)
        for count in range(1, 9)
    ]
    answer(model, rows)
    ended = [tokenizer.decode(one.tokens) for one in rows if one.finish == "stop"]
    assert ended
    assert all(isinstance(json.loads(text), dict) for text in ended)


@pytest.mark.parametrize(
    "schema", [{"type": "unheard"}, {"$ref": "#/nowhere"}, {"type": "string", "pattern": "("}]
)
def test_a_schema_that_cannot_be_kept_to_is_refused_in_one_sentence(
    opened: tuple[Any, Any, Guides], schema: dict[str, Any]
) -> None:
    with pytest.raises(XtuneError, match=r"The JSON schema cannot be kept to: [^\n]+$"):
        opened[2].make(schema)
