"""Folders that are opened, and folders that cannot be."""

import shutil
from pathlib import Path

import pytest
import torch
from factories import make_plan, random_batch, save_model

from xtune.adapter.attach import attach
from xtune.adapter.open import open_run
from xtune.adapter.save import save_final
from xtune.errors import ModelError, RunError, XtuneError
from xtune.models.load import load_model, load_tokenizer
from xtune.recipe import dump_recipe

BATCH = random_batch(1, 12)


@torch.no_grad()
def logits_of(model: torch.nn.Module) -> torch.Tensor:
    return model(input_ids=BATCH.input_ids, use_cache=False).logits.float()


def adapter_for(base: Path, folder: Path) -> Path:
    """An adapter with random B, so that it has an effect without training."""
    plan = make_plan({"model": {"name": str(base)}})
    tokenizer = load_tokenizer(plan.recipe.model, None)
    model = attach(load_model(plan), plan, tokenizer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    save_final(model, tokenizer, folder, plan)
    (folder.parent / "recipe.yaml").write_text(dump_recipe(plan.recipe), encoding="utf-8")
    return folder


def test_a_run_its_adapter_folder_and_a_copied_adapter_open_to_the_same_model(
    tmp_path: Path,
) -> None:
    base = save_model(tmp_path / "base")
    adapter = adapter_for(base, tmp_path / "run" / "adapter")
    bare = tmp_path / "bare"
    shutil.copytree(adapter, bare)
    opened = [open_run(folder, device="cpu") for folder in (tmp_path / "run", adapter, bare)]
    logits = [logits_of(one.model) for one in opened]
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])
    assert not any(parameter.requires_grad for parameter in opened[0].model.parameters())
    alone = open_run(tmp_path / "run", device="cpu", base_only=True)
    assert torch.equal(logits_of(alone.model), logits_of(open_run(base, device="cpu").model))
    assert not torch.equal(logits_of(alone.model), logits[0])


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    adapter = adapter_for(save_model(tmp_path / "base"), tmp_path / "run" / "adapter")
    save_model(tmp_path / "base", num_hidden_layers=1)
    with pytest.raises(ModelError, match="tensors"):
        open_run(adapter, device="cpu")


def test_a_damaged_adapter_is_named(tmp_path: Path) -> None:
    adapter = adapter_for(save_model(tmp_path / "base"), tmp_path / "run" / "adapter")
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="is damaged"):
        open_run(adapter, device="cpu")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder.with_name("other").mkdir(), "no folder"),
        (lambda folder: folder.mkdir(), "neither a run"),
        (lambda folder: adapter_without_end(folder), "not finished"),
    ],
)
def test_a_folder_with_nothing_to_open_says_what_is_missing(tmp_path: Path, make, words) -> None:
    make(tmp_path / "x")
    with pytest.raises(RunError, match=words):
        open_run(tmp_path / "x", device="cpu")


def adapter_without_end(folder: Path) -> None:
    """A run that was started and not finished."""
    folder.mkdir()
    plan = make_plan()
    (folder / "recipe.yaml").write_text(dump_recipe(plan.recipe), encoding="utf-8")


def test_every_refusal_is_an_error_for_people(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(XtuneError, match="not valid JSON"):
        open_run(tmp_path, device="cpu")
