"""Writes labels in HTML (`<b>Instruction:</b>`) or between quotation marks (`"Instruction": "..."`) as usual ones; it finds no tasks.

A form is one of labels only if a reply names instructions and outputs in it; all else in the reply stays as it is.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import regex

from selfinstruct.labels import Part, label_of
from selfinstruct.parse.label_lines import TASK

_QUOTES = {
    '"': '"',
    "'": "'",
    "“": "”",
    "„": "“",
    "«": "»",
    "‹": "›",
    "‘": "’",
    "「": "」",
    "『": "』",
}
_MARKS = "".join(_QUOTES)
_MAY_HOLD = regex.compile(
    rf"^[^\p{{L}}\n<{_MARKS}]*+(?:[a-c][.)])?\s*(?:[{_MARKS}]|<\p{{L}})", flags=regex.MULTILINE
)
"""A line that begins with a tag or a quotation mark: most replies have none."""

_NUMBER = rf"(?:(?:{TASK})\s*)?[#(\[]?(?P<number>\p{{Nd}}{{1,6}})(?:[.-]\p{{Nd}}|[a-c](?=[.)]))?\s*[.):．）\]\-–—]{{0,2}}\s*"
_WORD = r"(?P<word>[\p{L}\p{M}][\p{L}\p{M}'’ _]{0,30}?)"
_LINE = regex.compile(
    rf"""
    \s* (?P<wrap>(?:<(?:p|li|div|dt|dd|tr|td|br)(?:\s[^<>]{{0,60}})?/?>\s*)*)
    (?:[-*•]\s+)? (?:{_NUMBER})?
    (?:
      <(?P<tag>b|strong|em|i|u|h[1-6]|span|mark|label|code|font)(?:\s[^<>]{{0,80}})?>\s*
      (?:{_NUMBER.replace("number", "inner")})? {_WORD} \s* (?P<after>\p{{Nd}}{{1,6}})? \s* [:：]? \s* </(?P=tag)> \s* [:：]?
    |
      (?P<quote>["'“„«‹‘「『])\s*(?:{_NUMBER.replace("number", "within")})? {_WORD} \s* (?P<behind>\p{{Nd}}{{1,6}})? (?P<end>["'”“»›’」』])\s*[:：]
    )
    \s*(?P<rest>.*)
    """,
    flags=regex.VERBOSE | regex.IGNORECASE,
)
_LONGEST_HEAD = 200
_TITLE = regex.compile(
    rf"\s*<(h[1-6]|b|strong)[^<>]{{0,80}}>\s*(?:(?:{TASK})\s*)?[#№(]?(?P<number>\p{{Nd}}{{1,6}})\s*[.):．）\-–—]{{0,2}}\s*</\1>\s*",
    flags=regex.IGNORECASE,
)
_STRUCTURE = regex.compile(
    r"\s*(?:</?(?:ul|ol|li|div|p|section|article|body|html|dl|table|tbody|tr|td|main)(?:\s[^<>]{0,60})?>\s*)+",
    flags=regex.IGNORECASE,
)
_RULE = regex.compile(r"\s*<[hb]r\s*/?>\s*", flags=regex.IGNORECASE)
_CLOSERS = regex.compile(
    r"(?:\s*(?:</(?:p|li|div|dt|dd|tr|td)>|<br\s*/?>))+\s*$", flags=regex.IGNORECASE
)


class _Found(NamedTuple):
    """A line with a label in such a form."""

    line: int
    form: str
    """The tag or the quotation mark."""

    part: Part
    number: str
    word: str
    rest: str
    wrapped: bool
    """Whether a tag of a paragraph or a list's item stands around the line."""


def plain_labels(text: str) -> str | None:
    """The reply with its labels in the usual form; None where they are in no other."""
    if not _MAY_HOLD.search(text):
        return None
    lines = text.split("\n")
    found = _of_one_form(list(_labels(lines)))
    if not found:
        return None
    quoted = found[0].form in _QUOTES
    ends = [one.line for one in found[1:]] + [len(lines)]
    values = _unquoted(lines, found, ends) if quoted else None
    # tags around lines belong to the layout where every second label's line has some
    wrapped = 2 * sum(one.wrapped or bool(_CLOSERS.search(one.rest)) for one in found) >= len(found)
    written = list(lines[: found[0].line])
    if not quoted:
        written = _without_layout(written, wrapped=wrapped)
    for place, (one, end) in enumerate(zip(found, ends, strict=True)):
        body = [one.rest, *lines[one.line + 1 : end]] if values is None else [values[place]]
        if not quoted:
            body = _without_layout(body, wrapped=wrapped)
        head = f"**{one.number + '. ' if one.number else ''}{one.word}:** "
        written += [head + (body[0] if body else ""), *body[1:]]
    return "\n".join(written)


def _labels(lines: Sequence[str]) -> Iterator[_Found]:
    for index, line in enumerate(lines):
        match = (
            _LINE.fullmatch(line) if "<" in line[:_LONGEST_HEAD] or not line[:1].isalpha() else None
        )
        if not match or (match["quote"] and _QUOTES[match["quote"]] != match["end"]):
            continue
        part = label_of(match["word"].strip())
        if part is None:
            continue
        numbers = (match[name] for name in ("number", "inner", "within", "after", "behind"))
        yield _Found(
            line=index,
            form=match["quote"] or match["tag"].lower(),
            part=part,
            number=next(filter(None, numbers), ""),
            word=match["word"].strip(),
            rest=match["rest"],
            wrapped=bool(match["wrap"]),
        )


def _of_one_form(found: Sequence[_Found]) -> list[_Found]:
    """The labels of the commonest form that names an instruction and an output, as often the one as the other."""
    counts = Counter((one.form, one.wrapped, one.part) for one in found)
    begun = {
        (form, wrapped): count
        for (form, wrapped, part), count in counts.items()
        if part == "instruction" and counts[form, wrapped, "output"] >= max(1, count - 1)
    }
    if not begun:
        return []
    usual = max(begun, key=lambda form: begun[form])
    return [one for one in found if (one.form, one.wrapped) == usual]


def _without_layout(lines: Sequence[str], *, wrapped: bool) -> list[str]:
    """Lines without the tags at their end that only lay tasks out; a title of a task becomes one in Markdown.

    Tags inside the text stay: it may be HTML.
    """
    kept = list(lines)
    titles: list[str] = []
    while kept:
        title = _TITLE.fullmatch(kept[-1])
        if title:
            titles.append(f"### {title['number']}.")
        elif (
            kept[-1].strip()
            and not _RULE.fullmatch(kept[-1])
            and not (wrapped and _STRUCTURE.fullmatch(kept[-1]))
        ):
            break
        kept.pop()
    if kept and wrapped:
        kept[-1] = _CLOSERS.sub("", kept[-1])
    return [*kept, *reversed(titles)]


def _unquoted(
    lines: Sequence[str], found: Sequence[_Found], ends: Sequence[int]
) -> list[str] | None:
    """The values of labels, where all stand between quotation marks as well; else None."""
    values = []
    for one, end in zip(found, ends, strict=True):
        text = "\n".join([one.rest, *lines[one.line + 1 : end]]).strip().strip("{}[]").strip()
        text = text.removesuffix(",").rstrip()
        if len(text) < len('""') or _QUOTES.get(text[0]) != text[-1]:
            return None
        values.append(_decoded(text))
    return values


def _decoded(text: str) -> str:
    try:
        value = json.loads(text, strict=False) if text[0] == '"' else text[1:-1]
    except ValueError:
        value = text[1:-1]
    return str(value)
