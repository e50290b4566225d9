"""Whether a task is in an evaluation set: an equal text, or a long run of tokens of one; it judges no meaning."""

import json
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from selfinstruct.types import Task
from xtune.errors import XtuneError
from xtune.text import tokenize

_SHORTEST_EQUAL = 12
"""Characters an equal text needs to count: "Paris" is in every set."""


class EvaluationSets:
    """The texts of named files, as hashes: of whole texts, and of every run of `tokens` tokens."""

    def __init__(self, paths: Sequence[Path], *, language: str, tokens: int) -> None:
        """Read every file.

        Raises:
            XtuneError: A file cannot be read or holds no text.
        """
        self._language = language
        self._tokens = tokens
        self._whole: dict[int, str] = {}
        self._runs: dict[int, str] = {}
        for path in paths:
            texts = list(_texts(Path(path)))
            if not texts:
                raise XtuneError(
                    f"The evaluation set {path} holds no text; name a JSON, JSON lines or text file."
                )
            for text in texts:
                self._whole.setdefault(hash(_normal(text)), Path(path).name)
                for run in self._runs_of(text):
                    self._runs.setdefault(run, Path(path).name)

    def find(self, task: Task) -> str | None:
        """The set that holds a part of the task, or a run of its tokens, and how; None where none does."""
        for part in ("instruction", "input", "output"):
            text = getattr(task, part)
            normal = _normal(text)
            if len(normal) >= _SHORTEST_EQUAL and hash(normal) in self._whole and part != "output":
                return f"{part} equals an item of {self._whole[hash(normal)]}"
            for run in self._runs_of(text):
                if run in self._runs:
                    return f"{part} shares {self._tokens} tokens with {self._runs[run]}"
        return None

    def _runs_of(self, text: str) -> Iterator[int]:
        words = [
            token
            for token in tokenize(_spaced(text), self._language)
            if any(map(str.isalnum, token))
        ]
        return (
            hash(tuple(words[start : start + self._tokens]))
            for start in range(len(words) - self._tokens + 1)
        )


def _texts(path: Path) -> Iterator[str]:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise XtuneError(f"The evaluation set {path} cannot be read: {reason}.") from None
    if path.suffix.lower() in {".json", ".jsonl", ".ndjson"}:
        try:
            rows = (
                [json.loads(content)]
                if path.suffix.lower() == ".json"
                else [json.loads(line) for line in content.splitlines() if line.strip()]
            )
        except ValueError as error:
            raise XtuneError(
                f"The evaluation set {path} is no {path.suffix[1:].upper()}: {error}."
            ) from None
        yield from (text for row in rows for text in _strings(row))
    else:
        yield from (line for line in content.splitlines() if line.strip())


def _strings(value: object) -> Iterator[str]:
    """Every text inside a JSON value; keys are none."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _spaced(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _normal(text: str) -> str:
    """A text as it is compared: compatibility forms, no case, letters and digits alone."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))
