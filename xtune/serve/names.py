"""The folders to serve and the names they go by; loads nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

from xtune.demo.bundled import bundled_path, is_bundled
from xtune.errors import RunError
from xtune.found import ADAPTER, MODEL, Found, find_result


@dataclass(frozen=True, kw_only=True)
class Named:
    """A folder to serve and the name it goes by."""

    name: str
    found: Found


def name_runs(runs: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[Named]:
    """What lies in a folder or several, each written as `FOLDER` or `NAME=FOLDER`.

    Raises:
        RunError: There is none, a folder holds nothing to serve, or two have the same name.
    """
    written_runs = [runs] if isinstance(runs, (str, PathLike)) else runs
    if not written_runs:
        raise RunError("There is nothing to serve.", advice="Name a run, an adapter or a model.")
    named: list[Named] = []
    for run in [fspath(one) for one in written_runs]:
        name, _, rest = run.partition("=")
        given = bool(rest) and "/" not in name and not Path(run).exists()
        written = rest if given else run
        folder = bundled_path(written) if is_bundled(written) else Path(written)
        found = find_result(folder)
        own = folder.resolve()
        own = own.parent if own.name in {ADAPTER, MODEL} and found.folder == folder else own
        named.append(Named(name=name if given else own.name, found=found))
    for one in named:
        if sum(other.name == one.name for other in named) > 1:
            raise RunError(
                f"Two models would be called {one.name}.", advice="Name them: NAME=FOLDER."
            )
    return named
