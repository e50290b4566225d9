"""Where the files behind `bundled:` names lie: the demo model and its data; everything else is named by path."""

from pathlib import Path

from xtune.errors import XtuneError

PREFIX = "bundled:"

_HERE = Path(__file__).resolve().parent
_PLACES = {
    "bundled:demo": _HERE / "model",
    "bundled:tasks": _HERE / "tasks",
    "bundled:tasks/seeds.jsonl": _HERE / "tasks" / "seeds.jsonl",
    "bundled:tasks/prompt.txt": _HERE / "tasks" / "prompt.txt",
    "bundled:orders/train.jsonl": _HERE / "data" / "train.jsonl",
    "bundled:orders/develop.jsonl": _HERE / "data" / "develop.jsonl",
    "bundled:orders/test.jsonl": _HERE / "data" / "test.jsonl",
}

"""`bundled:tasks` is an adapter of the demo model that continues lists of tasks; `demo/instructions` trains one like it."""


def is_bundled(name: str) -> bool:
    """Return whether a name asks for something that ships with xtune."""
    return name.startswith(PREFIX)


def bundled_path(name: str) -> Path:
    """Return the file or folder of a `bundled:` name; it can be read in place.

    Raises:
        XtuneError: If nothing has that name; the message lists what has one.
    """
    if name in _PLACES:
        return _PLACES[name]
    known = ", ".join(f"`{known}`" for known in _PLACES)
    raise XtuneError(f"Nothing is bundled as `{name}`.", advice=f"What is: {known}.")
