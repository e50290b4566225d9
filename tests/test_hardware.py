"""`xtune.hardware` against the operating system's own words, and hand-written machines."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from xtune.errors import HardwareError
from xtune.hardware import (
    BFLOAT16_CPU_FLAGS,
    Hardware,
    Launch,
    cgroup_limits,
    cpu_flags,
    detect,
    environment_facts,
    git_commit,
    hub_is_offline,
    installed_packages,
    launch,
    package_version,
    prepare_allocator,
)


def test_cpu_is_found_with_the_cores_of_the_affinity_and_no_more_memory_than_installed() -> None:
    found = detect("cpu")
    assert found.device == "cpu"
    assert found.vram_bytes == 0
    mask = next(
        line.split(":")[1].strip().replace(",", "")
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("Cpus_allowed:")
    )
    assert found.cpu_count == int(mask, 16).bit_count()
    total = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal")
    )
    assert 0 < found.ram_bytes <= total * 1.001


def test_bfloat16_on_this_cpu_agrees_with_torch() -> None:
    import torch

    expected = (
        torch.cpu._is_avx512_bf16_supported()
        or torch.cpu._is_amx_tile_supported()
        or "bf16" in cpu_flags()
    )
    assert detect("cpu").has_bfloat16 == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu avx512f avx512_bf16\n", True),
        ("processor : 0\nflags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("processor : 0\nflags\t\t: fpu avx2 avx512f\n", False),
        ("processor : 0\nFeatures\t: fp asimd bf16 i8mm\n", True),
        ("", False),
    ],
)
def test_bfloat16_needs_its_instructions(text: str, expected: bool) -> None:
    assert bool(cpu_flags(text) & BFLOAT16_CPU_FLAGS) == expected


def test_named_device_that_torch_cannot_use_names_what_can_be_used() -> None:
    import torch

    if torch.backends.mps.is_available():
        pytest.skip("this machine has Metal")
    with pytest.raises(HardwareError, match=r"`mps` cannot be used here; torch finds .*cpu"):
        detect("mps")


def test_unknown_device_lists_those_that_exist() -> None:
    with pytest.raises(
        HardwareError, match="no device `tpu`; allowed are auto, cpu, cuda, mps, xpu"
    ):
        detect("tpu")


def test_environment_variable_chooses_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XTUNE_DEVICE", "cpu")
    assert detect().device == "cpu"
    monkeypatch.setenv("XTUNE_DEVICE", "abacus")
    with pytest.raises(HardwareError, match="abacus"):
        detect()


def test_launch_is_one_process_without_torchrun() -> None:
    assert launch({}) == Launch(rank=0, local_rank=0, world_size=1)


def test_launch_reads_what_torchrun_sets() -> None:
    found = launch({"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8"})
    assert found == Launch(rank=5, local_rank=1, world_size=8)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "two", "WORLD_SIZE": "4"}, "RANK is 'two'"),
        ({"RANK": "-1", "WORLD_SIZE": "4"}, "RANK is '-1'"),
        ({"RANK": "4", "WORLD_SIZE": "4"}, "RANK is 4 and WORLD_SIZE is 4"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is 0"),
        ({"LOCAL_RANK": "¹"}, "LOCAL_RANK"),
    ],
)
def test_impossible_launch_variables_are_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(HardwareError, match=message):
        launch(environment)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"HF_HUB_OFFLINE": "0"}, False),
        ({"HF_HUB_OFFLINE": "1"}, True),
        ({"TRANSFORMERS_OFFLINE": "yes"}, True),
    ],
)
def test_offline_variables_are_understood(environment: dict[str, str], expected: bool) -> None:
    assert hub_is_offline(environment) == expected


def test_container_limit_of_either_cgroup_version_is_seen(tmp_path: Path) -> None:
    root, membership = tmp_path / "cgroup", tmp_path / "self"
    (root / "job" / "step").mkdir(parents=True)
    (root / "memory.max").write_text("max\n")
    (root / "job" / "memory.max").write_text("8589934592\n")
    (root / "job" / "step" / "memory.max").write_text("max\n")
    membership.write_text("0::/job/step\n")
    assert cgroup_limits(root, membership) == [8 * 2**30]

    (root / "memory").mkdir()
    (root / "memory" / "memory.limit_in_bytes").write_text("1073741824\n")
    membership.write_text("4:cpu,memory:/not/visible/here\n")
    assert cgroup_limits(root, membership) == [2**30]


def test_no_cgroup_means_no_limit(tmp_path: Path) -> None:
    assert cgroup_limits(tmp_path, tmp_path / "missing") == []


def test_packages_are_found_without_importing_them() -> None:
    code = (
        "import sys; from xtune.hardware import installed_packages, environment_facts;"
        "found = installed_packages(); environment_facts();"
        "print('bitsandbytes' in found, 'bitsandbytes' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "False"]
    assert "bitsandbytes" in installed_packages()


def test_facts_hold_the_versions_that_the_packages_give_themselves() -> None:
    import torch
    import transformers

    facts = environment_facts()
    # torch adds "+cu130" to what it says itself, not always to what it is installed as
    assert facts["packages"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert facts["packages"]["transformers"] == transformers.__version__
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert package_version("no-such-distribution") is None


def test_facts_hold_no_environment_variable_and_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_a_secret_that_must_not_travel")
    monkeypatch.setenv("HOME", "/a-home-that-must-not-travel")
    monkeypatch.setenv("USER", "a-name-that-must-not-travel")
    text = json.dumps(environment_facts())
    assert "hf_a_secret" not in text
    assert "must-not-travel" not in text


def test_commit_is_that_of_git_and_says_whether_files_changed(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *words],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert git_commit(tmp_path) is None
    git("init", "-q")
    assert git_commit(tmp_path) is None
    (tmp_path / "a.txt").write_text("one")
    git("add", "a.txt")
    git("commit", "-q", "-m", "first")
    assert git_commit(tmp_path) == {"sha": git("rev-parse", "HEAD"), "changed": False}
    (tmp_path / "a.txt").write_text("two")
    assert git_commit(tmp_path) == {"sha": git("rev-parse", "HEAD"), "changed": True}


def test_hardware_of_another_machine_can_be_written_by_hand() -> None:
    card = Hardware(
        device="cuda", name="RTX 3060", vram_bytes=12 * 2**30, ram_bytes=2**34, cpu_count=8
    )
    assert card.vram_free_bytes is None
    assert not card.is_rocm


def test_the_allocator_is_set_up_unless_the_person_did() -> None:
    ours: dict[str, str] = {}
    prepare_allocator(ours)
    if platform.system() == "Linux":
        assert ours == {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        theirs = {name: "max_split_size_mb:128"}
        prepare_allocator(theirs)
        assert theirs == {name: "max_split_size_mb:128"}
