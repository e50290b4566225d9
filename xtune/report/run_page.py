"""Writes a run as one HTML page: what was asked, decided and fed, how it went, what it answers. It reads and decides nothing."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from xtune.durable import write_text
from xtune.errors import RunError
from xtune.report.chart import Chart, Curve
from xtune.report.html import lines_html, page_html, table_html, text_html
from xtune.report.pace import bytes_text
from xtune.report.picture import Series
from xtune.report.run_files import RunFiles, Sample, is_finite
from xtune.report.task_results import read_task_results

REPORT = "report.html"

SAMPLES = 9
"""Answers that are shown; three of each fate if there are so many."""

LONGEST_RECIPE = 20_000
"""Characters of a recipe that are shown."""

LOG_FALL = 30
"""A loss that falls to less than this part is drawn on a logarithmic axis."""

MEASURES = {
    "loss": "loss (nats per trained token)",
    "perplexity": "perplexity",
    "exact_match": "exact match",
    "json_match": "same JSON",
    "rows": "rows",
    "answers_cut": "answers cut off",
}
"""Measures with names of their own; others go by their keys."""

UNSAID = frozenset({"loss_weight", "answers", "dropped"})
"""What evaluation.json has for programs."""


def write_report(run_folder: Path, path: Path | None = None) -> Path:
    """Write the page.

    Args:
        run_folder: The run.
        path: The file; default: RUN/report.html.

    Raises:
        RunError: There is no run in the folder, or the page cannot be written.
    """
    files = RunFiles.read(run_folder)
    target = path or run_folder / REPORT
    page = report_html(files)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, page)
    except OSError as error:
        raise RunError(
            f"{target} could not be written: {error.strerror or error}.",
            advice="Name another file with --out.",
        ) from error
    return target


def report_html(files: RunFiles) -> str:
    """The whole page."""
    recipe = lines_html(files.recipe_text, LONGEST_RECIPE)
    sections = [
        ("curves", "Curves", _curves(files)),
        ("answers", "Answers before and after", _answers(files)),
        ("evaluation", "Evaluation", _evaluation(files)),
        ("data", "Data", _data(files)),
        ("plan", "Plan", _plan(files)),
        ("recipe", "Recipe", f'<div class="code"><pre>{recipe}</pre></div>'),
        ("environment", "Environment", _environment(files)),
    ]
    links = "".join(f'<a href="#{key}">{name}</a>' for key, name, _ in sections)
    body = "".join(
        f'<section id="{key}"><h2>{name}</h2>\n{content}</section>\n'
        for key, name, content in sections
    )
    name = files.folder.resolve().name
    return page_html(
        title=name,
        body=f"{_top(files, name)}<nav>{links}</nav>\n<main>\n{body}</main>\n"
        f'<footer class="quiet">Made by xtune from the folder of the run; nothing on this page comes from a network.</footer>',
    )


def _top(files: RunFiles, name: str) -> str:
    good = files.state in {"finished", "stopped_early", "out_of_time"}
    css = "good" if good else "bad" if files.state in {"failed", "diverged"} else "quiet"
    facts = "".join(
        f"<div><dt>{text_html(label)}</dt><dd><bdi>{text_html(value)}</bdi></dd></div>"
        for label, value in files.facts()
    )
    damaged = "".join(
        f'<p class="bad">{text_html(name)} is damaged and was left out.</p>'
        for name in files.damaged
    )
    return (
        f'<header><h1><bdi>{text_html(name)}</bdi></h1><p><span class="state {css}">{text_html(files.state_text)}</span></p>'
        f'{damaged}<dl class="facts">{facts}</dl></header>\n'
    )


def _curves(files: RunFiles) -> str:
    charts = "".join(chart.svg() for chart in _charts(files))
    return f'<div class="charts">{charts}</div>' if charts else _none("No step was recorded yet.")


def _charts(files: RunFiles) -> Iterator[Chart]:
    steps, losses = zip(*files.losses, strict=True) if files.losses else ((), ())
    smooth = Series([*steps], [*losses], [], [], 0.0).smoothed() if steps else []
    # a loss that falls to a hundredth lies on the axis otherwise
    log = bool(smooth) and 0 < min(smooth) < max(smooth) / LOG_FALL
    yield Chart(
        title="Loss (nats per token)",
        curves=(
            Curve(files.losses, "faint"),
            Curve(list(zip(steps, smooth, strict=True)), "main", "training"),
            Curve(files.held_out, "second", "held out" if files.held_out else "", dots=True),
        ),
        x_label="optimizer step",
        log_y=log,
    )
    for key, title, log_y in (
        ("learning_rate", "Learning rate", False),
        ("grad_norm", "Gradient norm, before clipping", True),
        ("tokens_per_s", "Tokens per second", False),
    ):
        points = files.series(key)
        if points:
            css = "main" if key == "learning_rate" else "faint"
            median = Series([*range(len(points))], [y for _, y in points], [], [], 0.0).smoothed()
            smoothed = [(x, y) for (x, _), y in zip(points, median, strict=True)]
            curves = [Curve(points, css)]
            if css == "faint":
                curves.append(Curve(smoothed, "main"))
            yield Chart(title=title, curves=curves, x_label="optimizer step", log_y=log_y)


def _answers(files: RunFiles) -> str:
    samples = files.samples(SAMPLES)
    if not samples:
        return _none("No answers were written yet. To have some: xtune evaluate RUN")
    return "".join(map(_sample, samples))


def _sample(sample: Sample) -> str:
    css = "good" if sample.after_right else "bad"
    before, after = ("good" if right else "bad" for right in (sample.before_right, sample.after_right))  # fmt: skip
    return (
        f'<article><h3><span class="{css}">{sample.fate}</span><bdi>{text_html(sample.origin)}</bdi></h3><div class="answers">'
        f"{_answer('prompt', sample.prompt, 'whole')}{_answer('expected', sample.expected, 'whole')}"
        f"{_answer('base model', sample.before, before)}{_answer('tuned', sample.after, after)}</div></article>\n"
    )


def _answer(name: str, text: str, css: str) -> str:
    where = ' class="whole"' if css == "whole" else ""
    colour = f' class="{css}"' if css != "whole" else ""
    shown = lines_html(text) or '<span class="quiet">(nothing)</span>'
    return f'<div{where}><b>{name}</b><pre dir="auto"{colour}>{shown}</pre></div>'


def _evaluation(files: RunFiles) -> str:
    before, after = (_mapping(files.evaluation.get(side)) for side in ("before", "after"))
    rows = [
        (MEASURES.get(key, key.replace("_", " ")), _measure(before.get(key)), _measure(value))
        for key, value in after.items()
        if key not in UNSAID and _measure(value)
    ]
    tasks = _tasks(files)
    if not rows:
        return tasks or _none("It was not evaluated yet. To do so: xtune evaluate RUN")
    table = _intervals(files) + table_html(("measure", "base model", "tuned"), rows)
    fixed, broken = files.evaluation.get("fixed"), files.evaluation.get("broken")
    notes = [str(note) for note in _sequence(files.evaluation.get("notes"))]
    if isinstance(fixed, int) and isinstance(broken, int) and after.get("answers"):
        notes.insert(0, f"Rows that training fixed: {fixed:,}; that it broke: {broken:,}.")
    notes.append("A number behind \N{PLUS-MINUS SIGN} is one standard error.")
    return table + "".join(f'<p class="note">{text_html(note)}</p>' for note in notes) + tasks


def _tasks(files: RunFiles) -> str:
    """The last result of every task that the run was asked."""
    found, damaged = read_task_results(files.folder)
    rows = [
        (
            f"{one.task} {one.language}",
            one.measure,
            one.how,
            f"{one.questions:,}",
            *map(_interval, (one.base, one.tuned, one.difference)),
            one.verdict,
        )
        for one in found
    ]
    head = (
        "task",
        "measure",
        "asked",
        "questions",
        "base model",
        "tuned",
        "difference, 95 % interval",
        "verdict",
    )
    table = f"<h3>Tasks</h3>{table_html(head, rows, css='wide')}" if rows else ""
    said = f"Damaged and left out: {', '.join(damaged)}."
    return table + (f'<p class="note">{text_html(said)}</p>' if damaged else "")


def _intervals(files: RunFiles) -> str:
    """Measures with bootstrap intervals, where the evaluation has them."""
    rows = []
    for name, measure in _mapping(files.evaluation.get("measures")).items():
        parts = [_mapping(_mapping(measure).get(key)) for key in ("base", "tuned", "difference")]
        if all(is_finite(part.get("value")) for part in parts):
            verdict = _mapping(measure).get("verdict", "")
            rows.append((str(name), *map(_interval, parts), str(verdict)))
    head = ("measure", "base model", "tuned", "difference, 95 % interval", "verdict")
    return table_html(head, rows, css="wide") + ("<p></p>" if rows else "")


def _interval(part: Mapping[str, Any]) -> str:
    low, high = part.get("low"), part.get("high")
    beside = f" ({low:.4g} to {high:.4g})" if is_finite(low) and is_finite(high) else ""
    return f"{part['value']:.4g}{beside}"


def _measure(value: Any) -> str:
    """A number of evaluation.json as text; "" for what is none."""
    if isinstance(value, Mapping):
        if not is_finite(value.get("value")):
            return ""
        error = value.get("standard_error")
        beside = f" \N{PLUS-MINUS SIGN} {error:.1%}" if is_finite(error) else ""
        return f"{value['value']:.1%}{beside}"
    if not is_finite(value):
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _data(files: RunFiles) -> str:
    sets = [
        (label, part)
        for label, key in (("training", "train"), ("held out", "evaluate"))
        if (part := _mapping(files.data.get(key)))
    ]
    if not sets:
        return _none("Nothing is known of the data.")
    counts = [
        (
            label,
            f"{_count(part, 'rows_kept')} of {_count(part, 'rows_read')}",
            f"{_count(part, 'trained_tokens')} of {_count(part, 'tokens')}",
            _drops(part),
            _count(_mapping(part.get("duplicates")), "rows"),
        )
        for label, part in sets
    ]
    files_read = [
        (
            str(file.get("name", "")),
            str(file.get("format", "")),
            _count(file, "rows"),
            _size(file.get("bytes")),
            str(file.get("sha256", ""))[:16],
        )
        for file in _sequence(files.data.get("files"))
        if isinstance(file, Mapping)
    ]
    heads = ("set", "rows used", "tokens in the loss", "rows left out", "repeated")
    parts = [
        table_html(heads, counts, css="wide"),
        *(_lengths(label, part) for label, part in sets),
        "<h3>Files</h3>",
        table_html(("file", "format", "rows", "size", "SHA-256, first 16"), files_read, css="wide"),
    ]
    also = files.data.get("evaluation_rows_also_trained")
    if isinstance(also, int) and also:
        parts.append(f'<p class="bad">{also:,} held-out rows are training rows too.</p>')
    return "".join(parts)


def _lengths(label: str, part: Mapping[str, Any]) -> str:
    """How long the sequences are: the percentiles, and a bar for each power of two."""
    lengths = _mapping(part.get("lengths"))
    bins = [
        (int(pair[0]), int(pair[1]))
        for pair in _sequence(part.get("histogram"))
        if len(_sequence(pair)) == 2 and all(map(is_finite, pair))
    ]
    if not lengths or not bins:
        return ""
    said = ", ".join(f"{name} {value:,}" for name, value in lengths.items() if is_finite(value))
    most = max(count for _, count in bins) or 1
    bars = "".join(
        f'<span>up to {upper:,}</span><span>{count:,}</span><i style="width:{100 * count / most:.1f}%"></i>'
        for upper, count in bins
    )
    return f'<h3>Tokens of a sequence, {label}</h3><p class="note">{text_html(said)}</p><div class="bars">{bars}</div>'


def _drops(part: Mapping[str, Any]) -> str:
    dropped = _mapping(part.get("dropped"))
    return ", ".join(f"{_count(_mapping(count), 'rows')} {why}" for why, count in dropped.items()) or "none"  # fmt: skip


def _plan(files: RunFiles) -> str:
    rows = [
        (str(name).replace("_", " "), _value(choice.get("value")), str(choice.get("reason", "")))
        for name, choice in _mapping(files.plan.get("choices")).items()
        if isinstance(choice, Mapping)
    ]
    if not rows:
        return _none("There is no plan.")
    memory = _memory(_mapping(files.plan.get("predicted_bytes")))
    notes = "".join(f'<p class="note">{text_html(str(note))}</p>' for note in _sequence(files.plan.get("notes")))  # fmt: skip
    return table_html(("what", "decided", "why"), rows, css="wide") + memory + notes


def _memory(predicted: Mapping[str, Any]) -> str:
    """The computed memory of a step, item by item."""
    items = [
        (str(name), value)
        for name, value in predicted.items()
        if is_finite(value) and value > 0 and name != "peak"
    ]
    if not items:
        return ""
    most = max(value for _, value in items)
    bars = "".join(
        f'<span>{text_html(name.replace("_", " "))}</span><span>{bytes_text(int(value))}</span><i style="width:{100 * value / most:.1f}%"></i>'
        for name, value in items
    )
    peak = predicted.get("peak")
    said = f", {bytes_text(int(peak))} at its peak" if is_finite(peak) else ""
    return f'<h3>Computed memory of a step{said}</h3><div class="bars">{bars}</div>'


def _environment(files: RunFiles) -> str:
    facts = files.environment
    rows = [
        (name, str(facts[name]))
        for name in ("python", "platform", "processor", "device", "commit")
        if isinstance(facts.get(name), str)
    ]
    rows += [(str(name), str(version)) for name, version in _mapping(facts.get("packages")).items()]
    return table_html(("", "version"), rows) or _none("Not recorded.")


def _none(text: str) -> str:
    return f'<p class="quiet">{escape(text)}</p>'


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _size(count: Any) -> str:
    if not isinstance(count, int):
        return ""
    return bytes_text(count) if count >= 2**20 else f"{count / 1024:.0f} KiB"


def _count(part: Mapping[str, Any], key: str) -> str:
    value = part.get(key)
    return f"{value:,}" if isinstance(value, int) else "?"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
