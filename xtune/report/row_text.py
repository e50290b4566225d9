"""Draws encoded rows on a terminal: trained tokens in colour, or in brackets where there is no colour."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from xtune.data.types import IGNORED
from xtune.report.pieces import Piece, ShownRow
from xtune.shown import visible


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Two shades each, which take turns, so that the border of two tokens is where the shade changes.

    Both the letters and what is behind them are given: it reads on light and dark terminals.
    """

    plain: tuple[str, str]
    trained: tuple[str, str]
    weighted: tuple[str, str]


_MANY = Palette(
    plain=("grey78 on grey11", "grey78 on grey19"),
    trained=("black on pale_green1", "black on dark_sea_green3"),
    weighted=("black on light_goldenrod1", "black on gold3"),
)
_SIXTEEN = Palette(
    plain=("white on black", "bright_white on bright_black"),
    trained=("black on green", "black on bright_green"),
    weighted=("black on yellow", "black on bright_yellow"),
)
_SPECIAL = " bold underline"

_WIDEST = 10_000
"""Columns of a line where nothing wraps it."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    """How tokens are told apart."""

    palette: Palette | None
    """None where there is no colour."""

    width: int | None
    """Columns to wrap at; None where lines go into a file or pipe."""

    brackets: tuple[str, str] = ("⟦", "⟧")
    border: str = "│"
    space: str = "·"

    @classmethod
    def for_console(cls, console: Console) -> "Marks":
        """Colours if there are any and NO_COLOR is not set; signs that the stream's encoding can write."""
        coloured = console.is_terminal and not console.no_color and console.color_system is not None
        few = console.color_system == "standard"
        palette = (_SIXTEEN if few else _MANY) if coloured else None
        width = console.width if console.is_terminal else None
        try:
            "⟦⟧│·↵".encode(console.encoding)
        except (UnicodeEncodeError, LookupError):
            return cls(palette=palette, width=width, brackets=("[[", "]]"), border="|", space=" ")
        return cls(palette=palette, width=width)

    def legend(self, rows: Iterable[ShownRow]) -> Text:
        """What the colours or brackets mean, with the weights that occur."""
        weights = sorted({piece.weight for row in rows for piece in row.pieces} - {0.0, 1.0})
        if self.palette is None:
            opening, closing = self.brackets
            words = f"{opening}trained on{closing}, {self.border} between tokens"
            if weights:
                words += f", {opening}×{weights[0]:g}:with that weight{closing}"
            return Text(words)
        full, none = self.palette.trained, self.palette.plain
        text = Text.assemble(
            ("trained", full[0]), (" on", full[1]), ", ", ("not", none[0]), (" trained", none[1]),
            (" on", none[0]), ", ", ("<special>", none[0] + _SPECIAL),
        )  # fmt: skip
        if weights:
            shown = ", ".join(f"×{weight:g}" for weight in weights)
            text.append(", ").append("with another weight", style=self.palette.weighted[0])
            text.append(f" {shown}")
        return text


def row_lines(row: ShownRow, marks: Marks) -> Iterator[Text]:
    """A heading and the row's text; every token, special token and white space can be seen."""
    yield Text.assemble((row.title, "bold"), f"  {row.size}")
    for note in row.notes:
        yield Text(f"  {note}", style="yellow" if marks.palette else "")
    yield from _wrapped(_inked(row, marks), marks.width or _WIDEST)


def table_lines(row: ShownRow, marks: Marks) -> Iterator[Text]:
    """One line a token: position, id, text, label and weight in the loss; labels are not shifted."""
    sequence = row.sequence
    ids = max(len("label"), *(len(str(token)) for token in sequence.input_ids.tolist()))
    wide = len("position")
    yield Text(
        f"{'position':>{wide}}  {'id':>{ids}}  {'label':>{ids}}  weight  token", style="bold"
    )
    for number, piece in enumerate(row.pieces):
        style = _style(piece, number, marks)
        for offset, token in enumerate(piece.ids):
            at = piece.start + offset
            label = int(sequence.labels[at])
            shown = "-" if label == IGNORED else str(label)
            line = Text(
                f"{at:>{wide}}  {token:>{ids}}  {shown:>{ids}}  {sequence.weights[at]:>6g}  "
            )
            text = visible(piece.text, space=marks.space)
            more = f" (token {offset + 1} of {len(piece.ids)})" if len(piece.ids) > 1 else ""
            yield line.append(text, style=style).append(more)


def _inked(row: ShownRow, marks: Marks) -> Iterator[tuple[Text, bool]]:
    """Each piece with its colour or brackets, and whether a line ends behind it."""
    opening, closing = marks.brackets
    pieces = row.pieces
    for number, piece in enumerate(pieces):
        shown = visible(piece.text, space=marks.space)
        ends = piece.text.endswith("\n")
        if marks.palette is not None:
            yield Text(shown, style=_style(piece, number, marks)), ends
            continue
        before = pieces[number - 1].weight if number else 0.0
        after = pieces[number + 1].weight if number + 1 < len(pieces) else 0.0
        text = Text()
        if piece.weight and piece.weight != before:
            text.append(opening if piece.weight == 1 else f"{opening}×{piece.weight:g}:")
        elif number and not pieces[number - 1].text.endswith("\n"):
            text.append(marks.border)
        text.append(shown)
        if piece.weight and piece.weight != after:
            text.append(closing)
        yield text, ends


def _wrapped(pieces: Iterable[tuple[Text, bool]], width: int) -> Iterator[Text]:
    """Lines that end where the row's lines do, and before a token that does not fit."""
    line, used = Text(), 0
    for text, ends in pieces:
        size = cell_len(text.plain)
        if used and used + size > width:
            yield line
            line, used = Text(), 0
        line.append_text(text)
        used += size
        if ends:
            yield line
            line, used = Text(), 0
    if used:
        yield line


def _style(piece: Piece, number: int, marks: Marks) -> str:
    if marks.palette is None:
        return ""
    palette = marks.palette
    full = palette.trained if piece.weight == 1 else palette.weighted
    return (full if piece.weight else palette.plain)[number % 2] + (
        _SPECIAL if piece.special else ""
    )
