"""One row of a seed file to a `Seed`, in our layout or the original self-instruct one; it reads no files.

Ours:      {"id", "category", "instruction", "input", "output", "translate", "keep", "why"}
original:  {"id", "name", "instruction", "instances": [{"input", "output"}], "is_classification"}
"""

import difflib
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from selfinstruct.types import Seed, Task, Translate
from xtune.errors import Problem

OURS = ("id", "category", "instruction", "input", "output", "translate", "keep", "why")
ORIGINAL = ("id", "name", "instruction", "instances", "is_classification")
KEPT = ("input", "output")
"""Fields that may be kept verbatim: an instruction that stays in English is no seed of another language."""

NO_INPUT = "<noinput>"

Severity = Literal["problem", "note"]
Tell = Callable[[Severity, Problem], None]


def seed_of(row: object, where: str, tell: Tell) -> Seed | None:
    """The seed in a row, or None; what is wrong with it goes to `tell`."""
    if not isinstance(row, dict):
        tell(
            "problem",
            Problem(what=f"the row is {_kind(row)}", where=where, allowed="it must be an object"),
        )
        return None
    reader = _Row(row, where, tell)
    seed = reader.original() if "instances" in row else reader.ours()
    return None if reader.wrong else seed


class _Row:
    """Reads the fields of one row and remembers whether any was wrong."""

    def __init__(self, row: Mapping[str, Any], where: str, tell: Tell) -> None:
        self.row, self.where, self.tell = row, where, tell
        self.wrong = False

    def ours(self) -> Seed:
        self._unknown(OURS)
        translate = self._translate()
        keep = self._keep(translate)
        return Seed(
            id=self._text("id"),
            category=self._text("category"),
            task=Task(
                instruction=self._text("instruction"),
                input=self._input(self.row),
                output=self._text("output"),
            ),
            translate=translate,
            keep=keep,
            why=self._text("why", needed=False),
        )

    def original(self) -> Seed:
        self._unknown(ORIGINAL)
        instances = self.row["instances"]
        instance: Mapping[str, Any] = {}
        if not isinstance(instances, list) or not instances or not isinstance(instances[0], dict):
            self._refuse("`instances` holds no object", 'it is [{"input": ..., "output": ...}]')
        else:
            instance = instances[0]
            if len(instances) > 1:
                self._note(f"`instances` has {len(instances)} entries; the first is used")
        output = self._text("output", instance, "instances[0].output") if instance else ""
        kind = "classification" if self.row.get("is_classification") is True else "generation"
        return Seed(
            id=self._text("id"),
            category=kind,
            task=Task(
                instruction=self._text("instruction"), input=self._input(instance), output=output
            ),
        )

    def _text(
        self, key: str, row: Mapping[str, Any] | None = None, name: str = "", *, needed: bool = True
    ) -> str:
        row, name = self.row if row is None else row, name or key
        value = row.get(key)
        if key not in row or value is None:
            if needed:
                self._refuse(f"`{name}` is missing", "every seed has one")
            return ""
        if key == "id" and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            self._refuse(f"`{name}` is {_kind(value)}", "it must be a text")
            return ""
        if needed and not value.strip():
            self._refuse(f"`{name}` is empty", "it must say something")
        if any("\ud800" <= char <= "\udfff" for char in value):
            self._refuse(f"`{name}` holds half of a surrogate pair", "it must be valid Unicode")
        return value

    def _input(self, row: Mapping[str, Any]) -> str:
        text = self._text("input", row, needed=False)
        if text.strip().lower() == NO_INPUT:
            self._note(f"`input` is {NO_INPUT}; it is read as no input")
            return ""
        return text if text.strip() else ""

    def _translate(self) -> Translate:
        value = self.row.get("translate", "yes")
        for choice in get_args(Translate):
            if value == choice:
                return choice  # type: ignore[no-any-return]
        self._refuse(f"`translate` is {_shown(value)}", "it must be yes, adapt or no")
        return "yes"

    def _keep(self, translate: Translate) -> tuple[str, ...]:
        value = self.row.get("keep", [])
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self._refuse(f"`keep` is {_shown(value)}", "it must be a list of fields")
            return ()
        for name in value:
            if name not in KEPT:
                self._refuse(f"`keep` names {_shown(name)}", "it may name `input` and `output`")
            elif not self.row.get(name):
                self._refuse(f"`keep` names `{name}`, which is empty", "there is nothing to keep")
        if len(set(value)) < len(value):
            self._refuse("`keep` names a field twice", "each is named once")
        if value and translate != "adapt":
            self._refuse(
                f"`keep` is {_shown(value)} and `translate` is {translate}",
                "only `adapt` keeps fields",
            )
        if translate == "adapt" and not value:
            self._refuse("`translate` is adapt and `keep` is empty", "it must name what is kept")
        return tuple(value)

    def _unknown(self, known: tuple[str, ...]) -> None:
        for key in self.row:
            if key not in known:
                near = difflib.get_close_matches(str(key)[:80], known, n=1)
                advice = f"did you mean `{near[0]}`?" if near else ""
                self._note(f"`{str(key)[:80]}` is no field of a seed and is not read", advice)

    def _refuse(self, what: str, allowed: str) -> None:
        self.wrong = True
        self.tell("problem", Problem(what=what, where=self.where, allowed=allowed))

    def _note(self, what: str, advice: str = "") -> None:
        self.tell("note", Problem(what=what, where=self.where, advice=advice))


def _kind(value: object) -> str:
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number"}
    return {**names, str: "a text", list: "a list", dict: "an object"}.get(type(value), "odd")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
