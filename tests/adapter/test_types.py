"""Nothing of a 16-bit base is made float32: not when it is loaded, not when it gets an adapter, not while it trains."""

from pathlib import Path
from typing import Any

import pytest
import torch
from factories import make_plan, make_tokenizer, random_batch, save_model
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xtune.adapter.attach import attach
from xtune.adapter.types import cast_parameters, said_types
from xtune.kernels.loss import LossModule
from xtune.models.load import load_model
from xtune.train.ends import place_ends
from xtune.train.techniques import apply_techniques

VOCAB, HIDDEN = 264, 64


class WideTables(TorchDispatchMode):
    """Notes every float32 tensor of the size of the embedding's or the head's matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            is_wide = isinstance(each, torch.Tensor) and each.dtype == torch.float32
            if is_wide and sorted(each.shape) == [HIDDEN, VOCAB]:
                self.found.append(str(func))
        return result


def ready(folder: Path, method: dict[str, Any], **choices: Any) -> tuple[nn.Module, Any, int]:
    plan = make_plan(
        {"model": {"name": str(folder)}, "method": method},
        weight_dtype="bfloat16",
        compute_dtype="bfloat16",
        **choices,
    )
    model = load_model(plan)
    place_ends(model, plan)
    attached = attach(model, plan, make_tokenizer())
    return attached, plan, apply_techniques(attached, plan, folder)


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"frugal_layers": True, "tile_tokens": 8, "gradient_checkpointing": True},
        {"embeddings": "host", "head": "host"},
    ],
)
def test_a_step_makes_no_float32_copy_of_embedding_head_or_norms(
    tmp_path: Path, method: str, choices: dict[str, Any]
) -> None:
    folder = save_model(tmp_path / "base", dtype="bfloat16", tie_word_embeddings=False)
    with WideTables() as watched:
        model, plan, tile = ready(folder, {"type": method, "rank": 4}, **choices)
        batch = random_batch()
        LossModule(model, 4, tile)(
            batch.input_ids, batch.labels, batch.weights, batch.position_ids
        ).backward()
    assert not watched.found
    wide = {n for n, p in model.named_parameters() if p.dtype == torch.float32}
    assert wide == {n for n, p in model.named_parameters() if p.requires_grad}
    assert all(".lora_" in name for name in wide)
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert cast_parameters(model, torch.bfloat16) == {("the adapter", torch.float32): count}
    sentence = said_types(model, plan)
    assert sentence == (
        "Held in bfloat16, embeddings, head and norms too, except "
        f"{count:,} parameters of the adapter in float32."
    )


def test_the_watch_sees_what_peft_would_do(tmp_path: Path) -> None:
    from peft import prepare_model_for_kbit_training

    folder = save_model(tmp_path / "base", dtype="bfloat16", tie_word_embeddings=False)
    plan = make_plan({"model": {"name": str(folder)}}, weight_dtype="bfloat16")
    model = load_model(plan)
    with WideTables() as watched:
        model.is_loaded_in_4bit = True
        prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    assert watched.found
    assert sum(cast_parameters(model, torch.bfloat16).values()) == model.num_parameters()


def test_what_is_trained_in_full_is_named_with_its_type(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "base", dtype="bfloat16", tie_word_embeddings=False)
    method = {"type": "lora", "rank": 4, "modules_to_save": ["lm_head"]}
    model, plan, _ = ready(folder, method)
    found = cast_parameters(model, torch.bfloat16)
    assert found["the adapter", torch.float32] > VOCAB * HIDDEN
    assert "in float32" in str(said_types(model, plan))
    whole = make_plan({"model": {"name": str(folder)}})
    assert said_types(load_model(whole), whole) is None
