"""`xtune.plan.resolve` on machines written by hand: every decision, every refusal, and what must always hold."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from xtune.errors import HardwareError, ProblemsError, RecipeError, XtuneError
from xtune.hardware import Hardware, Launch
from xtune.memory import GIB, ModelShape, Workload, predict
from xtune.plan import Plan, resolve
from xtune.recipe import Recipe

LLAMA_7B = ModelShape.from_config(
    {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 32000,
        "max_position_embeddings": 4096,
    }
)
DEMO = ModelShape.from_config(
    {
        "model_type": "qwen3",
        "hidden_size": 256,
        "intermediate_size": 640,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "vocab_size": 2048,
        "tie_word_embeddings": True,
    }
)
CPU = Hardware(
    device="cpu",
    name="test CPU",
    vram_bytes=0,
    ram_bytes=24 * GIB,
    cpu_count=2,
    packages=frozenset({"bitsandbytes"}),
)
OLD_CPU = Hardware(
    device="cpu",
    name="old CPU",
    vram_bytes=0,
    ram_bytes=8 * GIB,
    cpu_count=2,
    has_bfloat16=False,
    packages=frozenset({"bitsandbytes"}),
)


def gpu(gib: float, capability: tuple[int, int] = (8, 6), *packages: str) -> Hardware:
    return Hardware(
        device="cuda",
        name="test GPU",
        vram_bytes=int(gib * GIB),
        ram_bytes=32 * GIB,
        cpu_count=8,
        compute_capability=capability,
        has_bfloat16=capability >= (8, 0),
        packages=frozenset(packages or ("bitsandbytes",)),
    )


TURING = gpu(16, (7, 5))
MAC = Hardware(
    device="mps",
    name="test Mac",
    vram_bytes=16 * GIB,
    ram_bytes=24 * GIB,
    cpu_count=8,
    packages=frozenset({"bitsandbytes"}),
)


def make_recipe(method: Any = "lora", **parts: Any) -> Recipe:
    """A recipe with the few fields it must have, and `section__field=value` on top."""
    fields: dict[str, Any] = {
        "model": {"name": "some/model"},
        "method": method,
        "data": {"train": "rows.jsonl"},
        "train": {"learning_rate": 1e-4},
    }
    for name, value in parts.items():
        section, _, field = name.partition("__")
        if field:
            fields.setdefault(section, {})[field] = value
        else:
            fields[section] = value
    return Recipe.model_validate(fields)


def values(plan: Plan) -> dict[str, Any]:
    return {name: choice.value for name, choice in plan.choices().items()}


# --- number formats -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "machine", "weight", "compute", "autocast", "scaling"),
    [
        ("lora", gpu(80), "bfloat16", "bfloat16", True, False),
        ("qlora", gpu(80), "bfloat16", "bfloat16", True, False),
        ("full", gpu(80), "float32", "bfloat16", True, False),
        ("lora", TURING, "float16", "float16", True, True),
        ("qlora", TURING, "float16", "float16", True, True),
        ("full", TURING, "float32", "float16", True, True),
        ("lora", CPU, "bfloat16", "bfloat16", True, False),
        ("full", CPU, "float32", "bfloat16", True, False),
        ("lora", OLD_CPU, "float32", "float32", False, False),
        ("qlora", OLD_CPU, "float32", "float32", False, False),
        ("full", OLD_CPU, "float32", "float32", False, False),
    ],
)
def test_formats_fit_method_and_machine(
    method: str, machine: Hardware, weight: str, compute: str, autocast: bool, scaling: bool
) -> None:
    found = values(resolve(make_recipe(method), machine, DEMO))
    assert found["weight_dtype"] == weight
    assert found["compute_dtype"] == compute
    assert found["autocast"] is autocast
    assert found["loss_scaling"] is scaling


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_float32_asked_for_is_float32_throughout(method: str) -> None:
    found = values(resolve(make_recipe(method, model__dtype="float32"), gpu(80), DEMO))
    assert (found["weight_dtype"], found["compute_dtype"]) == ("float32", "float32")
    assert found["autocast"] is False


def test_bfloat16_asked_for_in_a_full_fine_tune_has_no_float32_copy() -> None:
    found = values(resolve(make_recipe("full", model__dtype="bfloat16"), gpu(80), DEMO))
    assert found["weight_dtype"] == "bfloat16"
    assert found["autocast"] is False


def test_full_fine_tune_falls_back_to_bfloat16_where_float32_does_not_fit() -> None:
    # 6.74 G parameters: float32 weights and gradients alone are 50 GiB, in bfloat16 25 GiB.
    plan = resolve(make_recipe("full", data__max_tokens=512), gpu(48), LLAMA_7B)
    assert plan.weight_dtype.value == "bfloat16"
    assert "float32 master weights do not fit" in plan.weight_dtype.reason
    assert plan.autocast.value is False


@pytest.mark.parametrize(
    ("recipe", "machine", "words"),
    [
        (make_recipe("full", model__dtype="float16"), gpu(80), ["float16", "method: full"]),
        (make_recipe("lora", model__dtype="bfloat16"), TURING, ["bfloat16", "8.0"]),
        (make_recipe("lora", model__dtype="float16"), CPU, ["float16 on cpu"]),
        (
            make_recipe({"type": "qlora", "compute_dtype": "float16"}),
            MAC,
            ["`method.compute_dtype` is float16 on mps"],
        ),
        (
            make_recipe({"type": "qlora", "compute_dtype": "float16"}, model__dtype="bfloat16"),
            gpu(80),
            ["`model.dtype` is bfloat16 and `method.compute_dtype` is float16"],
        ),
    ],
)
def test_formats_that_cannot_train_are_refused(
    recipe: Recipe, machine: Hardware, words: list[str]
) -> None:
    with pytest.raises(RecipeError) as caught:
        resolve(recipe, machine, DEMO)
    for word in words:
        assert word in str(caught.value)


# --- attention ------------------------------------------------------------------------------------


def test_flash_attention_is_taken_where_installed_and_possible() -> None:
    with_flash = gpu(24, (8, 6), "bitsandbytes", "flash_attn")
    assert resolve(make_recipe(), with_flash, DEMO).attention.value == "flash_attention_2"
    assert resolve(make_recipe(), gpu(24), DEMO).attention.value == "sdpa"
    turing = gpu(24, (7, 5), "bitsandbytes", "flash_attn")
    assert resolve(make_recipe(), turing, DEMO).attention.value == "sdpa"
    exact = make_recipe(model__dtype="float32")
    assert resolve(exact, with_flash, DEMO).attention.value == "sdpa"


@pytest.mark.parametrize(
    ("attention", "machine", "words"),
    [
        ("flash_attention_2", CPU, "needs a CUDA device"),
        ("flash_attention_2", TURING, "8.0"),
        ("flash_attention_2", gpu(24), "pip install flash-attn --no-build-isolation"),
        ("flash_attention_3", gpu(24, (8, 6), "flash_attn_interface"), "Hopper"),
        ("flex_attention", CPU, "backward pass on CUDA devices only"),
    ],
)
def test_attention_that_cannot_run_is_refused(
    attention: str, machine: Hardware, words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        resolve(make_recipe(model__attention=attention), machine, DEMO)


def test_gemma_2_keeps_its_capped_attention() -> None:
    from dataclasses import replace

    gemma = replace(DEMO, model_type="gemma2")
    assert resolve(make_recipe(), CPU, gemma).attention.value == "eager"
    with pytest.raises(RecipeError, match="caps its attention scores"):
        resolve(make_recipe(model__attention="sdpa"), CPU, gemma)


# --- optimizer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "machine", "expected"),
    [
        ("lora", gpu(24), "adamw"),
        ("full", CPU, "adamw"),
        ("full", gpu(24), "adamw_8bit"),
        ("full", gpu(24, (8, 6), "trl"), "adamw"),
        ("full", MAC, "adamw"),
    ],
)
def test_optimizer_fits_method_and_machine(method: str, machine: Hardware, expected: str) -> None:
    assert resolve(make_recipe(method), machine, DEMO).optimizer.value == expected


def test_states_are_paged_where_the_device_is_nearly_full() -> None:
    # float32 weights, gradients, bfloat16 casts and activations leave no room for 12.7 GiB of states.
    plan = resolve(make_recipe("full", data__max_tokens=512), gpu(62), LLAMA_7B)
    assert plan.optimizer.value == "paged_adamw_8bit"
    assert plan.weight_dtype.value == "float32"


@pytest.mark.parametrize("optimizer", ["adamw_8bit", "paged_adamw", "lion_8bit"])
def test_optimizer_without_its_package_names_the_pip_command(optimizer: str) -> None:
    machine = gpu(24, (8, 6), "trl")
    with pytest.raises(RecipeError, match="pip install bitsandbytes"):
        resolve(make_recipe(train__optimizer=optimizer), machine, DEMO)


# --- small choices --------------------------------------------------------------------------------


def test_alpha_is_twice_the_rank_unless_asked() -> None:
    assert resolve(make_recipe({"type": "lora", "rank": 24}), CPU, DEMO).alpha.value == 48.0
    asked = make_recipe({"type": "lora", "rank": 24, "alpha": 5.0})
    assert resolve(asked, CPU, DEMO).alpha.value == 5.0
    assert resolve(make_recipe("full"), CPU, DEMO).alpha.value == 0.0


def test_stage_decides_packing_and_long_rows() -> None:
    sft = values(resolve(make_recipe(), CPU, DEMO))
    assert (sft["packing"], sft["over_length"]) == (False, "drop")
    pretrain = values(resolve(make_recipe("full", stage="pretrain"), CPU, DEMO))
    assert (pretrain["packing"], pretrain["over_length"]) == (True, "split")
    asked = make_recipe(data__packing=True, data__over_length="truncate")
    found = values(resolve(asked, CPU, DEMO))
    assert (found["packing"], found["over_length"]) == (True, "truncate")


def test_run_folder_is_named_after_the_recipe_unless_asked() -> None:
    plan = resolve(make_recipe(), CPU, DEMO, recipe_name="quickstart")
    assert plan.folder.value == "runs/quickstart"
    assert resolve(make_recipe(run__folder="here"), CPU, DEMO).folder.value == "here"


def test_loss_chunk_keeps_float32_logits_at_256_mib() -> None:
    chunk = resolve(make_recipe("qlora"), gpu(24), LLAMA_7B).loss_chunk_tokens.value
    assert chunk == 2048  # 2,048 tokens of 32,000 floats are 250 MiB; the next power of two is 500
    asked = make_recipe(memory__loss_chunk_tokens=7)
    assert resolve(asked, CPU, DEMO).loss_chunk_tokens.value == 7


# --- the split of a step ---------------------------------------------------------------------------


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
    from dataclasses import replace

    crowded = replace(gpu(24), vram_free_bytes=6 * GIB)
    both = [
        values(resolve(make_recipe("qlora"), machine, LLAMA_7B, launch=Launch(world_size=2)))
        for machine in (gpu(24), crowded)
    ]
    assert both[0] == both[1]


def test_what_other_programs_hold_is_not_ours() -> None:
    from dataclasses import replace

    crowded = replace(gpu(24), vram_free_bytes=6 * GIB)
    alone = resolve(make_recipe("qlora"), gpu(24), LLAMA_7B)
    beside = resolve(make_recipe("qlora"), crowded, LLAMA_7B)
    assert beside.predicted is not None
    assert alone.predicted is not None
    assert beside.predicted.peak_bytes <= 6.5 * GIB < alone.predicted.peak_bytes


# --- what fits -------------------------------------------------------------------------------------


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
        resolve(make_recipe("lora"), gpu(8), LLAMA_7B)
    message = str(caught.value)
    assert "does not fit" in message
    assert "8.00 GiB" in message
    assert "`method=qlora`" in message
    resolve(make_recipe("qlora"), gpu(8), LLAMA_7B)


def test_advice_is_the_cheapest_single_change_first() -> None:
    fixed = {"train__micro_batch_size": 8, "memory__gradient_checkpointing": True}
    with pytest.raises(HardwareError, match=r"`train\.micro_batch_size=1`"):
        resolve(make_recipe("qlora", **fixed), gpu(8), LLAMA_7B)
    long = make_recipe("qlora", data__max_tokens=32768)
    with pytest.raises(HardwareError, match=r"`data\.max_tokens=(\d+)`") as caught:
        resolve(long, gpu(8), LLAMA_7B)
    tokens = int(str(caught.value).split("data.max_tokens=")[1].split("`")[0])
    resolve(make_recipe("qlora", data__max_tokens=tokens), gpu(8), LLAMA_7B)
    with pytest.raises(HardwareError):
        resolve(make_recipe("qlora", data__max_tokens=tokens * 2), gpu(8), LLAMA_7B)


def test_without_a_way_out_the_message_says_so() -> None:
    with pytest.raises(HardwareError, match="No single change"):
        resolve(make_recipe("qlora"), gpu(2), LLAMA_7B)


def test_cpu_memory_is_a_limit_too() -> None:
    with pytest.raises(HardwareError, match="GiB of memory"):
        resolve(make_recipe("full"), OLD_CPU, LLAMA_7B)


# --- problems --------------------------------------------------------------------------------------


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


# --- notes and output --------------------------------------------------------------------------------


def test_length_beyond_the_models_positions_is_noted() -> None:
    plan = resolve(make_recipe("qlora", data__max_tokens=8192), gpu(80), LLAMA_7B)
    assert any("8192" in note and "4096" in note for note in plan.notes)
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


# --- what must always hold ---------------------------------------------------------------------------

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
