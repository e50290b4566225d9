"""Reads seed files into seeds; what is wrong is told with its line, all together."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfinstruct.seeds.rows import Tell, seed_of
from selfinstruct.types import Seed
from xtune.data.magic import LOOKED_AT, check_kind, check_packing, check_page
from xtune.errors import DataError, Problem, XtuneError

_FOLDER = Path(__file__).parent


def shipped_seeds(language: str) -> Path | None:
    """The file of seeds in a language that lies in this package, if there is one."""
    path = _FOLDER / f"{language}.jsonl"
    return path if language and Path(language).name == language and path.is_file() else None


def shipped_languages() -> tuple[str, ...]:
    """The languages whose seeds lie in this package, sorted by code."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.jsonl")))


def read_seeds(language_or_path: str | Path) -> tuple[Seed, ...]:
    """The seeds of a language that ships, or of a file.

    Raises:
        DataError: The file is not readable as seeds; all problems together.
        XtuneError: There is no such file, and no seeds in a language of that name.
    """
    path = seed_file(language_or_path)
    problems: list[Problem] = []
    seeds: list[Seed] = []
    for _, seed in numbered_seeds(
        path, lambda kind, it: problems.append(it) if kind == "problem" else None
    ):
        seeds.append(seed)
    if problems:
        raise DataError(problems)
    return tuple(seeds)


def seed_row(seed: Seed) -> dict[str, Any]:
    """A seed as a row of a file, the inverse of reading."""
    return {
        "id": seed.id,
        "category": seed.category,
        "instruction": seed.task.instruction,
        "input": seed.task.input,
        "output": seed.task.output,
        "translate": seed.translate,
        "keep": list(seed.keep),
        "why": seed.why,
    }


def numbered_seeds(path: Path, tell: Tell, *, unique: bool = True) -> Iterator[tuple[str, Seed]]:
    """Each readable seed of a file with its place ("en.jsonl:3"); the rest goes to `tell`.

    Args:
        path: The file.
        tell: Hears what is wrong.
        unique: Whether two seeds of one id are wrong.

    Raises:
        XtuneError: The file cannot be opened.
    """
    first: dict[str, str] = {}
    text = _text(path, tell)
    if text is None:
        return
    if not text.strip():
        tell("problem", Problem(what="the file holds no seeds", where=str(path)))
    for where, row in _rows(path, text, tell):
        seed = seed_of(row, where, tell)
        if seed is None:
            continue
        if unique and seed.id in first:
            what = f"`id` is {seed.id}, which {first[seed.id]} has too"
            tell("problem", Problem(what=what, where=where, allowed="each seed has its own"))
        first.setdefault(seed.id, where)
        yield where, seed


def seed_file(language_or_path: str | Path) -> Path:
    """The file of a language that ships, or the file of that name.

    Raises:
        XtuneError: There is neither.
    """
    name = str(language_or_path)
    shipped = shipped_seeds(name)
    if shipped is not None:
        return shipped
    path = Path(language_or_path)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    there = ", ".join(shipped_languages())
    raise XtuneError(
        f"There are no seeds in `{name}`, and no file of that name; those that ship: {there}.",
        advice=f"Make them with: selfinstruct translate multialpaca --to {name} llm.model=...",
    )


def _rows(path: Path, text: str, tell: Tell) -> Iterator[tuple[str, object]]:
    """The JSON values of a file, one a line or all in one list."""
    if text.lstrip()[:1] == "[":
        value = _parsed(text, path.name, tell)
        if isinstance(value, list):
            yield from ((f"{path.name}, row {number}", row) for number, row in enumerate(value, 1))
        if value == []:
            tell("problem", Problem(what="the file holds no seeds", where=str(path)))
        return
    # not splitlines(): a text may hold U+2028, which JSON need not escape
    lines = [
        (f"{path.name}:{number}", line)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    if len(lines) > 1 and not any(_may_be_row(line) for _, line in lines):
        what = f"none of the {len(lines)} lines is a JSON object"
        tell("problem", Problem(what=what, where=str(path), allowed=_LAYOUT))
        return
    for where, line in lines:
        value = _parsed(line, where, tell)
        if value is not _UNREADABLE:
            yield where, value


_LAYOUT = "it is one object a line, or all objects in one list"


def _may_be_row(line: str) -> bool:
    """Whether a line is anything in JSON: of a table, or of an object written over many lines, hardly one is."""
    try:
        return isinstance(json.loads(line), dict | list)
    except (RecursionError, ValueError):
        return False


_UNREADABLE = object()


def _parsed(text: str, where: str, tell: Tell) -> object:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        for key in sorted({key for key in keys if keys.count(key) > 1}):
            what = f"the row has `{key[:80]}` twice"
            tell("problem", Problem(what=what, where=where, allowed="each field stands once"))
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        said = error.msg.removesuffix(" at")
        what = f"the row is no JSON: {said} at column {error.colno}"
    except (RecursionError, ValueError):
        what = "the row is no JSON that can be read: it nests too deep or has a number of too many digits"
    tell("problem", Problem(what=what, where=where, allowed="each line is one object"))
    return _UNREADABLE


def _text(path: Path, tell: Tell) -> str | None:
    """The text of a file; None if it is not in UTF-8.

    Raises:
        XtuneError: The file cannot be opened.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise XtuneError(f"{path} cannot be read: {error.strerror or error}.") from None
    beginning = data[:LOOKED_AT]
    try:
        check_packing(beginning, Path("unpacked.jsonl"), path.name)
    except DataError:
        what, allowed = "the file is packed", "a seed file is read as it is"
        tell("problem", Problem(what=what, where=str(path), allowed=allowed, advice="Unpack it."))
        return None
    try:
        check_kind(beginning, path.name)
        check_page(beginning, path.name)
    except DataError as error:
        for problem in error.problems:
            tell("problem", problem)
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        advice = f"Save the file as UTF-8; `iconv -f latin1 -t utf-8 {path.name}` may do it."
        where = f"{path.name}:{line}"
        tell("problem", Problem(what=what, where=where, allowed="it must be UTF-8", advice=advice))
        return None
