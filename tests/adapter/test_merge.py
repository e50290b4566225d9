"""Merged models: standalone, close to their adapter, and safe from bitsandbytes' repacking on the CPU."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import causal_loss, make_plan, random_batch, save_model
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from xtune.adapter.attach import attach
from xtune.adapter.groups import parameter_groups
from xtune.adapter.merge import merge
from xtune.adapter.save import save_final
from xtune.errors import RunError
from xtune.models.load import load_model, load_tokenizer
from xtune.recipe import dump_recipe
from xtune.train.optimizer import build_optimizer

BATCH = random_batch(2, 20, seed=1)


@torch.no_grad()
def logits_of(model: nn.Module) -> torch.Tensor:
    return model(input_ids=BATCH.input_ids, use_cache=False).logits.float()


def finished_run(
    run: Path, base: Path, method: dict[str, Any], dtype: str = "float32"
) -> torch.Tensor:
    """Train, evaluate, train, evaluate, save; returns the last logits."""
    recipe = {"model": {"name": str(base)}, "method": method, "train": {"learning_rate": 5e-3}}
    plan = make_plan(recipe, weight_dtype=dtype, compute_dtype=dtype)
    tokenizer = load_tokenizer(plan.recipe.model, None)
    model = attach(load_model(plan), plan, tokenizer)
    optimizer = build_optimizer(parameter_groups(model, plan), plan)
    logits = torch.empty(0)
    for _ in range(2):
        model.train()
        for _ in range(3):
            (causal_loss(model, BATCH, chunk_tokens=16) / 36).backward()
            optimizer.step()
            optimizer.zero_grad()
        model.eval()
        logits = logits_of(model)
    run.mkdir()
    save_final(model, tokenizer, run / "adapter", plan)
    (run / "recipe.yaml").write_text(dump_recipe(plan.recipe), encoding="utf-8")
    (run / "plan.json").write_text(json.dumps(plan.to_json()), encoding="utf-8")
    return logits


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize(
    "method",
    [
        {"type": "lora"},
        {"type": "lora", "dora": True},
        {"type": "lora", "init": "pissa"},
        {"type": "lora", "modules_to_save": ["lm_head", "norm"]},
        {"type": "lora", "new_tokens": ["<call>"]},
    ],
    ids=lambda method: "-".join(str(value) for value in method.values()),
)
def test_a_merged_model_gives_the_adapters_logits_in_plain_transformers(
    tmp_path: Path, method: dict[str, Any], tied: bool
) -> None:
    base = save_model(tmp_path / "base", tie_word_embeddings=tied)
    expected = finished_run(tmp_path / "run", base, method)
    merged = merge(tmp_path / "run", tmp_path / "merged")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits_of(loaded), expected, atol=1e-4, rtol=0)
    assert merged.written.largest < 1e-4
    assert merged.written.same_choice == merged.written.positions
    assert loaded.config.tie_word_embeddings == tied
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert tokenizer.chat_template
    assert len(tokenizer) <= loaded.config.vocab_size


@pytest.mark.parametrize("quantization", ["nf4", "fp4", "int8"])
def test_a_dequantised_base_keeps_what_qlora_trained_and_the_original_weights_do_not(
    tmp_path: Path, quantization: str
) -> None:
    base = save_model(tmp_path / "base")
    method = {"type": "qlora", "quantization": quantization}
    expected = finished_run(tmp_path / "run", base, method)
    kept = merge(tmp_path / "run", tmp_path / "kept", base="dequantised")
    lost = merge(tmp_path / "run", tmp_path / "lost", base="unquantised")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "kept")
    assert not hasattr(loaded.config, "quantization_config")
    # int8 multiplies rounded inputs, so the weights alone do not give its logits back to the last digit
    tolerance = 0.1 if quantization == "int8" else 1e-3
    assert (logits_of(loaded) - expected).abs().max() < tolerance * expected.abs().max()
    assert kept.trained.spread < lost.trained.spread
    assert kept.trained == kept.written
    assert lost.written.spread < 1e-3
    assert "quantised weights it was trained on" in str(lost)
    assert "trained on" in str(kept)


def test_evaluating_nf4_on_a_cpu_changes_neither_weights_nor_gradients(tmp_path: Path) -> None:
    """The 4-bit layers of bitsandbytes 0.50 repack their weights in place in an eval-mode forward where the CPU has avx512_bf16."""
    # whole blocks of 64 in every layer: there the repacking is silent, elsewhere it crashes
    base = save_model(tmp_path / "base", intermediate_size=128)
    plan = make_plan(
        {"model": {"name": str(base)}, "method": "qlora"},
        weight_dtype="bfloat16",
        compute_dtype="bfloat16",
    )

    def gradients(evaluate_first: bool) -> list[torch.Tensor]:
        model = attach(load_model(plan), plan, load_tokenizer(plan.recipe.model, None))
        if evaluate_first:
            model.eval()
            logits_of(model)
            model.train()
        causal_loss(model, BATCH, chunk_tokens=16).backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    untouched, evaluated = gradients(False), gradients(True)
    assert untouched
    assert all(torch.equal(a, b) for a, b in zip(untouched, evaluated, strict=True))


def test_a_taken_folder_a_whole_model_and_a_pointless_base_are_refused(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    with pytest.raises(RunError, match="needs no merging"):
        merge(base, tmp_path / "merged")
    finished_run(tmp_path / "run", base, {"type": "lora"})
    with pytest.raises(RunError, match="exists already"):
        merge(tmp_path / "run", base)
    with pytest.raises(RunError, match="not trained on a quantised base"):
        merge(tmp_path / "run", tmp_path / "merged", base="dequantised")
    assert not (tmp_path / "merged").exists()


def test_a_base_stored_in_four_bits_is_merged_as_what_it_stands_for(tmp_path: Path) -> None:
    plain = save_model(tmp_path / "plain", tie_word_embeddings=True)
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    stored = AutoModelForCausalLM.from_pretrained(plain, quantization_config=config)
    base = tmp_path / "base"
    stored.save_pretrained(base)
    for path in plain.glob("*token*"):
        (base / path.name).write_bytes(path.read_bytes())
    expected = finished_run(tmp_path / "run", base, {"type": "qlora"})
    with pytest.raises(RunError, match="Merge with --base dequantised"):
        merge(tmp_path / "run", tmp_path / "merged")
    merged = merge(tmp_path / "run", tmp_path / "merged", base="dequantised")
    assert merged.trained.spread < 1e-3
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert not hasattr(ours.config, "quantization_config")
    assert (logits_of(ours.float()) - expected).abs().max() < 1e-3 * expected.abs().max()
