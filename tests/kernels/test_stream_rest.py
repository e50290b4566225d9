"""Layers in files: written once, whole or not there, used again when they match, and an end with one clear sentence."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from xtune.errors import RunError
from xtune.kernels.stream_pack import ALIGNMENT, PackedLayer
from xtune.kernels.stream_rest import DiskRest


def layer(seed: int = 0, size: int = 48) -> nn.Module:
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(size, 33), nn.LayerNorm(33)).to(torch.bfloat16)
    return made.requires_grad_(False)


def digest_of(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def test_a_packed_layer_comes_back_bit_for_bit_and_aligned() -> None:
    made = layer()
    expected = {name: each.clone() for name, each in made.state_dict().items()}
    packed = PackedLayer(made)
    flat = torch.empty(packed.nbytes, dtype=torch.uint8)
    packed.gather(flat)
    packed.point(packed.views(flat))
    assert packed.points_to(packed.views(flat))
    assert all(torch.equal(made.state_dict()[name], each) for name, each in expected.items())
    assert all((each.data_ptr() - flat.data_ptr()) % ALIGNMENT == 0 for each in made.parameters())
    # 48 x 33, 33, 33 and 33 numbers of two bytes
    assert packed.nbytes == 3328 + 3 * 256


def test_a_second_run_uses_the_first_ones_files(tmp_path: Path) -> None:
    first, second = DiskRest(tmp_path), DiskRest(tmp_path)
    packed = PackedLayer(layer())
    first.keep(packed)
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns, path.stat().st_ino
    found = second.keep(PackedLayer(layer()))
    assert (first.written_bytes, first.reused_bytes) == (packed.nbytes, 0)
    assert (second.written_bytes, second.reused_bytes) == (0, packed.nbytes)
    assert path.stat().st_ino == written[1]
    assert found.flat.numpy().tobytes() == path.read_bytes()


@pytest.mark.parametrize("damage", ["a changed byte", "a lost end"])
def test_a_damaged_file_is_written_again(damage: str, tmp_path: Path) -> None:
    DiskRest(tmp_path).keep(PackedLayer(layer()))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] if damage == "a lost end" else whole[:99] + b"?" + whole[100:])
    rest = DiskRest(tmp_path)
    rest.keep(PackedLayer(layer()))
    assert path.read_bytes() == whole
    assert rest.reused_bytes == 0


def test_writing_into_a_layer_at_rest_changes_no_file(tmp_path: Path) -> None:
    made = layer()
    packed = PackedLayer(made)
    packed.point(packed.views(DiskRest(tmp_path).keep(packed).flat))
    (path,) = tmp_path.iterdir()
    for parameter in made.parameters():
        parameter.zero_()
    assert digest_of(path) == path.stem


def test_a_file_that_loses_its_end_while_it_is_used_is_an_error_in_words(tmp_path: Path) -> None:
    resting = DiskRest(tmp_path).keep(PackedLayer(layer()))
    (path,) = tmp_path.iterdir()
    os.truncate(path, 1000)
    with pytest.raises(RunError, match=r"has lost its end: 1000 of 4096 bytes are left"):
        resting.ready(torch.empty(4096, dtype=torch.uint8))


def test_a_refused_write_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(
            RunError, match=r"could not be written to .*: the disk is full\."
        ) as got:
            DiskRest(tmp_path / "layers").keep(PackedLayer(layer()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "XTUNE_CACHE" in str(got.value)
    assert list((tmp_path / "layers").iterdir()) == []


WRITER = """
import sys, torch
from pathlib import Path
from torch import nn
from xtune.kernels.stream_pack import PackedLayer
from xtune.kernels.stream_rest import DiskRest
rest = DiskRest(Path(sys.argv[1]))
for seed in range(1000):
    torch.manual_seed(seed)
    rest.keep(PackedLayer(nn.Linear(1500, 1500).requires_grad_(False)))
"""


def test_a_kill_while_writing_leaves_nothing_that_passes_for_a_layer(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
    try:
        for wanted in range(3, 40, 9):
            while child.poll() is None and len(list(tmp_path.glob("*.layer"))) < wanted:
                time.sleep(0.002)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    layers = list(tmp_path.glob("*.layer"))
    assert len(layers) >= 3
    assert all(digest_of(path) == path.stem for path in layers)


def test_what_a_killed_run_was_writing_goes_also_where_nothing_is_left_to_write(
    tmp_path: Path,
) -> None:
    DiskRest(tmp_path).keep(PackedLayer(layer()))
    (tmp_path / ".writing-killed").write_bytes(b"half a layer")
    (tmp_path / ".writing-alive").write_bytes(b"half a layer")
    os.utime(tmp_path / ".writing-killed", (0, 0))
    rest = DiskRest(tmp_path)  # an hour later; the other file was begun a moment ago
    rest.keep(PackedLayer(layer()))
    assert rest.written_bytes == 0
    assert [each.name for each in tmp_path.glob(".writing-*")] == [".writing-alive"]
