"""The recipe of a run, read from YAML as strictly as xtune's and checked as a whole; it starts nothing."""

import difflib
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from selfinstruct.generate.settings import GenerateSettings, LimitSettings, NoveltySettings
from selfinstruct.llm.settings import LLMSettings
from selfinstruct.rules.settings import RuleSettings
from xtune.catalog.recipes import recipes_folder
from xtune.errors import Problem, RecipeError, XtuneError
from xtune.recipe.document import Kind, dotted, one_line, shown
from xtune.recipe.document import Path as Keys
from xtune.recipe.read import read_document
from xtune.recipe.schema import section_keys
from xtune.text import tokenizer_name

Language = Annotated[str, Field(min_length=1)]

_SECRETS = ("api_key", "apikey", "key", "token", "secret", "password", "openai_api_key")
_KEY_ADVICE = (
    "put it into the environment variable that `llm.key_variable` names: export OPENAI_API_KEY=..."
)


class RunSettings(BaseModel):
    """Where the run lives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Annotated[str, Field(min_length=1)]
    """Everything of the run is here; the same command goes on where it stopped."""

    batch: bool = False
    """Ask through the batch API: half the price, hours instead of minutes."""

    workers: Literal["auto"] | Annotated[int, Field(ge=0, le=256)] = "auto"
    """Processes that read replies; `auto`: one for each processor but one, and two at least. The pool is the same with any number."""


class Settings(BaseModel):
    """A whole run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    languages: Annotated[list[Language], Field(min_length=1)]
    """BCP-47 codes: `[es, th, pt-BR]`."""

    llm: LLMSettings
    run: RunSettings
    generate: GenerateSettings = GenerateSettings()
    novelty: NoveltySettings = NoveltySettings()
    rules: RuleSettings = RuleSettings()
    limits: LimitSettings = LimitSettings()
    seeds: str | None = None
    """A seed file, a folder with one for each language (`es.jsonl`), or a `bundled:` name; left out: those that ship."""

    @model_validator(mode="after")
    def _names_languages(self) -> Self:
        """Each language once, and each a code.

        Raises:
            ValueError: One is not.
        """
        wrong = [name for name in self.languages if not _is_language(name)]
        if wrong:
            raise ValueError(
                f"`languages` has {shown(wrong[0])}, no language code; `es`, `th` and `pt-BR` are some"
            )
        for name in self.languages:
            main, dash, region = name.partition("-")
            if main != main.lower():
                written = f"{main.lower()}{dash}{region}"
                raise ValueError(f"`languages` has {shown(name)}; write {shown(written)}")
        twice = [name for name in self.languages if self.languages.count(name) > 1]
        if twice:
            raise ValueError(f"`languages` has {shown(twice[0])} twice; name it once")
        return self


def _is_language(name: str) -> bool:
    try:
        return bool(tokenizer_name(name))
    except ValueError:
        return False


@functools.cache
def settings_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe for `selfinstruct run`."""
    return Settings.model_json_schema(mode="validation")


def _advise_key(path: Keys, _method: str) -> str:
    """Advice on an unknown key."""
    key = str(path[-1])
    if key.lower() in _SECRETS:
        return f"a key is never written down: {_KEY_ADVICE}"
    known: dict[Keys, str] = {(name,): name for name in section_keys((), root=settings_schema())}
    for section in list(known):
        for name in section_keys(section, root=settings_schema()):
            known[(*section, name)] = name
    same = [where for where, name in known.items() if name == key]
    if same:
        return f"`{key}` belongs there: `{dotted(same[0])}`."
    near = difflib.get_close_matches(key[:80].lower(), known.values(), n=1, cutoff=0.6)
    here = [where for where, name in known.items() if near and name == near[0]]
    here.sort(key=lambda where: where[:-1] != path[:-1])
    return f"did you mean `{dotted(here[0])}`?" if here else ""


SELFINSTRUCT = Kind(
    model=Settings,
    schema=settings_schema,
    sections="`languages`, `llm` and `run`",
    example="generate.rounds=3",
    stand_ins={
        ("languages",): ["en"],
        ("llm",): {"model": "stand-in"},
        ("llm", "model"): "stand-in",
        ("run",): {"folder": "stand-in"},
        ("run", "folder"): "stand-in",
    },
    advise_key=_advise_key,
)
"""A recipe for `selfinstruct run`."""


def read_settings(name_or_path: str, overrides: Sequence[str] = ()) -> Settings:
    """Read a recipe by path or by the name of one that ships (`demo`, `multialpaca`), and apply overrides.

    Raises:
        RecipeError: Everything that is wrong, each with its place.
    """
    _refuse_secrets(overrides)
    path = Path(name_or_path)
    shipped = recipes_folder() / "selfinstruct" / f"{name_or_path}.yaml"
    if path.suffix not in {".yaml", ".yml"} and "/" not in name_or_path and shipped.is_file():
        path = shipped
    elif not path.exists():
        raise RecipeError([_absent(path)])
    settings: Settings = read_document(path, overrides, SELFINSTRUCT, name=str(path))
    shown = settings.generate.seeds_shown + settings.generate.generated_shown
    if settings.generate.tasks_per_prompt <= shown:
        problem = Problem(
            what=f"`generate.tasks_per_prompt` is {settings.generate.tasks_per_prompt}",
            where=str(path),
            allowed=f"it must be above the {shown} tasks that are shown",
        )
        raise RecipeError([problem])
    return settings


def _absent(path: Path) -> Problem:
    """That there is no such recipe, which ones ship, and which one may be meant."""
    ships = sorted(file.stem for file in (recipes_folder() / "selfinstruct").glob("*.yaml"))
    beside = [file.name for file in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name[:80], [*ships, *beside], n=1)
    return Problem(
        what="there is no such recipe",
        where=str(path),
        allowed=f"name a YAML file, or one that ships: {', '.join(ships)}",
        advice=f"did you mean `{near[0]}`?" if near else "",
    )


def _refuse_secrets(overrides: Sequence[str]) -> None:
    """An API key on the command line is in the process list and the shell's history; it is not repeated here.

    Raises:
        RecipeError: There is one.
    """
    problems = []
    for override in overrides:
        left, _, right = override.partition("=")
        name = left.strip().lower().lstrip("-").replace("-", "_").rpartition(".")[2]
        secret = right.strip().startswith("sk-") or re.search(r"://[^/\s]*@", right)
        if name in _SECRETS or secret:
            what = f"`{one_line(left.strip())}` would show a key to everyone who lists processes"
            problems.append(Problem(what=what, where="command line", advice=_KEY_ADVICE))
    if problems:
        raise RecipeError(problems)


def dump_settings(settings: Settings) -> str:
    """The whole recipe as YAML, defaults included."""
    value = settings.model_dump(mode="json")
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)


FREE_TO_CHANGE = frozenset(
    {
        "languages",
        "seeds",
        "run.folder",
        "run.batch",
        "run.workers",
        "generate.rounds",
        "generate.target",
        "limits.budget_usd",
        "limits.max_tokens_total",
        *(
            f"llm.{name}"
            for name in (
                "base_url",
                "key_variable",
                "client",
                "concurrency",
                "requests_per_minute",
                "tokens_per_minute",
                "timeout_s",
                "retries",
                "price",
                "prices",
            )
        ),
    }
)
"""Settings that a run may go on with other values of: they change how far it comes and how fast, not what is in it.
(Seeds are compared by their fingerprints, a language at a time.)"""


def changes(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Dotted names of the settings that differ between two recipes and may not."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = []
        for key in sorted({*old, *new}):
            name = f"{prefix}.{key}" if prefix else str(key)
            names += changes(old.get(key), new.get(key), name)
        return names
    return (
        [] if old == new or prefix in FREE_TO_CHANGE or prefix.startswith("llm.price") else [prefix]
    )


def read_dump(path: Path) -> Any:
    """The recipe that a run folder holds, as plain values.

    Raises:
        XtuneError: It cannot be read.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        value = None
    if not isinstance(value, dict):
        raise XtuneError(f"{path} is damaged.", advice="Start a new run with run.folder=...")
    return value
