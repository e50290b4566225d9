"""Weights read a layer at a time, against what transformers reads by itself."""

from pathlib import Path
from typing import Any

import pytest
import torch
from factories import save_model
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from xtune.models.load import Loading, load_base
from xtune.recipe.models import Model, QLoRA

MOE = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "decoder_sparse_step": 1,
}
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"tie_word_embeddings": True},
    "mistral": {},
    "gemma2": {},
    "gemma3_text": {},
    "phi": {},
    "phi3": {},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4},
    "gpt_neox": {},
    "cohere2": {},
    "olmo2": {},
    "granite": {},
    "qwen3_moe": MOE,
    "mixtral": MOE,
    "olmoe": MOE,
}


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and buffer by name, with all that a quantised weight carries."""
    found: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    found.update(model.named_buffers(remove_duplicate=False))
    for name, parameter in list(found.items()):
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            found.update({f"{name}.{k}": v for k, v in state.as_dict(packed=True).items()})
        if getattr(parameter, "SCB", None) is not None:
            found[f"{name}.SCB"] = parameter.SCB
    return found


def loading(folder: Path, quantization: str | None, **options: Any) -> Loading:
    method = QLoRA.model_validate({"type": "qlora", "quantization": quantization})
    return Loading(
        model=Model(name=str(folder)),
        device="cpu",
        weight_dtype="bfloat16",
        compute_dtype="bfloat16",
        attention="eager",
        quantization=method if quantization else None,
        **options,
    )


def plain(folder: Path, quantization: str | None) -> nn.Module:
    options: dict[str, Any] = {}
    if quantization:
        options["quantization_config"] = (
            BitsAndBytesConfig(load_in_8bit=True)
            if quantization == "int8"
            else BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type=quantization,
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=torch.bfloat16,
            )
        )
    model: nn.Module = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, attn_implementation="eager", device_map={"": "cpu"}, **options
    )
    return model


def assert_same(one: nn.Module, other: nn.Module) -> None:
    found, expected = tensors(one), tensors(other)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("kind", KINDS)
def test_nf4_models_are_those_that_transformers_loads(kind: str, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "base", kind, dtype="bfloat16", pad_token_id=0, **KINDS[kind])
    found = load_base(loading(folder, "nf4"))
    expected = plain(folder, "nf4")
    assert_same(found, expected)
    assert found._weight_conversions == expected._weight_conversions or len(
        found._weight_conversions
    ) == len(expected._weight_conversions)
    assert found.config.to_dict() == expected.config.to_dict()
    assert found.generation_config.to_dict() == expected.generation_config.to_dict()
