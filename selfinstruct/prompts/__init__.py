"""The prompts that ask an LLM for tasks: text files that a person can edit, and what fills them in.

A prompt file is plain text with the placeholders `{language}`, `{demonstrations}`, `{first}` and `{last}`; other braces
are text. `en.txt` asks in English for tasks in any language, as the MultiAlpaca paper did; `native/` asks in the
language itself. A rendered prompt ends with the label of the first task that is wanted, so that the reply goes on with it.
"""

from collections.abc import Sequence
from pathlib import Path

from selfinstruct.labels import usual_label
from selfinstruct.types import Task
from xtune.errors import XtuneError

_FOLDER = Path(__file__).parent
_REQUIRED = ("{demonstrations}", "{first}", "{last}")

NO_INPUT = "<noinput>"

LANGUAGE_NAMES = {
    "ar": "Arabic",
    "bn": "Bengali",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "ms": "Malay",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "th": "Thai",
    "tl": "Tagalog",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
"""English names of languages (Unicode CLDR 48); a code without one is named by itself."""


def render(
    demonstrations: Sequence[Task],
    language: str,
    *,
    last_number: int = 20,
    native: bool = False,
    file: Path | None = None,
    text: str | None = None,
) -> str:
    """A prompt that shows tasks 1 to n and asks for tasks n + 1 to `last_number` in a language.

    Args:
        demonstrations: The tasks that are shown, numbered from 1.
        language: BCP-47 code of the tasks that are asked for.
        last_number: Number of the last task that is wanted; the paper's is 20.
        native: Ask in the language itself, where the package has such a prompt, and with its own labels.
        file: A prompt file of the user's instead of the package's.
        text: What `template` read, for whoever renders thousands; it is read when left out.

    Raises:
        XtuneError: The file cannot be read or lacks a placeholder, or nothing is asked for.
    """
    first = len(demonstrations) + 1
    if last_number < first:
        raise XtuneError(
            f"A prompt with {len(demonstrations)} demonstrations asks for tasks {first} to {last_number}, which are "
            f"none; the last number must be at least {first}."
        )
    labels = language if native and has_native(language) else "en"
    words = [
        usual_label(part, labels) if labels != "en" else part.capitalize()
        for part in ("instruction", "input", "output")
    ]
    blocks = [_block(task, number, words) for number, task in enumerate(demonstrations, start=1)]
    filled = {
        "{language}": language_name(language),
        "{first}": str(first),
        "{last}": str(last_number),
        "{demonstrations}": "\n\n".join(blocks),
    }
    if text is None:
        text = template(language, native=native, file=file)
    # the demonstrations come last: braces in a task are text
    for name, value in filled.items():
        text = text.replace(name, value)
    separator = "\n\n" if demonstrations else "\n"
    return f"{text.rstrip()}{separator}{first}. {words[0]}:"


def _block(task: Task, number: int, words: Sequence[str]) -> str:
    parts = (task.instruction, task.input.strip() or NO_INPUT, task.output)
    return "\n".join(
        f"{number}. {word}: {text.strip()}" for word, text in zip(words, parts, strict=True)
    )


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
    """A language's English name, `pt-BR` as `Portuguese (pt-BR)`; the code itself where the table has none."""
    main, _, region = language.partition("-")
    name = LANGUAGE_NAMES.get(main.lower())
    if name is None:
        return language
    return f"{name} ({language})" if region else name
