"""Takes tasks out of code fences that stand around them; fences inside a task are text."""

import regex

from selfinstruct.parse.label_lines import labels_of

_FENCED = regex.compile(
    r"^[^\S\n]*+```[\w-]*+[^\S\n]*+\n(?P<body>.*?)\n[^\S\n]*+```[^\S\n]*+$",
    flags=regex.DOTALL | regex.MULTILINE,
)


def without_task_fences(text: str) -> str:
    """A reply whose fences each begin with a task, with no label outside of them, without these fences.

    What stands around them comes first, as what a model says before its tasks.
    """
    if "```" not in text:
        return text
    bodies = [found["body"].strip("\n") for found in _FENCED.finditer(text)]
    if not bodies or not all(map(_begins_with_task, bodies)):
        return text
    around = _FENCED.sub("", text)
    if labels_of(around.split("\n"), None):
        return text
    return "\n\n".join([around.strip(), *bodies]).lstrip("\n")


def _begins_with_task(body: str) -> bool:
    labels = labels_of(body.split("\n"), None)
    return bool(labels) and labels[0].line == 0 and labels[0].part == "instruction"
