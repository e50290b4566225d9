"""Checkpoints are whole or absent: killed savers, damaged files, full disks."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from awaited import wait_for
from hypothesis import given, settings
from hypothesis import strategies as st

from xtune.errors import RunError
from xtune.run.checkpoint import CheckpointStore, TrainingState, verify


def weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "a": torch.randn(7, 5, generator=generator),
        "b": torch.randn(11, generator=generator).to(torch.bfloat16),
    }


def save(store: CheckpointStore, step: int, *, best: int | None = None) -> Path:
    optimizer = {
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3) * step}}, "param_groups": []},
        "scaler": {},
    }
    return store.save(weights(step), optimizer, TrainingState(step=step, best_step=best))


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "c", keep=2)
    save(store, 3)
    back = store.load(3)
    assert all(torch.equal(back.weights[name], tensor) for name, tensor in weights(3).items())
    assert back.weights["b"].dtype == torch.bfloat16
    assert back.state == TrainingState(step=3)
    assert torch.equal(back.optimizer["optimizer"]["state"][0]["exp_avg"], torch.full((3,), 3.0))


def test_only_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "c", keep=2)
    for step in range(1, 7):
        save(store, step, best=2 if step >= 2 else None)
    assert store.steps() == [2, 5, 6]


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "optimizer.pt", "state.json", "manifest.json"]
)
def test_a_missing_file_is_noticed_and_the_one_before_is_used(tmp_path: Path, name: str) -> None:
    store = CheckpointStore(tmp_path / "c", keep=3)
    save(store, 1)
    (save(store, 2) / name).unlink()
    found = store.newest()
    assert found.checkpoint is not None
    assert found.checkpoint.state.step == 1
    assert len(found.damaged) == 1
    assert "step-000002" in found.damaged[0]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_noticed(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = CheckpointStore(tmp_path_factory.mktemp("store"), keep=1)
    path = save(store, 1)
    file = path / data.draw(st.sampled_from(["weights.safetensors", "optimizer.pt", "state.json"]))
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    with pytest.raises(RunError, match="damaged"):
        verify(path)


def test_a_damaged_checkpoint_does_not_push_out_whole_ones(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "c", keep=1)
    damaged = CheckpointStore(tmp_path / "c", keep=5)
    save(damaged, 1)
    (save(damaged, 9) / "optimizer.pt").write_bytes(b"")
    assert store.newest().checkpoint is not None
    save(store, 2)
    assert store.steps() == [2]


def test_leftovers_of_a_killed_save_are_removed(tmp_path: Path) -> None:
    leftover = tmp_path / "c" / ".writing-step-000004"
    leftover.mkdir(parents=True)
    (leftover / "weights.safetensors").write_bytes(b"half")
    store = CheckpointStore(tmp_path / "c", keep=1)
    assert store.steps() == []
    assert not leftover.exists()


def test_saving_the_same_step_again_keeps_the_whole_one(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "c", keep=1)
    before = (save(store, 5) / "manifest.json").stat().st_mtime_ns
    assert (save(store, 5) / "manifest.json").stat().st_mtime_ns == before


def test_a_full_disk_leaves_the_last_checkpoint_whole_and_says_so(tmp_path: Path) -> None:
    # the kernel refuses to let any file of the child grow beyond 64 KiB, as a full disk would
    script = textwrap.dedent(
        """
        import resource, signal, sys, torch
        from pathlib import Path
        from xtune.errors import RunError
        from xtune.run.checkpoint import CheckpointStore, TrainingState
        store = CheckpointStore(Path(sys.argv[1]), keep=1)
        store.save({"a": torch.ones(10)}, {"optimizer": {}}, TrainingState(step=1))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        try:
            store.save({"a": torch.ones(100_000)}, {"optimizer": {}}, TrainingState(step=2))
        except RunError as error:
            print(error)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "c")],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert "larger than this system allows" in done.stdout, done.stderr
    assert "step 1 is whole" in done.stdout
    store = CheckpointStore(tmp_path / "c", keep=1)
    assert store.steps() == [1]
    verify(store.path(1))


def test_a_saver_killed_at_any_moment_leaves_only_whole_checkpoints(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, torch
        from pathlib import Path
        from xtune.run.checkpoint import CheckpointStore, TrainingState
        store = CheckpointStore(Path(sys.argv[1]), keep=2)
        first = max(store.steps(), default=0)
        print("ready", flush=True)
        for step in range(first + 1, first + 100_000):
            store.save({"a": torch.full((200_000,), float(step))}, {"optimizer": {"n": step}}, TrainingState(step=step))
        """
    )
    for round_number in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "c")], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        child.stdout.readline()
        if round_number == 3:  # on a slow disk the earlier ones may have been too short for any
            wait_for(lambda: any((tmp_path / "c").glob("step-*")))
        time.sleep(0.05 + 0.037 * round_number)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        store = CheckpointStore(tmp_path / "c", keep=2)
        for step in store.steps():
            checkpoint = store.load(step)
            assert torch.equal(checkpoint.weights["a"], torch.full((200_000,), float(step)))
    assert store.steps()


def test_a_manifest_that_is_not_json_is_a_damaged_checkpoint_not_a_traceback(
    tmp_path: Path,
) -> None:
    store = CheckpointStore(tmp_path / "c", keep=1)
    path = save(store, 1)
    for content in ("", "[]", "{", json.dumps({"weights.safetensors": 3}), "\x00"):
        (path / "manifest.json").write_text(content)
        with pytest.raises(RunError, match="incomplete"):
            verify(path)
