"""A saved result gives the training logits in plain peft and transformers, without xtune."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import causal_loss, make_plan, make_tokenizer, random_batch, save_model
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from xtune.adapter.attach import attach
from xtune.adapter.groups import parameter_groups
from xtune.adapter.open import open_run
from xtune.adapter.save import save_final
from xtune.hardware import detect
from xtune.models.load import load_model, load_tokenizer
from xtune.plan import Plan
from xtune.train.optimizer import build_optimizer

# what plain peft 0.21 does with transformers 5.23
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

BATCH = random_batch(2, 20, seed=1)


def train_and_save(folder: Path, plan: Plan, *, steps: int = 3) -> torch.Tensor:
    """A few real steps; returns the logits of the trained model in eval mode."""
    tokenizer = load_tokenizer(plan.recipe.model, None)
    model = attach(load_model(plan), plan, tokenizer)
    optimizer = build_optimizer(parameter_groups(model, plan), plan)
    for _ in range(steps):
        (causal_loss(model, BATCH, chunk_tokens=16) / 36).backward()
        optimizer.step()
        optimizer.zero_grad()
    save_final(model, tokenizer, folder, plan)
    return logits_of(model.eval())


@torch.no_grad()
def logits_of(model: nn.Module) -> torch.Tensor:
    return model(input_ids=BATCH.input_ids, use_cache=False).logits.float()


def plan_for(base: Path, method: dict[str, Any], dtype: str = "float32", **train: Any) -> Plan:
    recipe = {
        "model": {"name": str(base)},
        "method": method,
        "train": {"learning_rate": 5e-3, "max_steps": 3, **train},
    }
    return make_plan(recipe, weight_dtype=dtype, compute_dtype=dtype)


ADAPTERS = {
    "plain": {},
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "gaussian": {"init": "gaussian"},
    "orthogonal": {"init": "orthogonal"},
    "pissa": {"init": "pissa"},
    "pissa-fast": {"init": "pissa_niter_4"},
    "pissa-rslora": {"init": "pissa", "rslora": True},
    "pissa-dora": {"init": "pissa", "dora": True},
    "olora": {"init": "olora"},
    "mica": {"init": "mica"},
    "mica-rslora": {"init": "mica", "rslora": True},
    "two-targets": {"targets": ["q_proj", "mlp.down_proj"]},
    "head": {"modules_to_save": ["lm_head"]},
    "norm": {"modules_to_save": ["norm"]},
    "embedding": {"modules_to_save": ["embed_tokens"]},
}


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_gives_the_training_logits_in_plain_peft_on_the_untouched_base(
    tmp_path: Path, name: str, tied: bool
) -> None:
    from peft import PeftModel

    base = save_model(tmp_path / "base", tie_word_embeddings=tied)
    expected = train_and_save(
        tmp_path / "adapter", plan_for(base, {"type": "lora", "rank": 4, **ADAPTERS[name]})
    )
    plain = AutoModelForCausalLM.from_pretrained(base)
    untouched = logits_of(plain)
    loaded = logits_of(PeftModel.from_pretrained(plain, tmp_path / "adapter").eval())
    assert (expected - untouched).abs().max() > 0.05, "the training changed nothing"
    torch.testing.assert_close(loaded, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "method",
    [
        {"type": "lora"},
        {"type": "lora", "modules_to_save": ["lm_head", "norm"]},
        {"type": "lora", "new_tokens": ["<call>"]},
        {"type": "qlora"},
        {"type": "qlora", "dora": True},
        {"type": "qlora", "quantization": "fp4"},
        {"type": "qlora", "quantization": "int8"},
        {"type": "qlora", "new_tokens": ["<call>"]},
    ],
    ids=lambda method: "-".join(str(value) for value in method.values()),
)
def test_a_reopened_adapter_gives_exactly_the_training_logits(
    tmp_path: Path, method: dict[str, Any], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xtune.recipe import dump_recipe

    # a machine that computes in bfloat16 at speed opens it so; another one would in float32
    machine = dataclasses.replace(detect("cpu"), has_bfloat16=True)
    monkeypatch.setattr("xtune.adapter.open.detect", lambda _: machine)
    base = save_model(tmp_path / "base", dtype=dtype)
    plan = plan_for(base, method, dtype)
    expected = train_and_save(tmp_path / "adapter", plan)
    (tmp_path / "recipe.yaml").write_text(dump_recipe(plan.recipe), encoding="utf-8")
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_json()), encoding="utf-8")
    opened = open_run(tmp_path, device="cpu")
    assert torch.equal(logits_of(opened.model), expected)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_new_tokens_load_with_a_plain_auto_class(tmp_path: Path, tied: bool) -> None:
    from peft import AutoPeftModelForCausalLM

    base = save_model(tmp_path / "base", tie_word_embeddings=tied)
    method = {"type": "lora", "new_tokens": ["<call>", "</call>"]}
    expected = train_and_save(tmp_path / "adapter", plan_for(base, method))
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter").eval()
    torch.testing.assert_close(logits_of(loaded), expected, atol=1e-5, rtol=0)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "adapter")
    assert tokenizer.encode("a<call>", add_special_tokens=False)[-1] == 260
    assert tokenizer.decode([260], skip_special_tokens=True) == "<call>"


def test_an_adapter_folder_is_small_and_names_its_base(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    train_and_save(tmp_path / "adapter", plan_for(base, {"type": "lora", "rank": 2}), steps=1)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["r"], config["lora_alpha"]) == (
        str(base),
        2,
        4.0,
    )
    names = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert names >= {"adapter_model.safetensors", "tokenizer.json", "chat_template.jinja"}
    generation = json.loads((tmp_path / "adapter" / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [
        258,
        256,
    ]  # <|im_end|>, which training ends turns with, first
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert len(tensors) == 2 * 7 * 2  # two factors, seven linear layers, two blocks


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_a_full_fine_tune_loads_in_plain_transformers(tmp_path: Path, tied: bool) -> None:
    base = save_model(tmp_path / "base", tie_word_embeddings=tied)
    expected = train_and_save(tmp_path / "model", plan_for(base, {"type": "full"}))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert torch.equal(logits_of(loaded), expected)
    assert loaded.generation_config.eos_token_id == [258, 256]  # <|im_end|>, <|endoftext|>
    assert loaded.generation_config.pad_token_id == 259
    assert loaded.config.use_cache


def test_float32_master_weights_are_saved_in_the_type_of_the_base(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", dtype="bfloat16", tie_word_embeddings=True)
    expected = train_and_save(tmp_path / "model", plan_for(base, {"type": "full"}))
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert "lm_head.weight" not in tensors
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    # bfloat16 keeps 8 bits: a relative rounding of at most 2**-9 in every weight
    assert (logits_of(loaded) - expected).abs().max() < 0.02 * expected.abs().max()
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_contradictory_generation_config_does_not_stop_the_saving(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = save_model(tmp_path / "base", tokenizer=make_tokenizer())
    path = base / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "temperature": 0.5}))
    train_and_save(tmp_path / "model", plan_for(base, {"type": "full"}), steps=1)
    assert "contradicts itself" in caplog.text
    saved = json.loads((tmp_path / "model" / "generation_config.json").read_text())
    assert saved["eos_token_id"] == [258, 256]
