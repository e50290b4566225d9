"""What trains under the memory of an 8 GB card, measured: xtune's plans, their computed peaks, and what others need.

    python -m benchmarks.gpu [--tables goals,speed] [--out FOLDER]     # about 7 minutes on one H200; ends within 8
    python -m benchmarks.gpu --full-depth                              # every layer of every model; longer
    python -m benchmarks.gpu --tiny                                    # the whole path in toy sizes, on a GPU
    python -m benchmarks.gpu --device cpu                              # the same without one; measures nothing of use
    python -m benchmarks.gpu_page benchmark-gpu --into docs/measured.md   # the results, where they belong

Real shapes, random weights, one sequence repeated. Cells run in processes of their own under a hard limit on torch's
allocator, 8 GiB less 0.8 for context and reserve: running out of memory, a crash or a cell that takes too long is a result,
and spoils nothing after it. While one process measures, the next imports what it needs. Results are written after every
cell, so that a kill loses only the one that ran; where one failed, gpu.json has its traceback. What is missing here (bitsandbytes, Liger, Unsloth) leaves its cells out, and is said.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.gpu_cells import TABLES, Cell, all_cells
from benchmarks.gpu_page import line, page, verdict
from benchmarks.gpu_worker import TRACEBACK
from xtune.durable import write_text

TIME_LIMIT_S = 455.0
"""The whole benchmark, start and end included, ends within 8 minutes; what is left then is recorded as not run."""

GRACE_S = 5.0
ASKING_S = 120.0
"""A driver that has not started by then hangs; on a cold machine the import of torch alone takes half a minute."""

CUBLAS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:2:16:8"}
"""cuBLAS's room for each thread and stream, as it is on cards of 8 GB: 8 MiB. On Hopper it is 32 MiB, one each for the threads of the
forward and the backward pass, which torch's allocator counts: 48 MiB that no such card has (torch's CUDA semantics, cuBLAS workspaces)."""

PACKAGES = (
    "torch", "transformers", "peft", "bitsandbytes", "liger-kernel", "unsloth", "pytorch-optimizer",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and write its two files; returns the exit code."""
    began = time.monotonic()
    options = _parse(arguments)
    found = machine(options.device)
    if found is None:
        print(
            "benchmarks.gpu needs a CUDA device and torch finds none; "
            "`--device cpu` runs the whole path in toy sizes.",
            file=sys.stderr,
        )
        return 2
    cells = [
        replace(cell, fresh=cell.fresh and not options.tiny)
        for cell in all_cells(full_depth=options.full_depth)
        if cell.table in options.tables and options.only in cell.name
    ]
    report: dict[str, Any] = {"machine": found, "options": vars(options)}
    report["cells"] = results = []
    out = Path(options.out)
    try:
        _write(report, out)
    except OSError as error:
        print(f"benchmarks.gpu: {out} cannot be written to: {error.strerror}.", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # workers end too
    left = options.time_limit_s - (time.monotonic() - began)  # finding the device took some of it
    limited = argparse.Namespace(**{**vars(options), "time_limit_s": left})
    with contextlib.closing(measure(cells, limited)) as measured:
        for cell, result in measured:
            results.append({**_kept(cell), **result})
            try:
                _write(report, out)
                print(line(results[-1]), flush=True)
            except Exception:  # noqa: BLE001 - what cannot be shown must not lose the cells that follow
                traceback.print_exc()
    print(*verdict(results), sep="\n")
    print(f"Written: {out / 'gpu.json'}, {out / 'gpu.md'}")
    return 0 if all(each["outcome"] in {"ok", "oom", "not run"} for each in results) else 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--out", default="benchmark-gpu", help="folder for gpu.json and gpu.md")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="toy sizes")
    parser.add_argument("--full-depth", action="store_true", help="every layer of every model")
    parser.add_argument("--tables", type=_tables, default=TABLES, help=", ".join(TABLES))
    parser.add_argument("--only", default="", help="cells whose name contains this")
    parser.add_argument("--time-limit-s", type=float, default=None)
    options = parser.parse_args(arguments)
    options.tiny = options.tiny or options.device == "cpu"
    if options.time_limit_s is None:
        options.time_limit_s = 3600.0 if options.full_depth else TIME_LIMIT_S
    return options


def _tables(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(TABLES)}")
    return names


def _kept(cell: Cell) -> dict[str, Any]:
    names = ("table", "name", "stack", "model", "rank", "capped", "memory", "train")
    fields = cell.to_json()
    return {
        **{name: fields[name] for name in names},
        "asked_tokens": cell.tokens,
        "asked_layers": cell.layers,
    }


def _write(report: dict[str, Any], folder: Path) -> None:
    """The results first: a page can be made of them again (`benchmarks.gpu_page`)."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "gpu.json", json.dumps(report, indent=1) + "\n")
    write_text(folder / "gpu.md", page(report))


class Worker:
    """A process that runs cells, started before it is needed.

    Args:
        folder: For files that cells write.
    """

    def __init__(self, folder: Path) -> None:
        self._closed = False
        self._errors = folder / f"{uuid.uuid4().hex}.err"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                env={**os.environ, **CUBLAS, "XTUNE_CACHE": str(folder / "cache")},
            )

    def run(self, task: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """A cell's result; however the process fares, there is one."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(task).encode() + b"\n")
        except OSError:
            return self._crashed()
        answer, deadline = b"", time.monotonic() + timeout_s
        while not answer.endswith(b"\n"):
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([process.stdout], [], [], left)
            if not ready:
                self.stop()
                return {"outcome": "not run", "detail": f"given up after {timeout_s:.0f} s"}
            part = process.stdout.read(1 << 16)
            if not part:
                return self._crashed()
            answer += part
        return dict(json.loads(answer))

    def _crashed(self) -> dict[str, Any]:
        code = self._process.wait()
        text = self._errors.read_text(encoding="utf-8", errors="replace").strip()
        last = text.splitlines()[-1][:200] if text else "no message"
        return {
            "outcome": "failed",
            "detail": f"exit code {code}: {last}",
            "traceback": text[-TRACEBACK:],
        }

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self._closed:
            return
        self._closed = True
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a driver that hangs keeps it
                self._process.wait(timeout=GRACE_S)
        self._process.stdout.close()


def measure(
    cells: Sequence[Cell], options: argparse.Namespace
) -> Generator[tuple[Cell, dict[str, Any]], None, None]:
    """Run every cell in order, in a process of its own unless it may share one."""
    deadline = time.monotonic() + options.time_limit_s
    with tempfile.TemporaryDirectory(prefix="xtune-gpu-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        worker: Worker | None = None
        spare: Worker | None = Worker(folder) if options.time_limit_s > 0 else None
        try:
            for number, cell in enumerate(cells):
                left = deadline - time.monotonic()
                missing = _missing(cell)
                if left <= 0 or missing:
                    yield cell, {"outcome": "not run", "detail": missing or "out of time"}
                    continue
                if worker is None:
                    worker, spare = spare or Worker(folder), None
                following = cells[number + 1 :]
                if spare is None and following and (cell.fresh or following[0].fresh):
                    spare = Worker(folder)
                task = {
                    "cell": cell.to_json(),
                    "device": options.device,
                    "tiny": options.tiny,
                    "folder": str(folder),
                }
                result = worker.run(task, left if options.tiny else min(left, cell.limit_s))
                yield cell, result
                shares = not cell.fresh and following and not following[0].fresh
                if not (shares and result["outcome"] in {"ok", "wrong"}):
                    worker.stop()
                    worker = None
        finally:
            for each in (worker, spare):
                if each is not None:
                    each.stop()


def _missing(cell: Cell) -> str | None:
    """The package that a cell needs and that is not installed; None: nothing is."""
    optimizer = str(cell.train.get("optimizer", ""))
    eight_bits = optimizer.endswith("8bit") or cell.memory.get("head") == "nf4"
    needs_bits = eight_bits or (bool(cell.rank) and cell.quantized)
    needed = {
        "bitsandbytes": needs_bits,
        "pytorch-optimizer": optimizer.startswith(("galore", "apollo")),
    }
    for name, wanted in needed.items():
        if wanted and not _is_here(name):
            return f"{name} is not installed"
    return None


def _is_here(name: str) -> bool:
    """Whether a package can be imported, installed or only lying on the path; nothing is imported to find out."""
    return importlib.util.find_spec(name.replace("-", "_")) is not None


def _version(name: str) -> str | None:
    """Of a package that can be imported; one without the records of an installation has an unknown one."""
    if not _is_here(name):
        return None
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(version not recorded)"


_ASKING = """
import json, torch
found = {}
if torch.cuda.is_available():
    p = torch.cuda.get_device_properties(0)
    found = dict(device=p.name, device_bytes=p.total_memory, compute_capability=f"{p.major}.{p.minor}", cuda=torch.version.cuda)
print(json.dumps(found))
"""


def machine(device: str) -> dict[str, Any] | None:
    """What is measured on, and with which versions; None: there is no such device.

    Asked of another process: this one keeps away from the device, where its context would count.
    """
    found: dict[str, Any] = {
        "date": date.today().isoformat(),
        "python": sys.version.split()[0],
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "device": "cpu",
    }
    if device == "cuda":
        command = [sys.executable, "-c", _ASKING]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=ASKING_S
            )
        except subprocess.TimeoutExpired:
            print(f"The CUDA driver has not answered for {ASKING_S:.0f} s.", file=sys.stderr)
            return None
        said = done.stdout.strip().splitlines()
        there = json.loads(said[-1]) if done.returncode == 0 and said else {}
        if not there:
            return None
        found.update(there)
    return found


if __name__ == "__main__":
    sys.exit(main())
