"""What is asked of the LLM for one seed, and the fields it answered; whether they are right is for `checks`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from selfinstruct.translate.languages import Language
from selfinstruct.types import Request, Seed

FIELDS = ("instruction", "input", "output")
_USUAL = "Nothing in the task depends on English."
_TOKENS_PER_CHARACTER = 3
"""Room for the answer. Thai and Burmese take up to three tokens for a character of English (byte-level BPE)."""

_LEAST_TOKENS = 512

_SYSTEM = """\
You translate tasks for a language model from English into {english} ({native}). A task has an instruction, \
an input that may be empty, and an output that answers it. Translate the task as a whole, so that the output is still a \
right and natural answer to the instruction in {english}: where the task is about language, make it about {english}.
- {register}
- Numbers stay as digits where they are digits. Web addresses, code, placeholders such as {{name}} and the labels of \
options such as A) or 1. stay as they are. Keys of JSON and the layout of tables and lists stay, too.
- Nothing stays in English but names, code, and what the task itself wants in English.
- Answer with one JSON object with the keys "instruction", "input" and "output", and nothing else."""


def request_for(
    seed: Seed, language: Language, *, attempt: int, refused: Sequence[Mapping[str, str]] = ()
) -> Request:
    """The question for a seed; `refused` are earlier answers and what was wrong with them."""
    task = {field: getattr(seed.task, field) for field in FIELDS}
    told = json.dumps(task, ensure_ascii=False, indent=1)
    if seed.keep:
        names = " and ".join(f'"{name}"' for name in seed.keep)
        told += f"\n\nCopy {names} letter by letter, without translating."
    if seed.why and seed.why != _USUAL:
        told += f"\n\nFor the translator: {seed.why}"
    system = _SYSTEM.format(
        english=language.english, native=language.native, register=language.register
    )
    return Request(
        id=f"translate/{language.code}/{seed.id}/{attempt}",
        messages=(
            {"role": "system", "content": system},
            {"role": "user", "content": told},
            *refused,
        ),
        max_tokens=_LEAST_TOKENS + _TOKENS_PER_CHARACTER * sum(map(len, task.values())),
        temperature=0.3,
        schema={
            "type": "object",
            "properties": {field: {"type": "string"} for field in FIELDS},
            "required": list(FIELDS),
            "additionalProperties": False,
        },
    )


def refusal(answer: str, reasons: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The turns that tell the LLM what was wrong with its answer."""
    told = "\n".join(f"- {reason}" for reason in reasons)
    return (
        {"role": "assistant", "content": answer},
        {
            "role": "user",
            "content": f"This was not accepted:\n{told}\nAnswer again with the whole JSON object.",
        },
    )


def fields_of(answer: str) -> dict[str, str] | str:
    """The three texts of an answer, or why there are none."""
    answer = answer.rpartition("</think>")[2]  # thoughts may hold braces
    start, end = answer.find("{"), answer.rfind("}")
    if start < 0 or end < start:
        return "the answer holds no JSON object"
    try:
        value: Any = json.loads(answer[start : end + 1], strict=False)
    except (ValueError, RecursionError) as error:
        return f"the answer is no valid JSON: {error}"
    fields = {}
    for field in FIELDS:
        text = value.get(field)
        if not isinstance(text, str):
            return f'"{field}" is missing or no text'
        fields[field] = text.encode("utf-8", "replace").decode("utf-8").strip()
    return fields
