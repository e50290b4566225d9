"""Formats, attention, optimizer and the small choices of `resolve`, on machines written by hand."""

from dataclasses import replace
from typing import Any

import pytest
from factories import make_model
from machines import CPU, DEMO, LLAMA_7B, MAC, OLD_CPU, TURING, gpu, make_recipe, values
from peft import LoraConfig, get_peft_model

from xtune.errors import RecipeError
from xtune.hardware import Hardware
from xtune.memory import ModelShape
from xtune.plan import resolve
from xtune.recipe import Recipe


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


@pytest.mark.parametrize("machine", [TURING, gpu(80)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_weights_beside_a_quantised_base_follow_the_type_it_computes_in(
    machine: Hardware, dtype: str
) -> None:
    recipe = make_recipe({"type": "qlora", "compute_dtype": dtype})
    found = values(resolve(recipe, machine, DEMO))
    assert (found["weight_dtype"], found["compute_dtype"]) == (dtype, dtype)
    assert found["loss_scaling"] is (dtype == "float16")


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
    gemma = replace(DEMO, model_type="gemma2")
    assert resolve(make_recipe(), CPU, gemma).attention.value == "eager"
    with pytest.raises(RecipeError, match="caps its attention scores"):
        resolve(make_recipe(model__attention="sdpa"), CPU, gemma)


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


@pytest.mark.parametrize(
    ("method", "memory", "part"),
    [
        ({"new_tokens": ["<x>"]}, {"embeddings": "host"}, "`memory.embeddings` is host; the recipe trains"),
        ({"modules_to_save": ["lm_head"]}, {"head": "host"}, "`memory.head` is host; the recipe trains"),
        ({}, {"head": "host", "embeddings": "device"}, "are one matrix"),
        ({}, {"head": "device", "embeddings": "host"}, "are one matrix"),
    ],
)  # fmt: skip
def test_ends_that_cannot_be_put_aside_are_refused_before_anything_is_loaded(
    method: dict[str, list[str]], memory: dict[str, str], part: str
) -> None:
    """DEMO's embedding and head are one matrix."""
    recipe = make_recipe({"type": "lora", **method}, memory=memory)
    with pytest.raises(RecipeError, match=part):
        resolve(recipe, gpu(80), DEMO)


def test_an_adapted_head_cannot_be_put_aside() -> None:
    method = {"type": "lora", "targets": ["q_proj", "lm_head"]}
    recipe = make_recipe(method, memory={"head": "nf4"})
    with pytest.raises(RecipeError, match=r"`memory\.head` is nf4; the recipe trains"):
        resolve(recipe, gpu(80), LLAMA_7B)


@pytest.mark.parametrize("memory", [{"head": "host"}, {"embeddings": "host"}])
def test_one_end_of_one_matrix_takes_the_other_with_it(memory: dict[str, str]) -> None:
    found = values(resolve(make_recipe("lora", memory=memory), gpu(80), DEMO))
    assert (found["embeddings"], found["head"]) == ("host", "host")


MIXTURE = ModelShape.from_config(
    {
        "model_type": "qwen3_moe", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 512, "num_experts": 4, "num_experts_per_tok": 2,
        "moe_intermediate_size": 32, "intermediate_size": 64,
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dora", True),
        ("dropout", 0.05),
        *(("init", each) for each in ("pissa", "pissa_niter_4", "olora", "orthogonal", "mica")),
    ],
)
def test_what_peft_does_not_know_of_experts_is_refused_with_the_targets_that_would_do(
    field: str, value: object
) -> None:
    """PEFT raises `ValueError` or `AttributeError` for each beside a parameter; it is said before anything is loaded."""
    asked = {"rank": 4, "targets": ["all-linear"], field: value}
    recipe = make_recipe({"type": "lora", **asked})
    with pytest.raises(RecipeError, match=rf"`method.{field}` is .* 4 experts") as caught:
        resolve(recipe, gpu(80), MIXTURE)
    assert "q_proj" in str(caught.value)
    fields: dict[str, Any] = {
        "dora": "use_dora",
        "dropout": "lora_dropout",
        "init": "init_lora_weights",
    }
    given: dict[str, Any] = {fields[field]: value}
    config = LoraConfig(r=4, target_modules="all-linear", **given)
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    with pytest.raises((ValueError, AttributeError)):
        get_peft_model(make_model("qwen3_moe", **experts), config)


@pytest.mark.parametrize(
    "method",
    [
        {"type": "lora"},
        {"type": "lora", "dropout": 0.05, "targets": ["q_proj", "v_proj"]},
        {"type": "lora", "init": "gaussian"},
        {"type": "lora", "init": "pissa", "targets": ["q_proj", "v_proj"]},
        {"type": "lora", "dora": True, "targets": ["q_proj", "k_proj", "v_proj", "o_proj"]},
    ],
)
def test_experts_without_dora_and_dora_without_experts_are_planned(method: dict[str, Any]) -> None:
    predicted = resolve(make_recipe(method), gpu(80), MIXTURE).predicted
    assert predicted is not None
    assert predicted.peak_bytes > 0


def test_int8_layers_that_are_compiled_and_computed_again_are_refused() -> None:
    """What bitsandbytes' layers keep would come on top of the plan; where nothing is computed again all of it is planned."""
    int8 = {"type": "qlora", "quantization": "int8"}
    with pytest.raises(RecipeError, match=r"`train\.compile` is true with .* int8"):
        resolve(make_recipe(int8, train__compile=True), gpu(80), LLAMA_7B)
    kept = make_recipe(int8, train__compile=True, memory__gradient_checkpointing=False)
    assert resolve(kept, gpu(80), LLAMA_7B).predicted is not None
