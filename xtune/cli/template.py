"""`--template-arg NAME=VALUE` of the verbs that ask a model; which variables there are, the template says."""

import json
from typing import Annotated, Any, TypeAlias

import typer

from xtune.errors import XtuneError

TemplateArguments: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--template-arg",
        metavar="NAME=VALUE",
        help="Value of a variable of the chat template, `enable_thinking=false`; repeatable.",
    ),
]


def template_arguments(words: list[str] | None) -> dict[str, Any]:
    """Names and values; a value is JSON where it can be read so, else a text.

    Raises:
        XtuneError: One is no NAME=VALUE.
    """
    found: dict[str, Any] = {}
    for word in words or ():
        name, sign, value = word.partition("=")
        if not sign or not name.strip():
            raise XtuneError(f"--template-arg is `{word}`; it must be NAME=VALUE.")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            literal = {"True": True, "False": False, "None": None}
            found[name.strip()] = literal.get(value, value)
    return found
