"""The next plan when memory ran out in spite of one."""

from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
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
