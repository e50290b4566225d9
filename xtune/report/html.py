"""The frame of a page that stands alone: style inside, nothing fetched, nothing sent, no script; and small parts of one."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from xtune.shown import visible

_STYLE = Path(__file__).with_name("page") / "run.css"

LONGEST_TEXT = 2000
"""Characters of a text from the data that a page shows."""

# whatever a recipe or a sample holds, nothing may be fetched, sent or run
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def page_html(*, title: str, body: str, part: bool = False, style: str = "") -> str:
    """A whole page, or with `part` a piece of another one, whose style reaches no further than the piece.

    Args:
        title: Any text.
        body: Markup; whatever came from outside is escaped in it already.
        part: Leave the page around it away.
        style: More style.
    """
    css = _STYLE.read_text(encoding="utf-8") + style
    if part:
        scoped = css.replace(":root", ":scope").replace("body {", ":scope {")
        return f'<div class="xtune-page"><style>@scope (.xtune-page) {{ {scoped} }}</style>{body}</div>'
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{text_html(title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def table_html(head: Sequence[str], rows: Iterable[Sequence[str]], *, css: str = "") -> str:
    """A table of texts, which may be anyone's; on a phone each row becomes a card with the head beside its cells."""
    lines = [
        "<tr>"
        + "".join(
            f'<td data-head="{text_html(name)}"><bdi>{text_html(cell)}</bdi></td>'
            for name, cell in zip(head, row, strict=True)
        )
        + "</tr>"
        for row in rows
    ]
    if not lines:
        return ""
    heads = "".join(f"<th>{text_html(name)}</th>" for name in head)
    return f'<table class="{css}"><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def text_html(text: str) -> str:
    """A line of text from anyone."""
    return escape(visible(text))


def lines_html(text: str, limit: int = LONGEST_TEXT) -> str:
    """A text of several lines from anyone, shortened."""
    shown = "\n".join(visible(line) for line in text[:limit].split("\n"))
    rest = len(text) - limit
    more = f'<span class="quiet"> ... and {rest:,} more characters</span>' if rest > 0 else ""
    return escape(shown) + more
