"""Streaming: the order is the seed's, a resumed stream goes on exactly, and weights hold."""

import gc
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from awaited import wait_for
from chat_families import FAMILIES
from factories import make_plan, make_tokenizer

from xtune.data import feed as feed_module
from xtune.data.batch import Assembly
from xtune.data.prepare import Prepared, prepare
from xtune.data.stream import Amounts
from xtune.data.stream_batches import StreamBatches
from xtune.data.types import Step
from xtune.errors import DataError

TOKENIZER = make_tokenizer(template=FAMILIES["chatml"].template)


def unsendable() -> Any:
    """A tokenizer with a class of its own that no other process knows."""
    tokenizer = make_tokenizer(template=FAMILIES["chatml"].template)
    kind: Any = type(tokenizer)

    class Own(kind):  # type: ignore[misc]
        def __len__(self) -> int:
            return int(super().__len__())

    tokenizer.__class__ = Own
    return tokenizer


UNSENDABLE = unsendable()
"""Windows are made on a thread for it: quicker to start."""

SMALL = Amounts(first_rows=7, rows=23, chunk_rows=5)
"""Windows of a few rows, so that a short test crosses many."""


def write(path: Path, count: int, letter: str = "q") -> str:
    rows = [{"prompt": f"{letter}{n:03}", "completion": "y" * (1 + n % 9)} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def ready(
    train: Any,
    *,
    packing: bool = False,
    steps: int = 40,
    tokenizer: Any = UNSENDABLE,
    **data: Any,
) -> tuple[Prepared, Any]:
    plan = make_plan(
        {
            "data": {"train": train, "streaming": True, "max_tokens": 64, **data},
            "train": {"max_steps": steps, "batch_size": 4, "learning_rate": 1e-3},
            "run": {"seed": 3},
        },
        packing=packing,
    )
    prepared = prepare(plan, tokenizer)
    assert prepared.stream is not None
    return replace(prepared, stream=replace(prepared.stream, amounts=SMALL)), plan


def batches(prepared: Prepared, plan: Any, **ranks: int) -> StreamBatches:
    assembly = Assembly(micro_batch_size=2, pad_token_id=0, packed=plan.packing.value, **ranks)
    made = prepared.batches(assembly)
    assert isinstance(made, StreamBatches)
    return made


def content(step: Step) -> list[Any]:
    return [
        (
            batch.input_ids.tolist(),
            batch.labels.tolist(),
            batch.position_ids.tolist(),
            batch.origins,
        )
        for batch in step.batches
    ]


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("sources", [1, 2])
def test_a_resumed_stream_goes_on_bit_for_bit_from_every_step(
    packing: bool, sources: int, tmp_path: Path
) -> None:
    train: Any = write(tmp_path / "a.jsonl", 53)
    if sources == 2:
        other = write(tmp_path / "b.jsonl", 17, "p")
        train = [{"source": train, "weight": [0.8, 0.3]}, {"source": other, "weight": [0.2, 0.7]}]
    prepared, plan = ready(train, packing=packing, steps=30)
    whole = batches(prepared, plan)
    expected, positions = [], []
    for index in range(30):
        positions.append(json.loads(json.dumps(whole.position())))
        expected.append(content(whole.step(index)))
    for start in (0, 1, 2, 9, 17, 29):
        resumed = batches(*ready(train, packing=packing, steps=30))
        resumed.resume(start, positions[start])
        for index in range(start, 30):
            assert content(resumed.step(index)) == expected[index]
    replayed = batches(prepared, plan)
    replayed.resume(11, None)
    assert content(replayed.step(11)) == expected[11]


@pytest.mark.parametrize("packing", [False, True])
def test_a_process_of_its_own_makes_the_windows_that_a_thread_makes(
    packing: bool, tmp_path: Path
) -> None:
    train = write(tmp_path / "a.jsonl", 53)
    here = batches(*ready(train, packing=packing))
    there = batches(*ready(train, packing=packing, tokenizer=TOKENIZER))
    assert isinstance(there._feed._maker, feed_module._Remote)
    assert not isinstance(here._feed._maker, feed_module._Remote)
    for index in range(20):
        assert content(there.step(index)) == content(here.step(index))
        assert there.position() == here.position()
    resumed = batches(*ready(train, packing=packing, tokenizer=TOKENIZER))
    resumed.resume(20, json.loads(json.dumps(there.position())))
    assert content(resumed.step(20)) == content(here.step(20))


def test_a_fault_in_the_process_is_told_here_and_so_is_its_death(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", 600)
    with Path(source).open("a") as file:
        file.write('{"prompt": "no answer"}\n')
    stream = batches(*ready(source, steps=200, tokenizer=TOKENIZER))
    with pytest.raises(DataError, match=r"a.jsonl:601"):
        deque(map(stream.step, range(200)), maxlen=0)
    other = batches(*ready(source, steps=200, tokenizer=TOKENIZER))
    maker = other._feed._maker
    assert isinstance(maker, feed_module._Remote)
    os.kill(maker._process.pid, signal.SIGKILL)
    with pytest.raises(DataError, match="ended by signal 9"):
        deque(map(other.step, range(200)), maxlen=0)


def test_the_process_ends_with_what_reads_from_it(tmp_path: Path) -> None:
    """Half-way through a window that takes long, with the whole of it waiting, and when the steps are let go."""
    stream = batches(*ready(write(tmp_path / "a.jsonl", 60), tokenizer=TOKENIZER))
    stream.step(0)
    maker = stream._feed._maker
    assert isinstance(maker, feed_module._Remote)
    process = maker._process
    assert process.poll() is None
    del stream, maker
    gc.collect()
    process.wait(timeout=300)


READS = """
import sys, time
from test_stream import TOKENIZER, batches, ready
stream = batches(*ready(sys.argv[1], tokenizer=TOKENIZER))
if sys.argv[2] == "read":
    stream.step(0)
print(stream._feed._maker._process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("when", ["read", "not yet"])
def test_the_process_ends_when_the_training_is_killed(when: str, tmp_path: Path) -> None:
    folder = Path(__file__).parent
    path = os.pathsep.join([str(folder), str(folder.parent), str(folder.parent / "support"), *sys.path])  # fmt: skip
    source = write(tmp_path / "a.jsonl", 2000)
    training = subprocess.Popen(
        [sys.executable, "-c", READS, source, when],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert training.stdout is not None
    reader = int(training.stdout.readline())
    training.kill()
    training.wait()
    training.stdout.close()
    wait_for(lambda: not _is_alive(reader))


def _is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # nobody here has to collect it


def test_every_row_comes_once_a_pass_and_the_seed_decides_where(tmp_path: Path) -> None:
    prepared, plan = ready(write(tmp_path / "a.jsonl", 60), steps=30)
    stream = batches(prepared, plan)
    rows = [origin.row for index in range(30) for origin in stream.step(index).origins]
    # passes of 60 rows meet inside windows of 23, so at most a window's rows are another pass's
    counts = Counter(rows)
    assert sum(counts.values()) == 120
    assert set(counts) == set(range(60))
    assert max(counts.values()) <= 3
    assert rows != sorted(rows)
    assert stream.epoch(30) >= 1


@pytest.mark.parametrize("packing", [False, True])
def test_the_ranks_together_read_what_one_process_reads(packing: bool, tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", 40)
    alone = batches(*ready(train, packing=packing))
    ranks = [batches(*ready(train, packing=packing), rank=rank, world_size=2) for rank in (0, 1)]
    for index in range(12):
        whole, parts = alone.step(index), [one.step(index) for one in ranks]
        assert {part.loss_weight for part in parts} == {whole.loss_weight}
        read = sorted(o.row for part in parts for batch in part.batches for o in batch.origins)
        assert read == sorted(origin.row for origin in whole.origins)


def test_weights_hold_at_every_step(tmp_path: Path) -> None:
    train = [
        {"source": write(tmp_path / "a.jsonl", 30), "weight": 3},
        {"source": write(tmp_path / "b.jsonl", 20, "p"), "weight": 1},
    ]
    stream = batches(*ready(train))
    for index in range(30):
        names = Counter(Path(origin.source).name for origin in stream.step(index).origins)
        assert names == {"a.jsonl": 3, "b.jsonl": 1}


def test_packs_are_isolated_and_full(tmp_path: Path) -> None:
    stream = batches(*ready(write(tmp_path / "a.jsonl", 200), packing=True))
    step = stream.step(0)
    assert max(batch.input_ids.shape[1] for batch in step.batches) <= 64
    for batch in step.batches:
        firsts = batch.position_ids == 0
        assert torch.all(batch.labels[firsts] == -100)


def test_the_report_is_of_the_first_rows_and_names_the_whole_files(tmp_path: Path) -> None:
    prepared, _ = ready(write(tmp_path / "a.jsonl", 900))
    assert prepared.report.streaming
    assert len(prepared.report.files[0].sha256) == 64
    assert prepared.report.train.rows_read == 500
    assert any("streamed while training" in line for line in prepared.report.lines())


def test_a_faulty_row_is_named_when_it_is_reached(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", 600)
    with Path(source).open("a") as file:
        file.write('{"prompt": "no answer"}\n')
    stream = batches(*ready(source, steps=200))
    with pytest.raises(DataError, match=r"a.jsonl:601"):
        deque(map(stream.step, range(200)), maxlen=0)


def test_a_resumed_stream_tells_a_byte_that_was_changed_in_what_it_read(tmp_path: Path) -> None:
    source = Path(write(tmp_path / "a.jsonl", 3000))
    stream = batches(*ready(str(source), steps=900))
    deque(map(stream.step, range(500)), maxlen=0)  # 2,000 rows, which is behind those of the format
    position = json.loads(json.dumps(stream.position()))
    text = source.read_text()
    changed = text.replace('"q150"', '"Q150"')
    assert len(changed) == len(text) != len(text.replace('"q150"', ""))
    source.write_text(changed)
    resumed = batches(*ready(str(source), steps=900))
    resumed.resume(500, position)
    with pytest.raises(DataError, match=r"bytes were changed since they were read.*a\.jsonl"):
        resumed.step(500)


def test_a_byte_changed_behind_the_position_is_told_at_the_end_of_the_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the first pass nobody has seen that byte before; from the second on, the sum of the whole file is known."""
    monkeypatch.setattr("xtune.data.streams.PIECE_BYTES", 4096)
    source = Path(write(tmp_path / "a.jsonl", 3000))
    stream = batches(*ready(str(source), steps=3000))
    deque(map(stream.step, range(800)), maxlen=0)
    position = stream.position()
    assert position["sources"][0]["pass"] == 1
    assert position["sources"][0]["mark"][2] < source.stat().st_size - 4096
    assert position["sources"][0]["sums"] == {"0": hashlib.sha256(source.read_bytes()).hexdigest()}
    source.write_text(source.read_text().replace('"q2900"', '"Q2900"'))
    resumed = batches(*ready(str(source), steps=3000))
    resumed.resume(800, position)
    with pytest.raises(DataError, match=r"changed while it was trained on.*a\.jsonl"):
        deque(map(resumed.step, range(800, 1600)), maxlen=0)


def test_a_large_file_is_known_by_its_size_and_samples_and_when_it_was_written(
    tmp_path: Path,
) -> None:
    """What is caught by the fingerprint alone: size, and a byte of a sampled block; the time tells of the others."""
    source = Path(write(tmp_path / "a.jsonl", 60_000))
    data = source.read_bytes()
    size = len(data)
    assert size > 2 << 20

    def found(content: bytes) -> Any:
        source.write_bytes(content)
        return ready(str(source))[0].report.files[0]

    before = found(data)
    assert before.bytes == size
    assert before.written_ns == source.stat().st_mtime_ns
    in_block = found(data.replace(b'"q000"', b'"Q000"', 1))
    assert in_block.sha256 != before.sha256
    in_last_block = found(data[:-3] + b"Y" + data[-2:])
    assert in_last_block.sha256 not in {before.sha256, in_block.sha256}
    longer = found(data + b"\n")
    assert longer.sha256 != before.sha256
    between = (
        100_000  # the first block ends at 65,536, and the second begins at a fifteenth of the file
    )
    assert 65_536 < between < (size - 65_536) // 15
    unseen = found(data[:between] + bytes([data[between] ^ 1]) + data[between + 1 :])
    assert unseen.sha256 == before.sha256
    assert unseen.written_ns != before.written_ns


def test_a_source_that_gives_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "a", "completion": ""}\n' * 20)
    with pytest.raises(DataError, match="were dropped"):
        ready(str(path))


def test_epochs_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"`train\.epochs` is not known"):
        make_plan(
            {
                "data": {"train": "a.jsonl", "streaming": True},
                "train": {"max_steps": 3, "epochs": 1.0, "learning_rate": 1e-3},
            }
        )
