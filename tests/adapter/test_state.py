"""Trained tensors go out and back bit for bit."""

import io
from typing import Any

import pytest
import torch
from factories import make_model, make_plan, make_tokenizer

from xtune.adapter.attach import attach
from xtune.adapter.state import load_trainable_state, trainable_state
from xtune.errors import ModelError


def made(method: dict[str, Any], **changes: Any) -> torch.nn.Module:
    return attach(make_model(**changes), make_plan({"method": method}), make_tokenizer())


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize(
    "method",
    [
        {"type": "full"},
        {"type": "lora", "dora": True},
        {"type": "lora", "new_tokens": ["<a>"], "modules_to_save": ["norm"]},
        {"type": "lora", "modules_to_save": ["lm_head"]},
    ],
    ids=lambda method: "-".join(str(value) for value in method.values()),
)
def test_a_state_restores_the_model_exactly(method: dict[str, Any], tied: bool) -> None:
    first, second = (made(method, tie_word_embeddings=tied) for _ in range(2))
    with torch.no_grad():
        for parameter in first.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    stream = io.BytesIO()
    torch.save(trainable_state(first), stream)
    stream.seek(0)
    load_trainable_state(second, torch.load(stream, weights_only=True))
    for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_a_tied_tensor_is_stored_once() -> None:
    state = trainable_state(made({"type": "full"}, tie_word_embeddings=True))
    assert "lm_head.weight" not in state
    assert "model.embed_tokens.weight" in state


def test_a_factor_that_mica_freezes_is_stored_too() -> None:
    first, second = (made({"type": "lora", "init": "mica"}) for _ in range(2))
    factor = next(p for name, p in second.named_parameters() if ".lora_B." in name)
    factor.data.neg_()  # the same directions, as another machine may find them
    load_trainable_state(second, trainable_state(first))
    for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_types_are_kept() -> None:
    plan = make_plan({"method": "full"})
    model = attach(make_model().to(torch.bfloat16), plan, make_tokenizer())
    assert {tensor.dtype for tensor in trainable_state(model).values()} == {torch.bfloat16}


def test_a_state_of_another_method_is_refused() -> None:
    model = made({"type": "lora"})
    with pytest.raises(ModelError, match="differ in"):
        load_trainable_state(model, trainable_state(made({"type": "lora", "targets": ["q_proj"]})))
    with pytest.raises(ModelError, match=r"\(8, 64\)"):
        load_trainable_state(model, trainable_state(made({"type": "lora", "rank": 8})))
