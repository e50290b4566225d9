"""What a plan puts on disk is held to what is free there."""

import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from machines import LLAMA_7B, gpu, make_recipe

from xtune.api_plan import Target, plan
from xtune.errors import HardwareError
from xtune.hardware import Disks, Hardware, disks_here
from xtune.memory import GIB
from xtune.plan import resolve
from xtune.plan.assess import assess

TOKENS = 16384

LAYER_WEIGHTS = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
LAYERS = LAYER_WEIGHTS // 2 + LAYER_WEIGHTS // 64 + LAYER_WEIGHTS // 64 // 256 * 4
"""Llama-2-7B in NF4: half a byte a weight, a byte for 64 and four for 64 times 256 of them."""

INPUTS = 32 * TOKENS * 4096 * 2

ADAPTER = 16 * 32 * (4 * (4096 + 4096) + 3 * (4096 + 11008))
RUN = (2 + 2) * (4 + 8) * ADAPTER + 4 * ADAPTER
"""Two checkpoints kept, the best one, one being written, with Adam's two moments, and the result; all float32."""

ON_DISK = {"memory__checkpoints": "disk", "memory__base": "disk", "train__optimizer": "adamw"}


def on_a_disk(disks: Disks | None) -> Hardware:
    machine: Hardware = gpu(8)
    return replace(machine, ram_bytes=64 * GIB, disks=disks)


def fits(disks: Disks, **settings: object) -> bool:
    recipe = make_recipe("qlora", data__max_tokens=TOKENS, train__batch_size=1, **settings)
    return assess(recipe, on_a_disk(disks), LLAMA_7B).fits


def one_disk(size: float) -> Disks:
    return Disks(cache_bytes=int(size), run_bytes=int(size))


def test_layers_inputs_and_checkpoints_must_have_room_together() -> None:
    needed = LAYERS + INPUTS + RUN
    assert fits(one_disk(1.002 * needed), **ON_DISK)  # norms are not counted above
    assert not fits(one_disk(0.998 * needed), **ON_DISK)


def test_each_of_two_disks_must_hold_its_own() -> None:
    apart = {"together": False}
    assert fits(Disks(cache_bytes=int(1.002 * LAYERS), run_bytes=INPUTS + RUN, **apart), **ON_DISK)
    assert not fits(
        Disks(cache_bytes=int(0.998 * LAYERS), run_bytes=10 * GIB + INPUTS, **apart), **ON_DISK
    )
    assert not fits(
        Disks(cache_bytes=10 * LAYERS, run_bytes=INPUTS + RUN - 10**6, **apart), **ON_DISK
    )


def test_of_another_machine_the_model_must_find_room_as_well() -> None:
    recipe = make_recipe(
        "qlora", data__max_tokens=2048, train__batch_size=1, train__optimizer="adamw"
    )
    needed = 2 * 6_738_415_616 + RUN  # parameters of Llama-2-7B (arXiv 2307.09288), in 16 bits
    for size, enough in ((1.001 * needed, True), (0.999 * needed, False)):
        found = assess(recipe, on_a_disk(Disks.of_size(int(size))), LLAMA_7B)
        assert found.fits is enough
        assert found.disk_bytes == pytest.approx(needed, rel=0.0001)


def test_what_a_small_disk_cannot_hold_goes_elsewhere_if_the_recipe_lets_it() -> None:
    # with 8 GB of host memory layers and their inputs go to disk; with 64 of both they need not
    recipe = make_recipe("qlora", data__max_tokens=65536, train__batch_size=1)
    short = replace(gpu(6), ram_bytes=8 * GIB)
    assert resolve(recipe, short, LLAMA_7B).checkpoints.value == "disk"
    with pytest.raises(HardwareError, match="GiB of disk") as refused:
        resolve(recipe, replace(short, disks=one_disk(RUN + GIB)), LLAMA_7B)
    assert "Nothing was loaded" in str(refused.value)
    roomy = replace(short, ram_bytes=64 * GIB, disks=one_disk(RUN + GIB))
    assert resolve(recipe, roomy, LLAMA_7B).checkpoints.value == "host"


def test_a_pinned_place_without_room_is_answered_with_the_change_that_does() -> None:
    recipe = make_recipe("qlora", data__max_tokens=2048, train__batch_size=1, memory__base="disk")
    found = assess(recipe, on_a_disk(one_disk(RUN + GIB)), LLAMA_7B)
    assert not found.fits
    assert "layers of the base 3.1" in found.shortage
    assert "`memory.base=auto`" in found.advice
    full = assess(recipe, on_a_disk(one_disk(0.9 * GIB)), LLAMA_7B)
    assert "free on disk" in full.advice


def test_free_room_counts_layers_of_earlier_runs_and_the_checkpoints_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000))
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "runs" / "one"
    assert disks_here(run) == Disks(cache_bytes=1000, run_bytes=1000, together=True)
    (tmp_path / "cache" / "layers").mkdir(parents=True)
    (tmp_path / "cache" / "layers" / "ab.layer").write_bytes(b"x" * 70)
    step = run / "checkpoints" / "step-000001"
    step.mkdir(parents=True)
    (step / "weights.safetensors").write_bytes(b"x" * 9)
    assert disks_here(run) == Disks(cache_bytes=1070, run_bytes=1009, together=True)


def test_the_disk_of_another_machine_is_judged_only_if_it_is_named() -> None:
    words = ["method=qlora", "memory.base=disk"]
    machine = {"vram": "8GiB", "ram": "32GiB"}
    unknown = plan("meta-llama/Llama-3.1-8B", words, on=Target(**machine))
    assert unknown.to_json()["fits"] is True
    named = plan("meta-llama/Llama-3.1-8B", words, on=Target(**machine, disk="5GiB"))
    assert named.to_json()["fits"] is False
    assert "GiB of disk" in str(named)


def test_no_room_is_asked_for_checkpoints_that_are_never_written() -> None:
    checkpoint, result = 12 * ADAPTER, 4 * ADAPTER
    many = {"train__keep_checkpoints": 1000, "train__optimizer": "adamw"}
    for settings, kept in (
        ({}, 11),  # after every tenth of the run, and at its end
        ({"train__max_steps": 3}, 3),
        ({"train__save_every": 1}, 1000),
    ):
        recipe = make_recipe(
            "qlora", data__max_tokens=2048, train__batch_size=1, **many, **settings
        )
        found = assess(recipe, on_a_disk(None), LLAMA_7B)
        run = found.disk_bytes - 2 * 6_738_415_616
        assert run == pytest.approx((kept + 2) * checkpoint + result, rel=0.001)
