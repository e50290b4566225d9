"""The GPU benchmark's results as a line for each cell and as a Markdown page. Measures nothing.

python -m benchmarks.gpu_page FOLDER                            # the page again, from FOLDER/gpu.json
python -m benchmarks.gpu_page FOLDER --into docs/measured.md    # between the two marks of that document
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

GIB = 2**30
Result = Mapping[str, Any]

ALLOCATED_WITHIN = 0.05
"""How near the computed peak shall be to `max_memory_allocated`."""

HELD_WITHIN = 0.10
"""How near it shall be, context and reserve included, to what the allocator held and the context."""

BEGIN, END = "<!-- benchmarks.gpu: begin -->", "<!-- benchmarks.gpu: end -->"
"""What stands between them in a document is what was measured last."""

TITLES: Mapping[str, str] = {
    "goals": "Under the memory of an 8 GB card, as xtune plans it",
    "speed": "Nothing offloaded, no limit",
    "rivals": "What others fit into the same memory",
    "techniques": "Each technique beside none of them",
    "loading": "Loading, quantised on the way",
}


def main(arguments: list[str] | None = None) -> int:
    """Print the page of a folder's results, or put it into a document; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_page", description=__doc__.split("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="with gpu.json in it")
    parser.add_argument("--into", type=Path, help="a document with the two marks")
    options = parser.parse_args(arguments)
    try:
        text = page(json.loads((options.folder / "gpu.json").read_text(encoding="utf-8")))
        if options.into is None:
            print(text)
            return 0
        document = filled(options.into.read_text(encoding="utf-8"), text)
        options.into.write_text(document, encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"benchmarks.gpu_page: {error}", file=sys.stderr)
        return 2
    print(f"Written: {options.into}")
    return 0


def filled(document: str, page: str) -> str:
    """A document with a page between its marks, the page's headings three levels down.

    Raises:
        ValueError: It has not both marks, once each and in order.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in before + after:
        raise ValueError(f"the document needs the lines {BEGIN} and {END}, once each")
    lines = [f"###{each}" if each.startswith("#") else each for each in page.strip().splitlines()]
    return "\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"])


def line(result: Result) -> str:
    """A cell in a line, for the person who waits."""
    head = f"{result['table']:<10} {result['stack']:<7} {result['name']}"
    if result["outcome"] not in {"ok", "wrong"}:
        return f"{head}: {result['outcome']}, {result['detail']}"
    parts = [f"{gib(result.get('allocated_bytes'))} GiB allocated"]
    if "predicted_allocated_bytes" in result:
        parts.append(f"{gib(result['predicted_allocated_bytes'])} computed")
    if "losses" in result:
        parts.append(f"{result['tokens_per_s']:.0f} tokens/s, loss {_losses(result)}")
    return f"{head}: {result['outcome']}, {', '.join(parts)}"


def page(report: Result) -> str:
    """All cells as tables of a Markdown page, with the command that repeats them."""
    machine, options = report["machine"], report["options"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    words = ["python -m benchmarks.gpu"]
    words += ["--device cpu"] if options["device"] == "cpu" else []
    words += ["--tiny"] if options["tiny"] and options["device"] != "cpu" else []
    words += ["--full-depth"] if options["full_depth"] else []
    words += [f"--only '{options['only']}'"] if options["only"] else []
    size, cuda = machine.get("device_bytes"), machine.get("cuda")
    lines = [
        f"# {machine['device']}{f', {gib(size)} GiB' if size else ''}, {machine['date']}",
        "",
        f"`{' '.join(words)}`; {packages}, Python {machine['python']}"
        f"{f', CUDA {cuda}' if cuda else ''}.",
        "Real shapes, random weights, batch 1, one sequence repeated"
        f"{'; toy sizes: nothing here is of use' if options['tiny'] else ''}.",
    ]
    lines += ["", *(f"- {each}" for each in verdict(report["cells"]))]
    for table, title in TITLES.items():
        found = [each for each in report["cells"] if each["table"] == table]
        if found:
            lines += ["", f"## {title}", "", *_TABLES[table](found)]
    return "\n".join([*lines, ""])


def verdict(cells: Sequence[Result]) -> list[str]:
    """In a line for each table of ours: how many cells ran with a falling loss, how near the computed bytes are, how fast."""
    lines = []
    for table in ("goals", "speed", "techniques"):
        ours = [each for each in cells if (each["table"], each["stack"]) == (table, "ours")]
        ran = [each for each in ours if each["outcome"] == "ok"]
        if not ours:
            continue
        parts = [f"{table}: {len(ran)} of {len(ours)} ran and their loss fell"]
        allocated = [
            apart(each.get("predicted_allocated_bytes"), each.get("allocated_bytes"))
            for each in ran
        ]
        parts += _within(allocated, ALLOCATED_WITHIN, "allocated")
        if table == "goals":
            whole = [apart(each.get("predicted_peak_bytes"), held(each)) for each in ran]
            parts += _within(whole, HELD_WITHIN, "held and context")
        if table == "speed":
            ratios = [
                f"{ratio:.2f}" for each in ran if (ratio := _of_plain(each, cells)) is not None
            ]
            parts += [f"{' and '.join(ratios)} times plain's speed"] if ratios else []
        lines.append("; ".join(parts))
    for each in cells:
        expected = each["outcome"] == "ok" or (each["outcome"], each["table"]) == ("oom", "rivals")
        if not expected:
            lines.append(f"{each['table']}, {each['stack']}, {each['name']}: {_outcome(each)}")
    return lines


def _within(found: Sequence[float | None], bound: float, what: str) -> list[str]:
    """How many of the computed sizes are as near as they shall be, and the farthest; nothing where none is known."""
    known = [each for each in found if each is not None]
    if not known:
        return []
    near = sum(abs(each) <= bound for each in known)
    return [
        f"computed within {bound:.0%} of {what} in {near} of {len(known)}, {min(known):+.1%} to {max(known):+.1%}"
    ]


def _of_plain(result: Result, cells: Sequence[Result]) -> float | None:
    """A cell's speed by that of plain transformers with the same model; None: one of them is not known."""
    plain = (each for each in cells if (each["table"], each["stack"]) == (result["table"], "plain"))
    beside = next(
        (each.get("tokens_per_s") for each in plain if each["name"] == result["name"]), None
    )
    own = result.get("tokens_per_s")
    return own / beside if own and beside else None


def gib(size: int | None) -> str:
    """Bytes as GiB, for people."""
    return "-" if size is None else f"{size / GIB:.2f}"


def apart(computed: int | None, measured: int | None) -> float | None:
    """By which part the computed bytes are above the measured ones; None: one of them is not known."""
    if not computed or not measured:
        return None
    return computed / measured - 1


def held(result: Result) -> int | None:
    """What the allocator held at most, and what of the device was in use beside it."""
    reserved, outside = result.get("reserved_bytes"), result.get("outside_bytes")
    return None if reserved is None or outside is None else reserved + outside


def _beside(value: float | None, bound: float) -> str:
    """A deviation, bold where it is above its bound."""
    if value is None:
        return "-"
    text = f"{value:+.1%}"
    return text if abs(value) <= bound else f"**{text}**"


def _losses(result: Result) -> str:
    losses = result.get("losses")
    return f"{losses[0]:.3f} to {losses[-1]:.3f}" if losses else "-"


def _speed(result: Result) -> str:
    return f"{result['tokens_per_s']:.0f}" if "tokens_per_s" in result else "-"


def _outcome(result: Result) -> str:
    return f"{result['outcome']}: {result['detail']}" if result["detail"] else result["outcome"]


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(each) for each in cells)} |"


def _head(*names: str, text: int = 1) -> Iterator[str]:
    """A table's head; the first `text` columns hold words, the others numbers."""
    yield _row(*names)
    yield _row(*("---" if number < text else "---:" for number in range(len(names))))


def _goals(results: list[Result]) -> Iterator[str]:
    yield from _head(
        "goal", "techniques", "layers", "allocated GiB", "computed", "apart", "held and context GiB",
        "computed, with reserve", "apart", "at full depth, computed", "tokens/s", "loss", "outcome", text=2,
    )  # fmt: skip
    for each in results:
        allocated, computed = each.get("allocated_bytes"), each.get("predicted_allocated_bytes")
        whole, peak = held(each), each.get("predicted_peak_bytes")
        yield _row(
            each["name"], _techniques_of(each), each.get("layers", "-"), gib(allocated), gib(computed),
            _beside(apart(computed, allocated), ALLOCATED_WITHIN), gib(whole), gib(peak),
            _beside(apart(peak, whole), HELD_WITHIN), gib(each.get("predicted_whole_bytes")),
            _speed(each), _losses(each), _outcome(each),
        )  # fmt: skip
    yield ""
    yield (
        "Allocated: `max_memory_allocated`, of whole steps. Apart: how far the computed bytes lie above the measured ones; bold where "
        f"that is more than {ALLOCATED_WITHIN:.0%}, or {HELD_WITHIN:.0%}. Where fewer layers ran than the model has, what is "
        "computed is for as many; what grows with the depth on the device are adapter, gradients and states, and the base where it "
        "is resident. Speed is that of the layers that ran. Paged states are in neither."
    )


def _techniques_of(result: Result) -> str:
    choices = result.get("choices", {})
    names = ("base", "checkpoints", "embeddings", "head", "optimizer_states")
    found = ["frugal"] if choices.get("frugal_layers") else []
    found += [
        f"{name} {choices[name]}" for name in names if choices.get(name, "device") != "device"
    ]
    found += ["fused step"] if choices.get("fused_step") else []
    return ", ".join([*found, str(choices.get("optimizer", ""))]).strip(", ") or "-"


def _rivals(results: list[Result]) -> Iterator[str]:
    yield from _head(
        "model", "stack", "ran out at tokens", "ran at tokens", "allocated GiB", "tokens/s", "loss", "outcome", text=2
    )  # fmt: skip
    for each in results:
        failed = [f"{count:,}" for count in each.get("out_of_memory_at", [])]
        if each["outcome"] == "oom" and not failed:
            failed = ["every length: the model does not load"]
        ran = f"{each['tokens']:,}" if each["outcome"] == "ok" else "-"
        yield _row(
            each["name"], each["stack"], ", ".join(failed) or "-", ran, gib(each.get("allocated_bytes")),
            _speed(each), _losses(each), _outcome(each),
        )  # fmt: skip


def _speeds(results: list[Result]) -> Iterator[str]:
    yield from _head(
        "model", "stack", "tokens/s", "of plain's", "allocated GiB", "computed", "apart", "loss", "outcome", text=2
    )  # fmt: skip
    for each in results:
        ratio = _of_plain(each, results)
        allocated, computed = each.get("allocated_bytes"), each.get("predicted_allocated_bytes")
        yield _row(
            each["name"], each["stack"], _speed(each), "-" if ratio is None else f"{ratio:.2f}",
            gib(allocated), gib(computed), _beside(apart(computed, allocated), ALLOCATED_WITHIN),
            _losses(each), _outcome(each),
        )  # fmt: skip


def _techniques(results: list[Result]) -> Iterator[str]:
    yield from _head(
        "technique", "allocated GiB", "computed", "apart", "tokens/s", "loss", "outcome"
    )
    for each in results:
        allocated, computed = each.get("allocated_bytes"), each.get("predicted_allocated_bytes")
        yield _row(
            each["name"], gib(allocated), gib(computed), _beside(apart(computed, allocated), ALLOCATED_WITHIN),
            _speed(each), _losses(each), _outcome(each),
        )  # fmt: skip


def _loading(results: list[Result]) -> Iterator[str]:
    yield from _head(
        "model", "stack", "peak GiB", "held afterwards GiB", "host memory grew GiB", "seconds", "outcome", text=2
    )  # fmt: skip
    for each in results:
        seconds = f"{each['seconds_building']:.1f}" if "seconds_building" in each else "-"
        yield _row(
            each["name"], each["stack"], gib(each.get("allocated_bytes")), gib(each.get("held_bytes")),
            gib(each.get("host_growth_bytes")), seconds, _outcome(each),
        )  # fmt: skip


_TABLES: Mapping[str, Callable[[list[Result]], Iterator[str]]] = {
    "goals": _goals,
    "speed": _speeds,
    "rivals": _rivals,
    "techniques": _techniques,
    "loading": _loading,
}


if __name__ == "__main__":
    sys.exit(main())
