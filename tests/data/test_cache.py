"""The cache: what shaped the rows is in its key, damage is found, a killed writer leaves nothing, two runs share one entry."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from awaited import wait_for
from chat_families import FAMILIES
from factories import make_plan, make_tokenizer

from xtune.data import cache as cache_module
from xtune.data.prepare import Listener, Prepared, prepare
from xtune.errors import DataError

TOKENIZER = make_tokenizer(template=FAMILIES["chatml"].template)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of one test."""
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


def write(path: Path, count: int = 20, answer: str = "yes") -> str:
    rows = [{"prompt": f"q{n:03}", "completion": answer} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def run(
    train: Any, said: list[str] | None = None, tokenizer: Any = TOKENIZER, **data: Any
) -> Prepared:
    plan = make_plan({"data": {"train": train, "max_tokens": 64, **data}, "run": {"seed": 3}})
    listener = Listener(say=(said if said is not None else []).append)
    return prepare(plan, tokenizer, listener=listener)


def rows(prepared: Prepared) -> list[Any]:
    return [
        (s.input_ids.tolist(), s.labels.tolist(), s.weights.tolist(), s.origin)
        for s in prepared.train
    ]


def entries(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if (path / "index.json").exists())


def test_a_second_start_reads_what_the_first_wrote(root: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl")
    first, second = run(source), run(source)
    assert (first.report.from_cache, second.report.from_cache) == (False, True)
    assert rows(first) == rows(second) == rows(run(source, cache=False))
    assert first.report.train == second.report.train
    assert first.report.files == second.report.files
    assert len(entries(root)) == 1


def test_whatever_shapes_the_rows_makes_another_entry(root: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl")
    template = tmp_path / "t.jinja"
    template.write_text("{% for m in messages %}{{ m.content + eos_token }}{% endfor %}")
    other = make_tokenizer(template=FAMILIES["chatml"].template + " ")
    run(source)
    changes: list[dict[str, Any]] = [
        {"train_on": "all"},
        {"train_on": "last"},
        {"prompt_loss_weight": 0.1},
        {"max_tokens": 63},
        {"max_rows": 19},
        {"format": "prompt_completion"},
        {"columns": {"prompt": "prompt", "completion": "completion"}},
        {"template": str(template)},
        {"tokenizer": other},
    ]
    for number, change in enumerate(changes):
        assert not run(source, **change).report.from_cache, change
        assert len(entries(root)) == number + 2
    template.write_text("{% for m in messages %}{{ m.content + ' ' + eos_token }}{% endfor %}")
    assert not run(source, template=str(template)).report.from_cache
    # a split, a limit of losses or the order change which rows are taken, not what they are
    assert run(source, evaluate=0.25, max_dropped=0.5).report.from_cache


@pytest.mark.parametrize("size", [20, 3], ids=["hashed", "small"])
def test_one_changed_byte_is_another_data_set_even_with_the_old_time(
    size: int, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if size == 20:
        monkeypatch.setattr("xtune.data.identity.LARGE_BYTES", 1)
        monkeypatch.setattr("xtune.data.identity._SETTLED_S", 0.0)
    source = Path(write(tmp_path / "a.jsonl", size))
    time.sleep(0.05)
    run(str(source))
    if size == 20:
        assert "a.jsonl" in (root / "fingerprints.json").read_text()
    before = source.stat()
    source.write_bytes(source.read_bytes().replace(b"q001", b"q00X"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = run(str(source))
    assert not changed.report.from_cache
    assert "q00X" in TOKENIZER.decode(changed.train[1].input_ids.tolist())


@pytest.mark.parametrize("name", ["tokens.bin", "runs.bin", "rows.bin", "index.json"])
@pytest.mark.parametrize("damage", ["bit", "cut", "gone"])
def test_damage_is_found_said_and_mended(
    name: str, damage: str, root: Path, tmp_path: Path
) -> None:
    source = write(tmp_path / "a.jsonl")
    whole = rows(run(source))
    (entry,) = entries(root)
    file = entry / name
    raw = bytearray(file.read_bytes())
    if damage == "bit":
        raw[len(raw) // 2] ^= 4
        file.write_bytes(raw)
    elif damage == "cut":
        file.write_bytes(raw[:-4])
    else:
        file.unlink()
    said: list[str] = []
    again = run(source, said)
    assert rows(again) == whole
    assert not again.report.from_cache
    assert "damaged" in said[0]
    assert rows(run(source)) == whole
    assert run(source).report.from_cache


def test_without_the_cache_nothing_stays(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    prepared = run(write(tmp_path / "a.jsonl"), cache=False)
    assert len(rows(prepared)) == 20
    assert not root.exists() or entries(root) == []
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said_and_does_not_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "file"))
    said: list[str] = []
    assert len(rows(run(write(tmp_path / "a.jsonl"), said))) == 20
    assert "cannot be used" in said[0]
    assert "XTUNE_CACHE" in said[0]


def test_the_oldest_go_when_the_cache_is_full(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [write(tmp_path / f"{name}.jsonl") for name in "abc"]
    run(sources[0])
    (first,) = entries(root)
    os.utime(first, (1, 1))
    size = sum(file.stat().st_size for file in first.iterdir())
    monkeypatch.setattr(
        cache_module.Cache.__init__, "__kwdefaults__", {"limit_bytes": 2 * size + 64}
    )
    said: list[str] = []
    run(sources[1], said)
    assert said == []
    run(sources[2], said)
    assert "removed" in said[0]
    assert not first.exists()
    assert len(entries(root)) == 2


def test_two_threads_write_one_entry(root: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", 400)
    results: list[Prepared] = []
    threads = [threading.Thread(target=lambda: results.append(run(source))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries(root)) == 1
    assert rows(results[0]) == rows(results[1]) == rows(results[2])
    assert sum(not result.report.from_cache for result in results) == 1


CHILD = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job has it ignored
import sys
sys.path[:0] = sys.argv[2:]
from factories import make_plan, make_tokenizer
from chat_families import FAMILIES
from xtune.data.prepare import Listener, prepare
tokenizer = make_tokenizer(template=FAMILIES["chatml"].template)
plan = make_plan({"data": {"train": sys.argv[1], "max_tokens": 64, "workers": 3}, "run": {"seed": 3}})
def watch(rows, part):
    print(rows, flush=True)
prepare(plan, tokenizer, listener=Listener(watch=watch))
"""


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_writer_leaves_no_worker_and_no_entry(
    how: signal.Signals, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "a.jsonl", 60_000)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, source, *sys.path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    for _ in range(12):
        assert child.stdout.readline()
    workers = children_of(child.pid)
    assert len(workers) == 2  # and the process itself
    child.send_signal(how)
    assert child.wait(timeout=300) != 0
    child.stdout.close()
    wait_for(lambda: not any(map(is_running, workers)))
    assert entries(root) == []
    # what the kill left is gone once the next run has written
    monkeypatch.setattr(cache_module, "_GRACE_S", 0.0)
    run(write(tmp_path / "b.jsonl"))
    assert list(root.glob(".xtune-writing-*")) == []


def test_a_killed_worker_ends_the_run_with_a_reason(root: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", 60_000)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, source, *sys.path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline()
    workers = children_of(child.pid)
    os.kill(workers[0], signal.SIGKILL)
    _, told = child.communicate(timeout=300)
    assert child.returncode == 1
    assert "A process that encodes rows ended by signal 9" in told
    wait_for(lambda: not any(map(is_running, workers)))
    assert entries(root) == []


def test_workers_give_what_one_process_gives(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", 2_300)
    with Path(source).open("a") as file:
        file.write('{"prompt": "none", "completion": ""}\n' * 3)
    alone = run(source, workers=1, cache=False)
    many = run(source, workers=3, cache=False)
    assert rows(many) == rows(alone)
    assert many.report.train == alone.report.train
    assert many.report.train.dropped["empty answer"].rows == 3


def test_faulty_rows_are_told_from_workers_as_from_one_process(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", 1_200, answer="yes" * 30)
    told = []
    for workers in (1, 2):
        recipe = {"data": {"train": source, "max_tokens": 64, "workers": workers}}
        plan = make_plan(recipe, over_length="refuse")
        with pytest.raises(DataError) as caught:
            prepare(plan, TOKENIZER)
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert "a.jsonl:1 (115 tokens), " in told[0]
    assert "and 497 more" in told[0]
    assert told[0].count("Later rows have such faults, too.") == 1


def test_a_full_disk_is_said_and_leaves_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xtune.data.store.StoreWriter.add", full)
    with pytest.raises(DataError, match="the disk is full"):
        run(write(tmp_path / "a.jsonl"))
    assert [path for path in root.iterdir() if path.is_dir()] == []
    shutil.rmtree(root)
