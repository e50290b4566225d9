"""The door of the parser: one reply in, its tasks and what was dropped out; how a layout is read is decided elsewhere."""

import html
from dataclasses import dataclass

import regex

from selfinstruct.labels import label_of, languages, words_for
from selfinstruct.parse.document import read_documents
from selfinstruct.parse.fences import without_task_fences
from selfinstruct.parse.layout import preamble, read_layout, task_of
from selfinstruct.parse.listing import read_list
from selfinstruct.parse.markup import plain_labels
from selfinstruct.parse.signs import plain_signs
from selfinstruct.parse.table import read_csv, read_html_table, read_table
from selfinstruct.parse.usual import read_usual
from selfinstruct.parse.yaml_lines import read_yaml
from selfinstruct.types import Dropped, Task

_OUTER_FENCE = regex.compile(
    r"\s*+```[\w-]*+[^\S\n]*+\n(?P<body>.*)\n[^\S\n]*```\s*", flags=regex.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What a reply held."""

    tasks: tuple[Task, ...]
    dropped: tuple[Dropped, ...] = ()
    """`truncated`, `missing_instruction`, `missing_output`, `preamble`, `no_task`, `broken_json` or `broken_row`, with the text."""


def parse_reply(
    text: str,
    finish_reason: str | None = "stop",
    language: str = "en",
    *,
    opened: bool | None = None,
) -> Parsed:
    """Read the tasks of one reply, numbered labels, plain ones, a table, bare lists of instructions or JSON.

    A task's input is empty where the reply says that there is none; its output is empty only in a bare list of
    instructions, which has no outputs. No text raises, and the time is linear in its length.

    Args:
        text: The reply, as it came.
        finish_reason: `length` or `content_filter` drop the last task, which was cut; anything else keeps it.
        language: BCP-47 code; where the labels of all languages make no sense of the reply, its own and English ones do.
        opened: Whether the prompt ended with a task's first label, so that the reply begins with an
            instruction's text; None looks at the reply.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.lstrip("\ufeff")
    if "\u20e3" in text:
        text = _KEYCAPS.sub(_plain_number, text)
    if not text.strip():
        return Parsed(tasks=(), dropped=(Dropped(reason="no_task", detail="the reply is empty"),))
    if text.rstrip().endswith(">"):
        text = _ENDS.sub("", text)
    reasoning, text = _after_reasoning(text)
    text = _STARTS.sub("", text)
    found = read_documents(text) or read_yaml(text)
    if found is None:
        text = _without_closing_tags(text)
        outer = _OUTER_FENCE.fullmatch(text)
        is_fenced = outer and "\n```" not in f"\n{outer['body']}"
        body = outer["body"] if outer and is_fenced else _unquoted(without_task_fences(text))
        found = read_usual(body, language, opened) or read_labelled(body, language, opened)
    tasks, dropped = found
    cut = {"length": "truncated", "content_filter": "content_filter"}.get(finish_reason or "")
    if cut:
        tasks = _without_last(tasks, cut)
    return Parsed(
        tasks=tuple(item for item in tasks if isinstance(item, Task)),
        dropped=(*reasoning, *dropped, *(item for item in tasks if isinstance(item, Dropped))),
    )


_KEYCAPS = regex.compile(
    r"^(?P<before>[^\S\n]*+[#*_]*+[^\S\n]*+)(?P<keys>(?:[0-9]\ufe0f?\u20e3)++)(?P<after>[^\S\n]*+[*_]*+(?P<word>\p{L}[\p{L}\p{M} ]{0,30}?)[^\S\n]?[*_]*+[:：])",
    flags=regex.MULTILINE,
)
"""A number of keys, "1\ufe0f\u20e34\ufe0f\u20e3", before what may be a label; elsewhere such keys are text."""


def _plain_number(found: "regex.Match[str]") -> str:
    if label_of(found["word"].strip()) is None:
        return str(found[0])
    digits = "".join(filter(str.isdecimal, found["keys"]))
    return f"{found['before']}{digits}.{found['after']}"


def _after_reasoning(text: str) -> tuple[list[Dropped], str]:
    """What a model thought aloud before it answered, and the answer."""
    if "/" not in text and "|" not in text:
        return [], text
    for opening, closing in _REASONING:
        start, tag, rest = text.partition(closing)
        if not tag or not rest.strip():
            continue
        # a template may open the tag itself: then the reply has its end alone, on a line that begins or ends with it
        is_end_alone = opening not in start and (start.endswith("\n") or rest.startswith("\n"))
        if start.lstrip().startswith(opening) or is_end_alone:
            return [Dropped(reason="preamble", detail="the model's reasoning", text=start)], rest
    return [], text


_REASONING = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<|channel|>analysis", "<|channel|>final<|message|>"),
)
"""What stands around a model's thoughts: DeepSeek's and Qwen's tags, prompted ones, gpt-oss's channels."""

_ENDS = regex.compile(
    r"(?:\s*+(?:<\|(?:im_end|eot_id|endoftext|end_of_text|end|return|eom_id|end_of_turn)\|>|</s>|<end_of_turn>))++\s*+\Z"
)
"""Signs of a turn's end that a server left in the text."""


_STARTS = regex.compile(
    r"\A\s*+(?:(?:<\|[a-z_]{1,30}\|>(?:assistant|final)?|\[/INST\]|<s>|<start_of_turn>model)\s*+)++"
)
"""Signs of a turn's beginning that a server left in the text."""

_CLOSING_TAG = regex.compile(
    r"[^\S\n]*+</(?P<word>\p{L}[\p{L}\p{M}_ ]{0,30})>|^[^\S\n]*+<(?:task|item|example)s?(?:\s[^<>\n]{0,80})?>[^\S\n]*$",
    flags=regex.IGNORECASE | regex.MULTILINE,
)


def _without_closing_tags(text: str) -> str:
    """A reply in tags, `<instruction>...</instruction>`, with those left that open a part: they are labels."""
    if "/" not in text or "</" not in text:
        return text
    words = [found["word"] for found in _CLOSING_TAG.finditer(text)]
    if not any(word and label_of(word) == "instruction" for word in words):
        return text
    is_xml = text.lstrip().startswith("<?xml")
    text = _CDATA.sub(lambda found: found["body"], _EMPTY_TAG.sub("", text))

    def kept(found: "regex.Match[str]") -> str:
        word = found["word"]
        return "" if word is None or label_of(word) or word.lower() in _GROUPS else str(found[0])

    closed = {word.lower() for word in words if word and label_of(word)}
    # several parts on one line: each opens on a line of its own
    text = _OPENING_TAG.sub(
        lambda found: ("\n" if found["word"].lower() in closed else "") + found[0], text
    )
    text = str(_CLOSING_TAG.sub(kept, text))
    return html.unescape(text) if is_xml else text


_CDATA = regex.compile(r"<!\[CDATA\[(?P<body>.*?)\]\]>", flags=regex.DOTALL)
_EMPTY_TAG = regex.compile(r"<(?:input|entrada|eingabe)\s*/>", flags=regex.IGNORECASE)
_OPENING_TAG = regex.compile(
    r"(?<=[^\s])[^\S\n]*+<(?P<word>\p{L}[\p{L}\p{M}_ ]{0,30})>", flags=regex.IGNORECASE
)


def _unquoted(text: str) -> str:
    """A reply that is a quotation as a whole, each line behind `>`, without these marks."""
    if not text.lstrip().startswith(">"):
        return text
    lines = text.strip().split("\n")
    if not all(line.startswith(">") for line in lines if line.strip()):
        return text
    return "\n".join(line[1:].removeprefix(" ") for line in lines)


_GROUPS = {"task", "tasks", "item", "items", "example", "examples"}


def read_labelled(
    text: str, language: str, opened: bool | None
) -> tuple[list[Task | Dropped], list[Dropped]]:
    """The tasks of a reply whose labels may have any form, or which is a table or a list, and what is none of them."""
    # a model mixes languages; its own alone are looked for where every language's words make no sense of the reply
    layout = read_layout(text, None, opened)
    # a reply that the usual labels take apart without a rest has no others
    unclear = layout is None or layout.before or len(layout.blocks) < _FEW or layout.incomplete
    plain = (plain_labels(text) or plain_signs(text)) if unclear else None
    if plain is not None:
        usual = read_layout(plain, None, opened)
        if usual and (layout is None or usual.complete > layout.complete):
            text, layout = plain, usual
    if layout is not None and layout.incomplete:
        own = read_layout(text, language, opened)
        layout = own if own and own.complete > layout.complete else layout
    if layout is not None and layout.blocks and not layout.complete:
        # every part of a task on one line: "4. Instruction: ... Input: ... Output: ..."
        spread = read_layout(_PART_INSIDE_LINE.sub("\n", text), language, opened)
        layout = spread if spread and spread.complete else layout
    if layout is None:
        return read_table(text) or read_html_table(text) or read_csv(text) or _listed(text, opened)
    dropped = [preamble(layout.before)] if layout.before else []
    return [task_of(block) for block in layout.blocks], dropped


_FEW = 2
"""Tasks: a single one may be all that a stray label made of a reply in another form."""

_PART_INSIDE_LINE = regex.compile(
    r"(?<=\S)[^\S\n]++(?=(?:\p{Nd}{1,6}[.):．）][^\S\n]*+)?+(?:"
    + "|".join(
        regex.escape(word)
        for language in languages()
        for part in ("input", "output")
        for word in words_for(part, language)[:1]
    )
    + r")[^\S\n]?[:：])",
    flags=regex.IGNORECASE,
)


def _listed(text: str, opened: bool | None) -> tuple[list[Task | Dropped], list[Dropped]]:
    before, items = read_list(text, opened)
    if not items:
        return [], [
            Dropped(
                reason="no_task",
                detail="neither labels, a table, a numbered list nor JSON",
                text=text,
            )
        ]
    dropped = [preamble(before)] if before else []
    return [Task(instruction=item, output="") for item in items], dropped


def _without_last(found: list[Task | Dropped], reason: str) -> list[Task | Dropped]:
    """What was found, with its last piece, which the server cut, dropped for that reason."""
    if not found:
        return []
    *whole, last = found
    text = (
        last.text
        if isinstance(last, Dropped)
        else "\n".join((last.instruction, last.input, last.output)).strip()
    )
    return [
        *whole,
        Dropped(reason=reason, detail="the reply ended inside its last task", text=text),
    ]
