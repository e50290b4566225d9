"""Writes encoded rows as one HTML page without a network, or as a part of a notebook; data never becomes markup."""

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from xtune.report.lengths import Histogram
from xtune.report.pieces import Piece, ShownRow
from xtune.shown import visible

_PAGE = Path(__file__).with_name("page")
_SHADES = 5
"""Steps of colour for weights other than 1: a fifth each, which the eye can still tell apart."""

_SPACES = re.compile(r"( +)|(\n)|(\t)|([^ \n\t]+)")


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the page tells."""

    title: str
    heading: str
    notes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    lengths: Histogram | None
    rows: tuple[ShownRow, ...]


def page_html(page: Page) -> str:
    """The whole page: style and script inside, everything from the data escaped."""
    style = (_PAGE / "rows.css").read_text(encoding="utf-8")
    script = (_PAGE / "rows.js").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        # nothing may be fetched or sent, whatever the data holds
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
        f"<title>{escape(page.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{_top(page)}{_controls(page)}"
        f'<main id="rows">\n{_cards(page)}</main>\n'
        '<p id="none" hidden>No row fits.</p>\n<div id="tip" role="status" hidden></div>\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def cards_html(page: Page) -> str:
    """The rows as a part of another page, without a script."""
    style = (_PAGE / "rows.css").read_text(encoding="utf-8")
    return f'<style>{_scoped(style)}</style><div class="xtune">{_top(page)}{_cards(page)}</div>'


def _scoped(style: str) -> str:
    """The style for the part alone: what the page says of its root and body is said of the part."""
    return f"@scope (.xtune) {{ {re.sub(r':root|html|body', ':scope', style)} }}"


def _top(page: Page) -> str:
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in page.facts
    )
    notes = "".join(
        f'<p class="note" dir="auto">{escape(visible(note))}</p>' for note in page.notes
    )
    lengths = page.lengths.svg("tokens in a sequence") if page.lengths is not None else ""
    return (
        f'<header>\n<h1 dir="auto">{escape(page.title)}</h1>\n<p>{escape(page.heading)}</p>\n'
        f'<dl class="facts">{facts}</dl>\n{lengths}\n{notes}\n</header>\n'
    )


def _controls(page: Page) -> str:
    options = "".join(
        f'<option value="{number}">{escape(visible(source))}</option>'
        for number, source in enumerate(_sources(page))
    )
    choice = (
        f'<label>source <select id="source"><option value="">all</option>{options}</select></label>'
    )
    weights = sorted({piece.weight for row in page.rows for piece in row.pieces} - {0.0, 1.0})
    legend = '<span class="w5">trained on</span> <span class="w0">not trained on</span>' + "".join(
        f' <span class="{_shade(weight)}">weight {weight:g}</span>' for weight in weights[:8]
    )
    return (
        '<form id="controls" role="search">\n'
        '<input id="search" type="search" placeholder="search the text ( / )" aria-label="search the text" autocomplete="off">\n'
        f"{choice}\n"
        '<label><input id="trained" type="checkbox"> only what is trained on</label>\n'
        '<label><input id="spaces" type="checkbox"> show spaces</label>\n'
        f'<output id="count">{len(page.rows)} rows</output>\n'
        f'<p class="legend">{legend} <b class="chip">special token</b> '
        "<small>point at, tap, or press &#8592; &#8594; in a row for a token; j and k go from row to row</small></p>\n</form>\n"
    )


def _sources(page: Page) -> list[str]:
    return list(dict.fromkeys(row.sequence.origin.source for row in page.rows))


def _cards(page: Page) -> str:
    sources = {source: number for number, source in enumerate(_sources(page))}
    return "".join(
        _card(row, number, sources[row.sequence.origin.source])
        for number, row in enumerate(page.rows)
    )


def _card(row: ShownRow, number: int, source: int) -> str:
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in row.notes)
    text = "".join(_token(piece, index) for index, piece in enumerate(row.pieces))
    return (
        f'<article tabindex="0" id="row-{number}" data-source="{source}" aria-label="{escape(row.title)}">'
        f'<h2><bdi>{escape(row.title)}</bdi><span>{row.size}</span></h2>{notes}<pre dir="auto">{text}</pre></article>\n'
    )


def _token(piece: Piece, index: int) -> str:
    """One piece: its shade by weight, its first position, and its ids, for the script to tell."""
    ids = ",".join(map(str, piece.ids))
    weight = "" if piece.weight in {0.0, 1.0} else f' data-w="{piece.weight:g}"'
    kind = f"{_shade(piece.weight)} o{index % 2}"
    facts = f'data-t="{ids}" data-p="{piece.start}"{weight}'
    if piece.special:
        return f'<b class="chip {kind}" dir="ltr" {facts}>{escape(visible(piece.text))}</b>'
    return f'<i class="{kind}" {facts}>{_white_space(piece.text)}</i>'


def _white_space(text: str) -> str:
    """Text with its white space as elements that the style gives a sign, so that copied text stays as it is."""
    parts = []
    for spaces, line, tab, rest in _SPACES.findall(text):
        if spaces:
            parts.append(f"<s>{spaces}</s>")
        elif line:
            parts.append('<s class="n"></s>\n')
        elif tab:
            parts.append('<s class="t">\t</s>')
        else:
            parts.append(escape(visible(rest)))
    return "".join(parts)


def _shade(weight: float) -> str:
    """Class of a weight: w0 for none, w1 to w4 below one, w5 for one, w6 above."""
    if weight in {0.0, 1.0}:
        return f"w{int(weight) * _SHADES}"
    return (
        f"w{_SHADES + 1}" if weight > 1 else f"w{min(_SHADES - 1, 1 + int(weight * (_SHADES - 1)))}"
    )
