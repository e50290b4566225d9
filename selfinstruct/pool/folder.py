"""The folder of a run: who may write in it, and what it was asked for.

FOLDER/recipe.yaml      what was asked, complete            replies.jsonl        every reply, as it arrived
FOLDER/inputs.json      fingerprints of seeds and prompts   pool/<language>.jsonl  kept and dropped, in prompt order
FOLDER/notes.json       what was found out about the server seeds/<language>.jsonl translated seeds
"""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from selfinstruct.pool.disk import explained
from xtune.durable import write_json, write_text
from xtune.errors import RunError
from xtune.run.lock import take_lock

RECIPE = "recipe.yaml"
INPUTS = "inputs.json"
NOTES = "notes.json"


class Folder:
    """A run folder held by this process; a second holder is refused."""

    def __init__(self, path: Path) -> None:
        """Take the folder, making it if it is absent.

        Raises:
            RunError: Another process holds it, or it cannot be written in.
        """
        self.path = path
        with explained(path):
            path.mkdir(parents=True, exist_ok=True)
            (path / "pool").mkdir(exist_ok=True)
            self._lock = take_lock(
                path, advice="Wait for it, or choose another folder with run.folder=..."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._lock)

    @property
    def holds_run(self) -> bool:
        """Whether a run got so far here that its recipe and its seeds were found good."""
        return (self.path / INPUTS).exists()

    def pool(self, language: str) -> Path:
        """The file of a language's pool."""
        return pool_file(self.path, language)

    def read(self, name: str) -> Any:
        """A JSON file of the folder; None if there is none.

        Raises:
            RunError: It is damaged.
        """
        return read_json(self.path / name)

    def write(self, name: str, value: Any) -> None:
        """Replace a JSON file of the folder.

        Raises:
            RunError: The disk refuses.
        """
        with explained(self.path / name):
            write_json(self.path / name, value)

    def write_recipe(self, text: str) -> None:
        """Write what was asked.

        Raises:
            RunError: The disk refuses.
        """
        with explained(self.path / RECIPE):
            write_text(self.path / RECIPE, text)


def pool_file(folder: Path, language: str) -> Path:
    """The file of a language's pool."""
    return folder / "pool" / f"{language}.jsonl"


def read_json(path: Path) -> Any:
    """A JSON file; None if there is none.

    Raises:
        RunError: It is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise RunError(
            f"{path} is damaged.",
            advice="Delete it and run the same command: it is made anew, and the replies are kept.",
        ) from None
