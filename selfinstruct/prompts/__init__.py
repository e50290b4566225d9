"""The prompts that ask an LLM for tasks: text files that a person can edit, and what fills them in.

A prompt file is plain text with the placeholders `{language}`, `{demonstrations}`, `{first}` and `{last}`; other braces
are text. `en.txt` asks in English for tasks in any language, as the MultiAlpaca paper did; `native/` asks in the
language itself, with its own labels and its own tag for an empty input, so that such a prompt holds no other language.
A rendered prompt ends with the label of the first task that is wanted, so that the reply goes on with it.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import yaml

from selfinstruct.labels import Part, usual_label
from selfinstruct.types import Task
from xtune.errors import XtuneError

_FOLDER = Path(__file__).parent
_REQUIRED = ("{demonstrations}", "{first}", "{last}")

NO_INPUT = "<noinput>"
"""The tag that stands for an empty input in English prompts."""

_AS_JSON = "Answer with one JSON object: {shape}."
_JSON_SHAPE = '{"tasks": [{"instruction": ..., "input": ..., "output": ...}, ...]}'

_LANGUAGES = _FOLDER.parent / "translate" / "languages.yaml"
"""The one table of languages; it is read here for their English names."""

_MORE_NAMES = {"en": "English", "no": "Norwegian", "tl": "Tagalog"}
"""English names (Unicode CLDR 48) of codes that nothing is translated into."""


@cache
def _language_names() -> Mapping[str, str]:
    table = yaml.safe_load(_LANGUAGES.read_text(encoding="utf-8"))
    return {**_MORE_NAMES, **{code: entry["english"] for code, entry in table.items()}}


class Prompt:
    """Makes the prompts of one language; what is the same in all of them is filled in once."""

    def __init__(
        self,
        language: str,
        *,
        last_number: int = 20,
        native: bool = False,
        file: Path | None = None,
    ) -> None:
        """Read the prompt file.

        Args:
            language: BCP-47 code of the tasks that are asked for.
            last_number: Number of the last task that is wanted; the paper's is 20.
            native: Ask in the language itself, where the package has such a prompt, and with its own labels.
            file: A prompt file of the user's instead of the package's.

        Raises:
            XtuneError: The file cannot be read or lacks a placeholder.
        """
        asks_in = language if native and has_native(language) else "en"
        self._last = last_number
        self._labels = [_label(part, asks_in) for part in ("instruction", "input", "output")]
        self._no_input = _words(asks_in).get("no_input", NO_INPUT)
        text = template(language, native=native, file=file)
        text = text.replace("{language}", language_name(language))
        self._text = text.replace("{last}", str(last_number))

    def __call__(self, demonstrations: Sequence[Task]) -> str:
        """A prompt that shows tasks 1 to n and asks for tasks n + 1 to the last.

        Raises:
            XtuneError: Nothing is asked for.
        """
        first = len(demonstrations) + 1
        if self._last < first:
            raise XtuneError(
                f"A prompt with {len(demonstrations)} demonstrations asks for tasks {first} to {self._last}, which are "
                f"none; the last number must be at least {first}."
            )
        blocks = [self._block(task, number) for number, task in enumerate(demonstrations, start=1)]
        # the demonstrations come last: braces in a task are text
        text = self._text.replace("{first}", str(first))
        text = text.replace("{demonstrations}", "\n\n".join(blocks))
        separator = "\n\n" if demonstrations else "\n"
        return f"{text.rstrip()}{separator}{first}. {self._labels[0]}:"

    def _block(self, task: Task, number: int) -> str:
        instruction, entry, output = self._labels
        return (
            f"{number}. {instruction}: {task.instruction.strip()}\n"
            f"{number}. {entry}: {task.input.strip() or self._no_input}\n"
            f"{number}. {output}: {task.output.strip()}"
        )


def render(
    demonstrations: Sequence[Task],
    language: str,
    *,
    last_number: int = 20,
    native: bool = False,
    file: Path | None = None,
) -> str:
    """One prompt, for whoever makes no more of its language; see `Prompt`.

    Raises:
        XtuneError: The file cannot be read or lacks a placeholder, or nothing is asked for.
    """
    return Prompt(language, last_number=last_number, native=native, file=file)(demonstrations)


def json_request(language: str, *, native: bool = False) -> str:
    """The last line of a prompt whose answer is held to a JSON schema, in English or in the language itself."""
    asks_in = language if native and has_native(language) else "en"
    return _words(asks_in).get("as_json", _AS_JSON).replace("{shape}", _JSON_SHAPE)


def _label(part: Part, language: str) -> str:
    """A part's usual name as it stands at a line's start."""
    word = usual_label(part, language)
    return f"{word[0].upper()}{word[1:]}"


def _words(language: str) -> Mapping[str, str]:
    return _all_words().get(language.partition("-")[0].lower(), {})


@cache
def _all_words() -> Mapping[str, Mapping[str, str]]:
    entries: Mapping[str, Mapping[str, str]] = yaml.safe_load(
        (_FOLDER / "native" / "words.yaml").read_text(encoding="utf-8")
    )
    return entries


def template(language: str, *, native: bool = False, file: Path | None = None) -> str:
    """The text of a prompt file, with its placeholders.

    Raises:
        XtuneError: The file cannot be read or lacks a placeholder.
    """
    main = language.partition("-")[0].lower()
    path = file or (
        _FOLDER / "native" / f"{main}.txt"
        if native and has_native(language)
        else _FOLDER / "en.txt"
    )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise XtuneError(f"The prompt file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise XtuneError(f"The prompt file {path} is not UTF-8; save it as UTF-8.") from None
    missing = [name for name in _REQUIRED if name not in text]
    if missing:
        raise XtuneError(
            f"The prompt file {path} lacks {', '.join(missing)}; it needs {', '.join(_REQUIRED)}, and may have {{language}}."
        )
    return text


def has_native(language: str) -> bool:
    """Whether the package has a prompt in the language itself."""
    return (_FOLDER / "native" / f"{language.partition('-')[0].lower()}.txt").is_file()


def language_name(language: str) -> str:
    """A language's English name, `es-MX` as `Spanish (es-MX)`; the code itself where the table has none."""
    names = _language_names()
    if language in names:
        return names[language]
    main, _, _ = language.partition("-")
    name = names.get(main.lower())
    return f"{name} ({language})" if name else language
