"""Translations that only look like some: Georgian letters, of which no test needs the sense."""

import json
import re

GEORGIAN = "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ"


def pretend(text: str) -> str:
    """Georgian letters for every word, and all else as it is: a translation as faithful as can be."""
    if text.startswith("{"):
        rows = json.loads(text)
        return json.dumps({key: pretend(value) for key, value in rows.items()}, ensure_ascii=False)
    keep = r"(^\s*\(?[A-Za-z][).:]|\"[a-z]+\"|\{\w+\}|`[^`]+`|https?://\S+)"
    parts = re.split(keep, text, flags=re.MULTILINE)
    return "".join(
        part
        if number % 2
        else re.sub(
            r"[^\W\d_]+",
            lambda word: "".join(GEORGIAN[ord(char) % len(GEORGIAN)] for char in word[0]),
            part,
        )
        for number, part in enumerate(parts)
    )
