"""Reads a bare numbered list of instructions, which has no labels and no outputs; labelled replies are read elsewhere."""

import regex

from selfinstruct.parse.label_lines import value_of

_ITEM = regex.compile(
    r"[^\S\n]*+[*_#]{0,3}[^\S\n]*+[(（]?(?P<number>\p{Nd}{1,4})[*_]{0,2}[.):．）、:：][*_]{0,2}(?P<text>[^\S\n]++\S.*|(?!\p{Nd})\S.*)$"
)
_LARGEST_STEP = 10
"""A list may skip numbers, and a year at a line's start is no item."""


def read_list(text: str, opened: bool | None) -> tuple[str, list[str]]:
    """What stands before a numbered list, and its items; lines without a number go on with the item before.

    Without numbers a reply to a prompt that ended with one is a single item, where the caller says so.
    """
    before: list[str] = []
    items: list[list[str]] = []
    first = last = 0
    for line in text.split("\n"):
        match = _ITEM.match(line)
        number = value_of(match["number"]) if match else 0
        if match and _goes_on(number, last, bool(items)):
            first, last = first or number, number
            items.append([match["text"]])
        else:
            (items[-1] if items else before).append(line)
    head = "\n".join(before).strip()
    listed = ["\n".join(item).strip() for item in items]
    is_item = opened or (opened is None and first > 1 and not head.endswith((":", "：")))
    if head and is_item:
        return "", [head, *listed]
    return head, listed


def _goes_on(number: int, last: int, begun: bool) -> bool:
    if not begun:
        return number <= _LARGEST_FIRST
    return last < number <= last + _LARGEST_STEP or (number == 1 and last > 1)


_LARGEST_FIRST = 200
"""Prompts show fewer tasks than this before the first one that is asked for."""
