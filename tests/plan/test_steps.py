"""Where the optimizer's step falls and where its states are: what the plan decides, refuses and computes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from factories import make_model, make_plan
from machines import CPU, DEMO, LLAMA_7B, LLAMA_8B, TURING, gpu, make_recipe, values
from torch import nn

from xtune.adapter.groups import parameter_groups
from xtune.errors import RecipeError
from xtune.hardware import Launch
from xtune.memory import GIB, ModelShape, Workload, host_items, predict
from xtune.plan import resolve
from xtune.plan.resolve import decide
from xtune.train.optimizer import build_optimizer


def test_a_fused_step_is_one_pass_over_the_whole_batch() -> None:
    recipe = make_recipe("full", memory__fused_step=True, train__batch_size=12)
    found = values(resolve(recipe, gpu(80), DEMO))
    assert (found["fused_step"], found["micro_batch_size"]) == (True, 12)
    assert found["accumulation_steps"] == 1


def test_a_split_that_is_asked_for_is_kept_where_only_a_fused_step_would_fit() -> None:
    machine = replace(gpu(80), ram_bytes=4 * GIB)  # little may wait in host memory
    seen = set()
    for size in range(20, 120, 10):
        card = replace(machine, vram_bytes=size * GIB, vram_free_bytes=None)
        recipe = make_recipe("full", train__batch_size=8, train__micro_batch_size=2)
        plan, found, _ = decide(recipe, card, LLAMA_7B)
        seen.add(found.fits)
        assert plan.micro_batch_size.value == 2
        assert plan.fused_step.value is False
    assert seen == {True, False}


def test_clipping_beside_a_fused_step_is_said_to_take_two_passes() -> None:
    asked = {"memory__fused_step": True}
    clipped = resolve(make_recipe("full", **asked), gpu(80), DEMO)
    free = resolve(make_recipe("full", **asked, train__max_grad_norm=None), gpu(80), DEMO)
    assert "computed twice" in clipped.fused_step.reason
    assert "twice" not in free.fused_step.reason


@pytest.mark.parametrize(
    ("method", "changes", "found"),
    [
        ("lora", {"memory__fused_step": True}, "`memory.fused_step` is for `method: full` alone"),
        (
            "full",
            {"memory__fused_step": True, "train__batch_size": 8, "train__micro_batch_size": 4},
            "one pass holds the whole batch",
        ),
        ("qlora", {"train__optimizer": "galore_adamw"}, "`method: full` alone"),
        ("lora", {"train__optimizer": "apollo_adamw"}, "`method: full` alone"),
        ("full", {"train__subspace_rank": 8}, "`train.subspace_rank` is for"),
    ],
)
def test_what_does_not_go_together_is_refused(
    method: str, changes: dict[str, Any], found: str
) -> None:
    with pytest.raises((RecipeError, ValueError), match=found):
        make_recipe(method, **changes)


def test_a_fused_step_is_refused_where_gradients_are_shared_or_scaled() -> None:
    recipe = make_recipe("full", memory__fused_step=True)
    with pytest.raises(RecipeError, match="fused_step` is on with 2 processes"):
        resolve(recipe, gpu(80), DEMO, launch=Launch(world_size=2))
    with pytest.raises(RecipeError, match="fused_step` is on with float16 arithmetic"):
        resolve(recipe, TURING, DEMO)


def test_a_missing_package_is_named_with_its_command() -> None:
    recipe = make_recipe("full", train__optimizer="galore_adamw")
    with pytest.raises(RecipeError, match=r"pip install 'xtune\[galore\]'"):
        resolve(recipe, gpu(80), DEMO)


def test_fused_gradients_are_the_largest_one_and_a_tied_tables() -> None:
    """By hand: the demo model's largest matrix is its table, 2048 x 256; Llama's is 32000 x 4096."""
    work = Workload(method="full", tokens=64, weight_dtype="float32", fused_step=True)
    assert DEMO.tied
    assert predict(DEMO, work).items["gradients"] == 2 * 4 * 2048 * 256
    assert predict(LLAMA_7B, work).items["gradients"] == 4 * 32000 * 4096


SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 300,
}


def state_bytes(optimizer: str, dtype: torch.dtype, **choices: Any) -> tuple[int, ModelShape]:
    """Bytes of the tensors in an optimizer's state after one step of a real model."""
    model = make_model(**SIZES).to(dtype)
    recipe = {"method": "full", "train": {"learning_rate": 1e-3, "optimizer": optimizer}}
    plan = make_plan(recipe, **choices)
    made = build_optimizer(parameter_groups(model, plan), plan)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    made.step()
    tensors: list[torch.Tensor] = []
    for state in made.state_dict()["state"].values():
        nested = state.get("projector", {})
        found = [*state.values(), *nested.values()]
        tensors += [each for each in found if isinstance(each, torch.Tensor) and each.ndim]
    return sum(each.numel() * each.element_size() for each in tensors), shape_of(model)


def shape_of(model: nn.Module) -> ModelShape:
    config: Any = model.config
    return ModelShape.from_config(config.to_dict())


@pytest.mark.parametrize("name", ["galore_adamw", "apollo_adamw"])
def test_states_in_a_subspace_take_the_computed_bytes(name: str) -> None:
    real, shape = state_bytes(name, torch.float32)
    work = Workload(method="full", tokens=8, weight_dtype="float32", optimizer=name)
    assert predict(shape, work).items["optimizer"] == real


def test_states_on_the_host_take_the_computed_bytes_there_and_none_on_the_device() -> None:
    real, shape = state_bytes("adamw", torch.bfloat16, optimizer_states="host")
    work = Workload(method="full", tokens=8, weight_dtype="bfloat16", states_place="host")
    # two gradients and two parameters of the largest size, 2 bytes a number
    buffers = 2 * 2 * 2 * 300 * 64
    # a checkpoint has the lower halves of the numbers, memory all of them
    upper = 2 * shape.parameters
    assert host_items(shape, work)["optimizer"] == real + upper + buffers
    assert predict(shape, work).items["optimizer"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"memory__fused_step": False},
        {"memory__optimizer_states": "device"},
        {"train__batch_size": 8, "train__micro_batch_size": 4},
    ],
)
def test_layers_trained_on_the_host_are_stepped_there_at_once(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"`memory\.base: host` steps"):
        make_recipe("full", memory__base="host", **changes)
    found = values(resolve(make_recipe("full", memory__base="host"), CPU, DEMO))
    assert (found["fused_step"], found["optimizer_states"]) == (True, "host")
    assert (found["accumulation_steps"], found["gradient_checkpointing"]) == (1, True)


def test_eight_billion_parameters_are_trained_with_64_gb_of_host_memory() -> None:
    """By hand: a bfloat16 number, its lower half and two states of 8 bits with their scales, 6.03 bytes each."""
    machine = replace(gpu(8), ram_bytes=64 * 10**9)
    recipe = make_recipe("full", train__batch_size=1, data__max_tokens=4096)
    plan, found, _ = decide(recipe, machine, LLAMA_8B)
    assert found.fits
    assert values(plan)["base"] == "host"
    layers = sum(count * linear.weights for count, linear in LLAMA_8B.linears)
    assert sum(host_items(LLAMA_8B, found.work).values()) == pytest.approx(
        6.03 * layers + (4 + 2.03) * 2 * 128256 * 4096, rel=0.01
    )
