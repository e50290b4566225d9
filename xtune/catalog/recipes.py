"""Finds, lists and copies the recipes that ship with xtune; reading them is in `xtune.recipe`."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from xtune.errors import XtuneError

_PACKAGE = Path(__file__).resolve().parents[1]
_SUFFIXES = (".yaml", ".yml")
_SCHEMA_LINE = "# yaml-language-server: $schema="


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """One shipped recipe, as its head comment describes it."""

    name: str
    """What the command line calls it: `quickstart`, `demo/pretrain`."""

    path: Path
    summary: str
    """What it is for, in one line."""

    command: str
    """The command that runs it."""


def recipes_folder() -> Path:
    """Return the folder of the shipped recipes: inside an installed package, beside it in a checkout."""
    installed = _PACKAGE / "_recipes"
    return installed if installed.is_dir() else _PACKAGE.parent / "recipes"


def list_recipes() -> list[CatalogEntry]:
    """Return the shipped training recipes, sorted by name; those of the `selfinstruct` command are none."""
    folder = recipes_folder()
    paths = [path for path in sorted(folder.rglob("*.yaml")) if path.parent.name != "selfinstruct"]
    return [_entry(folder, path) for path in paths]


def find_recipe(name_or_path: str) -> Path:
    """Return the file of a shipped recipe's name, or of a path.

    What ends in .yaml or .yml is a path, anything else a name.

    Raises:
        XtuneError: If there is no such file, or no such recipe.
    """
    path = Path(name_or_path)
    if "\0" in name_or_path or not name_or_path.strip():
        raise XtuneError("A recipe is named by a path or a name.", advice=_HINT)
    if path.suffix in _SUFFIXES:
        return _existing(path)
    shipped = {entry.name: entry.path for entry in list_recipes()}
    if name_or_path in shipped:
        return shipped[name_or_path]
    if _is_file(path):
        return path
    advice = _nearest(name_or_path, list(shipped))
    raise XtuneError(f"There is no recipe `{name_or_path}`.", advice=advice)


def read_text(path: Path) -> str:
    """Return the text of a recipe's file.

    Raises:
        XtuneError: If it cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise XtuneError(f"{path} is not UTF-8 text, so it is no recipe.", advice=_HINT) from None
    except OSError as error:
        raise XtuneError(f"{path} cannot be read: {error.strerror}.") from None


def copy_recipe(name: str, target: Path | None = None) -> Path:
    """Copy a shipped recipe to edit, and return the new file; nothing is ever overwritten.

    `target` is a file or an existing folder; default: the recipe's name in the current folder.
    The copy is the original but for its first lines: the schema is named by its full path, so
    that editors find it from anywhere, and the command names the copy.

    Raises:
        XtuneError: If there is no such recipe, or the file exists or cannot be written.
    """
    source = find_recipe(name)
    file = target or Path(f"{source.stem}.yaml")
    if file.is_dir():
        file /= f"{source.stem}.yaml"
    lines = read_text(source).splitlines(keepends=True)
    command = f"# xtune train {_relative_name(source)}"
    for index, line in enumerate(lines):
        if line.startswith(_SCHEMA_LINE):
            lines[index] = f"{_SCHEMA_LINE}{(recipes_folder() / 'schema.json').as_uri()}\n"
        elif line.rstrip("\n") == command or line.startswith(f"{command} "):
            lines[index] = line.replace(command, f"# xtune train {file.as_posix()}", 1)
    try:
        with file.open("x", encoding="utf-8", newline="\n") as copied:
            copied.writelines(lines)
    except FileExistsError:
        advice = "Name another file, or remove it first."
        raise XtuneError(f"{file} exists; it is not overwritten.", advice=advice) from None
    except OSError as error:
        raise XtuneError(f"{file} cannot be written: {error.strerror}.") from None
    return file


_HINT = "`xtune recipes` lists the recipes."


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system's limit
        return False


def _existing(path: Path) -> Path:
    if _is_file(path):
        return path
    if len(path.name) < 256 and path.is_dir():
        raise XtuneError(f"{path} is a folder, not a recipe.", advice="Name the file in it.")
    near = _nearest(path.with_suffix("").as_posix(), [entry.name for entry in list_recipes()])
    raise XtuneError(f"There is no file {path}.", advice=near)


def _nearest(name: str, known: list[str]) -> str:
    for tried in (name, name.removeprefix("recipes/"), name.rpartition("/")[2]):
        near = difflib.get_close_matches(tried[:80], known, n=1, cutoff=0.6)
        if near:
            return f"Did you mean the recipe `{near[0]}`? {_HINT}"
    return _HINT


def _relative_name(path: Path) -> str:
    folder = recipes_folder()
    inside = path.is_relative_to(folder)
    return (path.relative_to(folder) if inside else path).with_suffix("").as_posix()


def _entry(folder: Path, path: Path) -> CatalogEntry:
    command = summary = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#"):
            break
        if line.startswith(_SCHEMA_LINE) or not text:
            continue
        if text.startswith("xtune ") and not command:
            command = text
        elif not summary:
            summary = text
    name = path.relative_to(folder).with_suffix("").as_posix()
    return CatalogEntry(name=name, path=path, summary=summary, command=command)
