"""How `resolve` splits a step and what it does when the computed bytes do not fit."""

from dataclasses import replace

import pytest
from machines import CPU, DEMO, LLAMA_7B, LLAMA_8B, OLD_CPU, gpu, make_recipe, values

from xtune.errors import HardwareError
from xtune.hardware import Hardware, Launch
from xtune.memory import GIB
from xtune.plan import Plan, resolve
from xtune.plan.cards import find_card
from xtune.plan.fit import computed
from xtune.plan.question import longest_tokens
from xtune.plan.resolve import decide
from xtune.plan.speed import seconds
from xtune.plan.techniques import Techniques


@pytest.mark.parametrize(
    ("batch_size", "max_tokens", "micro", "accumulation"),
    [(8, 2048, 2, 4), (8, 512, 8, 1), (8, 16384, 1, 8), (3, 2048, 2, 2), (32, 256, 16, 2)],
)
def test_cpu_takes_about_four_thousand_tokens_at_once(
    batch_size: int, max_tokens: int, micro: int, accumulation: int
) -> None:
    recipe = make_recipe(train__batch_size=batch_size, data__max_tokens=max_tokens)
    found = values(resolve(recipe, CPU, DEMO))
    assert (found["micro_batch_size"], found["accumulation_steps"]) == (micro, accumulation)


def test_asked_micro_batch_is_taken_on_a_cpu() -> None:
    recipe = make_recipe(train__batch_size=8, train__micro_batch_size=8)
    found = values(resolve(recipe, CPU, DEMO))
    assert (found["micro_batch_size"], found["accumulation_steps"]) == (8, 1)


def test_asked_micro_batch_above_the_share_of_a_device_is_cut_and_said() -> None:
    recipe = make_recipe(train__batch_size=8, train__micro_batch_size=8)
    plan = resolve(recipe, CPU, DEMO, launch=Launch(rank=1, local_rank=1, world_size=4))
    assert plan.micro_batch_size.value == 2
    assert "8 asked for, but a device has 2" in plan.micro_batch_size.reason


@pytest.mark.parametrize(("world_size", "accumulation"), [(1, 8), (2, 4), (3, 3), (8, 1)])
def test_accumulation_shares_a_step_among_processes(world_size: int, accumulation: int) -> None:
    recipe = make_recipe(train__batch_size=8, train__micro_batch_size=1)
    plan = resolve(recipe, CPU, DEMO, launch=Launch(world_size=world_size))
    assert plan.accumulation_steps.value == accumulation


def test_all_ranks_decide_the_same_whatever_else_runs_on_their_devices() -> None:
    crowded = replace(gpu(24), vram_free_bytes=6 * GIB)
    both = [
        values(resolve(make_recipe("qlora"), machine, LLAMA_7B, launch=Launch(world_size=2)))
        for machine in (gpu(24), crowded)
    ]
    assert both[0] == both[1]


def test_what_other_programs_hold_is_not_ours() -> None:
    crowded = replace(gpu(24), vram_free_bytes=6 * GIB)
    alone = resolve(make_recipe("qlora"), gpu(24), LLAMA_7B)
    beside = resolve(make_recipe("qlora"), crowded, LLAMA_7B)
    assert beside.predicted is not None
    assert alone.predicted is not None
    assert beside.predicted.peak_bytes <= 6.5 * GIB < alone.predicted.peak_bytes


def test_seven_billion_parameters_fit_an_8_gb_card_under_qlora() -> None:
    plan = resolve(make_recipe("qlora"), gpu(8), LLAMA_7B)
    assert plan.gradient_checkpointing.value is True
    assert plan.predicted is not None
    assert plan.predicted.peak_bytes <= 8 * GIB


def test_checkpointing_stays_off_where_a_busy_batch_fits_without_it() -> None:
    plan = resolve(make_recipe("lora"), gpu(80), DEMO)
    assert plan.gradient_checkpointing.value is False
    assert plan.micro_batch_size.value == 8


def test_too_large_a_plan_is_refused_with_bytes_and_a_way_out_that_works() -> None:
    with pytest.raises(HardwareError) as caught:
        resolve(make_recipe("lora", memory__base="device"), gpu(8), LLAMA_7B)
    message = str(caught.value)
    assert "does not fit" in message
    assert "8.00 GiB" in message
    assert "`memory.base=auto`" in message
    resolve(make_recipe("lora"), gpu(8), LLAMA_7B)


def test_advice_is_the_cheapest_single_change_first() -> None:
    fixed = {"train__micro_batch_size": 64, "train__batch_size": 64}
    with pytest.raises(HardwareError, match=r"`train\.micro_batch_size=1`"):
        resolve(make_recipe("qlora", **fixed), gpu(8), LLAMA_7B)
    long = make_recipe("qlora", data__max_tokens=262144)
    with pytest.raises(HardwareError, match=r"`data\.max_tokens=(\d+)`") as caught:
        resolve(long, gpu(8), LLAMA_7B)
    tokens = int(str(caught.value).split("data.max_tokens=")[1].split("`")[0])
    resolve(make_recipe("qlora", data__max_tokens=tokens), gpu(8), LLAMA_7B)
    with pytest.raises(HardwareError):
        resolve(make_recipe("qlora", data__max_tokens=tokens * 2), gpu(8), LLAMA_7B)


def test_without_a_way_out_the_message_says_so() -> None:
    with pytest.raises(HardwareError, match="No single change"):
        resolve(make_recipe("qlora"), gpu(0.6), LLAMA_7B)


def test_cpu_memory_is_a_limit_too() -> None:
    with pytest.raises(HardwareError, match="GiB of memory"):
        resolve(make_recipe("full"), OLD_CPU, LLAMA_7B)


QUICK = (False, False, "device")


def style(plan: Plan) -> tuple[object, ...]:
    found = values(plan)
    return found["gradient_checkpointing"], found["frugal_layers"], found["checkpoints"]


EVERY_SET = [
    Techniques(
        gradient_checkpointing=True,
        frugal=frugal,
        checkpoint_place=checkpoints,
        base_place=base,
        embeddings_place=embeddings,
        head_form=head,
        states_place=states,
    )
    for frugal in (False, True)
    for checkpoints in ("device", "host", "disk")
    for base in ("device", "host", "disk")
    for embeddings in ("device", "host")
    for head in ("device", "host")
    for states in ("device", "host")
]


@pytest.mark.parametrize("tokens", [1024, 4096, 16384, 49152, 98304])
@pytest.mark.parametrize("ram_gib", [8, 64])
def test_the_plan_is_the_fastest_that_fits(tokens: int, ram_gib: int) -> None:
    """Of all sets of techniques, tried one by one, none that fits is estimated to be faster."""
    fixed = {
        "train__batch_size": 1,
        "train__optimizer": "adamw_8bit",
        "memory__loss_chunk_tokens": 256,
    }
    machine = replace(gpu(8), ram_bytes=ram_gib * GIB)
    recipe = make_recipe("qlora", data__max_tokens=tokens, **fixed)
    plan, found, limits = decide(recipe, machine, LLAMA_7B)
    every = [computed(LLAMA_7B, each.applied(found.work)) for each in EVERY_SET]
    fitting = [each for each in every if each.is_within(limits)]
    assert bool(fitting) == found.fits
    if fitting:
        card = find_card("RTX 3060")
        fastest = min(seconds(LLAMA_7B, each.work, card) for each in fitting)
        assert seconds(LLAMA_7B, found.work, card) <= fastest * (1 + 1e-9)
        assert plan.head.value in {"device", "host"}, "exact as long as something exact fits"


def test_what_waits_on_the_host_has_room_there() -> None:
    recipe = make_recipe(
        "qlora", data__max_tokens=65536, train__batch_size=1, memory__checkpoints="host"
    )
    small = replace(gpu(8), ram_bytes=8 * GIB)
    with pytest.raises(HardwareError, match="host memory"):
        resolve(recipe, small, LLAMA_7B)


def test_a_head_that_is_trained_stays_where_it_is() -> None:
    method = {"type": "qlora", "rank": 16, "modules_to_save": ["lm_head"]}
    for tokens in (1024, 8192, 16384):
        plan, _, _ = decide(make_recipe(method, data__max_tokens=tokens), gpu(8), LLAMA_7B)
        assert (plan.embeddings.value, plan.head.value) == ("device", "device")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"memory__frugal_layers": True}, (True, True, "device")),
        ({"memory__frugal_layers": True, "memory__checkpoints": "disk"}, (True, True, "disk")),
        ({"memory__checkpoints": "host"}, (True, False, "host")),
        ({"memory__checkpoints": "disk"}, (True, False, "disk")),
        ({"memory__gradient_checkpointing": False}, QUICK),
    ],
)
def test_what_is_asked_for_is_done(asked: dict[str, object], expected: tuple[object, ...]) -> None:
    recipe = make_recipe("qlora", data__max_tokens=512, train__batch_size=1, **asked)
    assert style(resolve(recipe, gpu(24), LLAMA_7B)) == expected


def test_compiled_layers_are_left_whole() -> None:
    fixed = {"train__compile": True, "train__batch_size": 1, "data__max_tokens": 16384}
    with pytest.raises(HardwareError):
        resolve(make_recipe("qlora", **fixed), gpu(8), LLAMA_7B)


@pytest.mark.parametrize("machine", [CPU, gpu(8)])
def test_what_is_asked_of_one_end_holds_for_the_matrix_of_both(machine: Hardware) -> None:
    assert DEMO.tied
    asked = make_recipe("qlora", memory__embeddings="host")
    plan = resolve(asked, machine, DEMO)
    assert (plan.embeddings.value, plan.head.value) == ("host", "host")
    asked = make_recipe("qlora", memory__head="int8")
    plan = resolve(asked, machine, DEMO)
    assert (plan.embeddings.value, plan.head.value) == ("host", "int8")
    plan = resolve(make_recipe("qlora", memory__embeddings="host"), machine, LLAMA_7B)
    assert (plan.embeddings.value, plan.head.value) == ("host", "device")


def test_small_tiles_are_taken_where_large_ones_do_not_fit() -> None:
    machine = replace(gpu(3), ram_bytes=16 * GIB)
    found = {}
    for tile in ("auto", 4096, 1024):
        recipe = make_recipe(
            "qlora", data__max_tokens=30_000, train__batch_size=1, memory__tile_tokens=tile
        )
        plan, fit, _ = decide(recipe, machine, LLAMA_8B)
        longest = longest_tokens(recipe, machine, LLAMA_8B, step=64, most=2**20)
        found[tile] = (fit.fits, plan.tile_tokens.value, longest)
    assert found[4096][0] is False
    assert found[1024][0] is True
    assert found["auto"] == found[1024]
    assert found["auto"][2] > found[4096][2]
