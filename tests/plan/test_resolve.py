"""What `resolve` refuses, what it writes, and what must hold for any recipe on any machine."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machines import CPU, DEMO, LLAMA_7B, MAC, gpu, make_recipe, values
from pydantic import ValidationError

from xtune.errors import ProblemsError, XtuneError
from xtune.hardware import Hardware, Launch
from xtune.memory import GIB, ModelShape, Workload, predict
from xtune.plan import Plan, resolve
from xtune.recipe import Recipe


def test_all_problems_come_together() -> None:
    recipe = make_recipe(
        "qlora",
        model__attention="flash_attention_2",
        model__dtype="float16",
        model__hub="modelscope",
        train__optimizer="paged_adamw_8bit",
        train__batch_size=2,
        run__trackers=["wandb", "mlflow"],
    )
    bare = Hardware(device="cpu", name="bare CPU", vram_bytes=0, ram_bytes=8 * GIB, cpu_count=1)
    with pytest.raises(ProblemsError) as caught:
        resolve(recipe, bare, DEMO, launch=Launch(world_size=4))
    message = str(caught.value)
    for part in (
        "`model.attention` is flash_attention_2",
        "`model.dtype` is float16 on cpu",
        "`method` is qlora, and the package `bitsandbytes` is not installed",
        "`train.optimizer` is paged_adamw_8bit",
        "`train.batch_size` is 2 with 4 processes",
        "pip install 'xtune[wandb]'",
        "pip install 'xtune[mlflow]'",
        "pip install 'xtune[modelscope]'",
    ):
        assert part in message
    assert len(caught.value.problems) == 8


def test_metal_has_no_8_bit_kernels() -> None:
    recipe = make_recipe({"type": "qlora", "quantization": "int8"}, train__optimizer="lion_8bit")
    with pytest.raises(ProblemsError) as caught:
        resolve(recipe, MAC, DEMO)
    assert len(caught.value.problems) == 2


def test_length_beyond_the_models_positions_is_noted() -> None:
    plan = resolve(make_recipe("qlora", data__max_tokens=8192), gpu(80), LLAMA_7B)
    assert any("8,192" in note and "4,096" in note for note in plan.notes)
    assert resolve(make_recipe(), CPU, DEMO).notes == ()


def test_plan_is_plain_json_and_readable_lines() -> None:
    plan = resolve(make_recipe("qlora"), gpu(8), LLAMA_7B)
    document = json.loads(json.dumps(plan.to_json()))
    assert document["choices"]["alpha"] == {"value": 32.0, "reason": "twice the rank, 16"}
    assert document["predicted_bytes"]["peak"] == plan.predicted.peak_bytes  # type: ignore[union-attr]
    assert Recipe.model_validate_json(json.dumps(document["recipe"])) == plan.recipe
    text = "\n".join(plan.lines())
    for name in plan.choices():
        assert name in text
    assert "GiB (computed)" in text


def test_planning_imports_neither_torch_nor_transformers() -> None:
    import subprocess
    import sys

    code = "import sys, xtune.plan; print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


MACHINES = st.builds(
    Hardware,
    device=st.sampled_from(["cpu", "cuda", "mps", "xpu"]),
    name=st.just("any machine"),
    vram_bytes=st.integers(0, 96 * GIB),
    ram_bytes=st.integers(GIB, 256 * GIB),
    cpu_count=st.integers(1, 64),
    compute_capability=st.none() | st.sampled_from([(6, 1), (7, 5), (8, 0), (8, 9), (9, 0)]),
    has_bfloat16=st.booleans(),
    packages=st.frozensets(
        st.sampled_from(["bitsandbytes", "flash_attn", "flash_attn_interface", "wandb"])
    ),
    vram_free_bytes=st.none() | st.integers(0, 96 * GIB),
)
METHODS = st.one_of(
    st.just({"type": "full"}),
    st.fixed_dictionaries({"type": st.just("lora"), "rank": st.integers(1, 256)}),
    st.fixed_dictionaries(
        {
            "type": st.just("qlora"),
            "quantization": st.sampled_from(["nf4", "fp4", "int8"]),
            "compute_dtype": st.sampled_from(["auto", "bfloat16", "float16", "float32"]),
        }
    ),
)
PARTS = st.fixed_dictionaries(
    {
        "stage": st.sampled_from(["sft", "pretrain"]),
        "method": METHODS,
        "model__dtype": st.sampled_from(["auto", "bfloat16", "float16", "float32"]),
        "model__attention": st.sampled_from(
            ["auto", "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"]
        ),
        "data__max_tokens": st.integers(8, 65536),
        "data__packing": st.sampled_from([True, False, "auto"]),
        "train__batch_size": st.integers(1, 300),
        "train__micro_batch_size": st.just("auto") | st.integers(1, 300),
        "train__optimizer": st.sampled_from(
            ["auto", "adamw", "adamw_8bit", "paged_adamw_8bit", "adafactor", "muon"]
        ),
        "memory__gradient_checkpointing": st.sampled_from([True, False, "auto"]),
        "memory__loss_chunk_tokens": st.just("auto") | st.integers(1, 100_000),
    }
)


def plan_or_clear_error(
    recipe: Recipe, machine: Hardware, shape: ModelShape, world_size: int
) -> Plan | None:
    refusal: XtuneError | None = None
    try:
        return resolve(recipe, machine, shape, launch=Launch(world_size=world_size))
    except XtuneError as error:
        refusal = error
    assert refusal.message
    assert isinstance(refusal, ProblemsError) or refusal.advice
    return None


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    parts=PARTS,
    machine=MACHINES,
    shape=st.sampled_from([DEMO, LLAMA_7B]),
    world_size=st.integers(1, 9),
)
def test_any_recipe_on_any_machine_is_a_plan_that_holds_or_a_clear_error(
    parts: dict[str, Any], machine: Hardware, shape: ModelShape, world_size: int
) -> None:
    try:
        recipe = make_recipe(**parts)
    except ValidationError:
        return
    plan = plan_or_clear_error(recipe, machine, shape, world_size)
    if plan is None:
        return
    micro, passes = plan.micro_batch_size.value, plan.accumulation_steps.value
    batch_size = recipe.train.batch_size
    share = -(-batch_size // world_size)
    assert 1 <= micro <= share
    assert micro * passes * world_size >= batch_size
    assert micro * (passes - 1) < share  # no forward pass without a row
    assert all(choice.reason for choice in plan.choices().values())
    assert "auto" not in values(plan).values()
    if plan.compute_dtype.value == "float16":
        assert plan.loss_scaling.value
        assert plan.device.value == "cuda"
    if recipe.method.type == "full":
        assert plan.weight_dtype.value != "float16"
    assert plan.predicted is not None
    limit = machine.ram_bytes if machine.device == "cpu" else machine.vram_bytes
    assert plan.predicted.peak_bytes <= limit
    again = resolve(
        recipe, machine, shape, launch=Launch(rank=world_size - 1, world_size=world_size)
    )
    assert again == plan


@settings(max_examples=100, deadline=None)
@given(
    tokens=st.integers(8, 32768),
    rows=st.integers(1, 32),
    chunk=st.integers(1, 4096),
    method=st.sampled_from(["full", "lora"]),
)
def test_more_work_is_never_computed_to_take_less_memory(
    tokens: int, rows: int, chunk: int, method: Any
) -> None:
    def peak(**changes: Any) -> int:
        fields = {"tokens": tokens, "rows": rows, "loss_chunk_tokens": chunk, "rank": 8, **changes}
        return predict(LLAMA_7B, Workload(method=method, **fields)).peak_bytes

    assert peak(tokens=tokens + 1) >= peak()
    assert peak(rows=rows + 1) >= peak()
    assert peak(gradient_checkpointing=False) >= peak(gradient_checkpointing=True)
