"""The next plan when memory ran out in spite of one."""

import re
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
import yaml
from machines import CPU, DEMO, LLAMA_7B, gpu, make_recipe

from xtune.errors import HardwareError
from xtune.hardware import Hardware, Launch
from xtune.memory import GIB, ModelShape
from xtune.plan import Plan, resolve
from xtune.plan.further import changes, further_down


def peak(plan: Plan) -> int:
    assert plan.predicted is not None
    return plan.predicted.peak_bytes


def down(plan: Plan, machine: Hardware, shape: ModelShape) -> list[Plan]:
    """The plan, and every next one until there is none."""
    seen = [plan]
    with suppress(HardwareError):
        while len(seen) < 60:
            seen.append(further_down(seen[-1], machine, shape, Launch()))
    with pytest.raises(HardwareError, match="nothing that the recipe leaves open takes a tenth"):
        further_down(seen[-1], machine, shape, Launch())
    return seen


@pytest.mark.parametrize(
    ("method", "machine", "shape"),
    [
        ("qlora", replace(gpu(8), ram_bytes=64 * GIB), LLAMA_7B),
        ("full", replace(gpu(80), ram_bytes=64 * GIB), LLAMA_7B),
        ("full", CPU, DEMO),
    ],
)
def test_each_next_plan_takes_a_tenth_less_until_none_is_left(
    method: str, machine: Hardware, shape: ModelShape
) -> None:
    seen = down(resolve(make_recipe(method), machine, shape), machine, shape)
    assert len(seen) >= 2
    for before, after in pairwise(seen):
        assert peak(after) <= 0.9 * peak(before)
        assert changes(before, after)
        # what is in the checkpoint must fit the next plan
        assert after.weight_dtype == before.weight_dtype
        assert after.optimizer == before.optimizer


def test_what_the_recipe_fixes_stays() -> None:
    recipe = make_recipe("lora", train__micro_batch_size=4, memory__gradient_checkpointing=False)
    for plan in down(resolve(recipe, gpu(80), DEMO), gpu(80), DEMO):
        assert plan.micro_batch_size.value == 4
        assert plan.gradient_checkpointing.value is False


@pytest.mark.parametrize(
    ("method", "machine", "shape"),
    [
        ("qlora", replace(gpu(8), ram_bytes=64 * GIB), LLAMA_7B),
        ("full", CPU, DEMO),
        ("lora", CPU, DEMO),
    ],
)
def test_a_way_out_is_offered_that_needs_a_tenth_less(
    method: str, machine: Hardware, shape: ModelShape
) -> None:
    recipe = make_recipe(method)
    last = down(resolve(recipe, machine, shape), machine, shape)[-1]
    with pytest.raises(HardwareError) as none_left:
        further_down(last, machine, shape, Launch())
    advised = re.search("`(.+)`", none_left.value.advice or "")
    assert advised is not None
    assert "=auto" not in advised[1]  # this recipe leaves everything open
    words = dict(each.split("=") for each in advised[1].split())
    changed = make_recipe(
        words.pop("method", method),
        **{name.replace(".", "__"): yaml.safe_load(value) for name, value in words.items()},
    )
    budget = int(0.9 * peak(last))
    smaller = (
        replace(machine, ram_bytes=budget)
        if machine.device == "cpu"
        else replace(machine, vram_bytes=budget)
    )
    assert peak(resolve(changed, smaller, shape)) <= budget  # and fits, or it would raise
