"""What must hold before the first step, and what a run that goes on keeps to."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from factories import make_model, make_plan, make_recipe, make_tokenizer
from machines import CPU, OLD_CPU

from xtune.adapter.attach import attach
from xtune.errors import RunError
from xtune.hardware import Hardware
from xtune.memory import ModelShape
from xtune.plan import Choice
from xtune.plan.resolve import decide
from xtune.run.folder import RunFolder
from xtune.train.beginning import check_disk, weakest
from xtune.train.started import as_started, has_moved, is_forgotten


def start(folder: Path, **choices: object) -> None:
    plan = make_plan(folder=str(folder), **choices)
    with RunFolder.open(folder, resume=False) as run:
        run.write_start(recipe_yaml="", plan=plan.to_json(), environment={}, data={})
        run.write_status("running", step=3, total_steps=9)


def test_a_run_goes_on_with_the_split_it_was_started_with(tmp_path: Path) -> None:
    start(tmp_path / "run", micro_batch_size=4, optimizer="adamw_8bit", loss_chunk_tokens=32)
    now = make_plan(folder=str(tmp_path / "run"), micro_batch_size=2, gradient_checkpointing=True)
    kept = as_started(now)
    assert kept.micro_batch_size.value == 4
    assert kept.optimizer.value == "adamw_8bit"
    assert kept.loss_chunk_tokens.value == 32
    assert kept.gradient_checkpointing.value is False
    assert not has_moved(now)


def test_a_moved_folder_keeps_its_new_name(tmp_path: Path) -> None:
    start(tmp_path / "run")
    shutil.move(tmp_path / "run", tmp_path / "moved")
    assert as_started(make_plan(folder=str(tmp_path / "moved"))).folder.value == str(
        tmp_path / "moved"
    )


def test_other_processes_or_another_device_make_a_plan_of_their_own(tmp_path: Path) -> None:
    start(tmp_path / "run", micro_batch_size=4)
    now = make_plan(folder=str(tmp_path / "run"), micro_batch_size=2)
    for moved in (replace(now, world_size=2), replace(now, device=Choice("cuda", "a test"))):
        assert has_moved(moved)
        assert as_started(moved) == moved


def test_a_folder_without_a_run_or_with_a_damaged_plan_decides_nothing(tmp_path: Path) -> None:
    plan = make_plan(folder=str(tmp_path / "run"))
    assert as_started(plan) == plan
    assert not is_forgotten(plan)
    start(tmp_path / "run", micro_batch_size=7)
    assert not is_forgotten(plan)
    (tmp_path / "run" / "plan.json").write_text("[1", encoding="utf-8")
    assert as_started(plan) == plan
    assert is_forgotten(plan)


@pytest.mark.parametrize(
    ("optimizer", "state_bytes"), [("adamw", 8000), ("adamw_8bit", 2031), ("lion_8bit", 1015)]
)
def test_the_disk_must_hold_checkpoints_and_result_but_not_twice(
    optimizer: str, state_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = torch.nn.Linear(1000, 1, bias=False)  # 4,000 bytes
    plan = make_plan({"train": {"keep_checkpoints": 1}}, optimizer=optimizer)
    checkpoint = 4000 + state_bytes
    free = 3 * checkpoint + 4000  # the newest, the best, one being written, the result
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    check_disk(tmp_path, model, plan)
    free -= 1
    with pytest.raises(RunError, match="free"):
        check_disk(tmp_path, model, plan)
    kept = tmp_path / "checkpoints" / "step-000001"
    kept.mkdir(parents=True)
    (kept / "weights.safetensors").write_bytes(b"x" * 10)
    check_disk(tmp_path, model, plan)


def test_of_unlike_devices_the_plan_is_made_for_what_every_one_can() -> None:
    old = Hardware(
        device="cuda",
        name="old",
        vram_bytes=24,
        ram_bytes=9,
        cpu_count=1,
        compute_capability=(7, 5),
        has_bfloat16=False,
        packages=frozenset({"bitsandbytes"}),
    )
    small = replace(
        old,
        name="small",
        vram_bytes=8,
        compute_capability=(8, 6),
        has_bfloat16=True,
        packages=frozenset({"bitsandbytes", "flash_attn"}),
    )
    for machines in ([old, small], [small, old]):
        found = weakest(machines)
        assert (found.vram_bytes, found.has_bfloat16, found.compute_capability) == (
            8,
            False,
            (7, 5),
        )
        assert found.packages == {"bitsandbytes"}
    assert weakest([CPU, OLD_CPU]).ram_bytes == OLD_CPU.ram_bytes
    assert weakest([CPU]) == CPU


@pytest.mark.parametrize(
    ("method", "optimizer"),
    [
        *(("full", name) for name in ("adamw", "adamw_8bit", "adafactor", "muon", "apollo_adamw")),
        *(("lora", name) for name in ("adamw", "adamw_8bit", "adafactor")),
    ],
)
@pytest.mark.parametrize("states", ["device", "host"])
def test_room_that_the_plan_found_enough_is_enough_when_the_model_is_loaded(
    method: str, optimizer: str, states: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("llama", vocab_size=512)
    recipe = make_recipe(
        {
            "method": {"type": method} if method == "full" else {"type": method, "rank": 4},
            "train": {"optimizer": optimizer, "keep_checkpoints": 2},
            "memory": {"optimizer_states": states},
            "model": {"name": "bundled:demo", "dtype": "float32"},
        }
    )
    shape = ModelShape.from_config(model.config.to_dict())
    machine = replace(CPU, packages=frozenset({"bitsandbytes", "pytorch_optimizer"}))
    plan, found, limits = decide(recipe, machine, shape)
    loaded = attach(model, plan, make_tokenizer())
    enough = found.on_disk(limits)["run"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=enough))
    check_disk(tmp_path, loaded, plan)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=enough // 2))
    with pytest.raises(RunError, match="free"):
        check_disk(tmp_path, loaded, plan)
