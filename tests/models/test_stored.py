"""What of a base that is stored quantised is whole: against transformers' own choice and against the bytes of a stored model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, PretrainedConfig
from transformers.quantizers.quantizers_utils import should_convert_module

from xtune.memory.resident import layer_weight_bytes, weight_bytes
from xtune.memory.shape import ModelShape
from xtune.memory.workload import Workload

AUTO: Any = AutoModelForCausalLM  # untyped, as is the next
CONFIG: Any = BitsAndBytesConfig

SIZES: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 12,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
QLORA = Workload(method="qlora", tokens=8, quantization="nf4", double_quantization=False, rank=8)


def described(config: PretrainedConfig, skipped: object) -> dict[str, Any]:
    stored = {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "llm_int8_skip_modules": skipped,
    }
    return {**config.to_dict(), "quantization_config": stored}


@pytest.mark.parametrize(
    "skipped",
    [
        ["lm_head"],
        ["model.layers.1"],  # not 10 and 11
        ["model.layers.3.mlp", "model.layers.3.self_attn.k_proj", "lm_head"],
        ["model.layers.*.mlp.down_proj", "v_proj"],
        [r"model\.layers\.(2|7)\.self_attn"],
        ["mlp.gate", "layers.5", "self_attn"],
    ],
)
def test_matrices_that_are_kept_whole_are_those_that_transformers_keeps(skipped: list[str]) -> None:
    config = LlamaConfig(**SIZES)
    with torch.device("meta"):
        model = AUTO.from_config(config)
    kept = [
        sum(
            part.weight.numel()
            for name, part in layer.named_modules(prefix=f"model.layers.{number}")
            if isinstance(part, torch.nn.Linear) and not should_convert_module(name, skipped)
        )
        for number, layer in enumerate(model.model.layers)
    ]
    shape = ModelShape.from_config(described(config, skipped))
    assert (shape.whole_weights, shape.most_whole_weights) == (sum(kept), max(kept))


@pytest.mark.parametrize("listed", [None, [], "lm_head", 3, ["(", "vision_tower"]])
def test_a_list_that_names_no_part_of_a_layer_keeps_none_whole(listed: object) -> None:
    shape = ModelShape.from_config(described(LlamaConfig(**SIZES), listed))
    assert (shape.whole_weights, shape.most_whole_weights) == (0, 0)


def test_the_layers_of_a_stored_base_take_the_bytes_that_are_planned(tmp_path: Path) -> None:
    skipped = ["lm_head", "model.layers.3.mlp", "model.layers.7.self_attn.q_proj"]
    torch.manual_seed(0)
    whole = AUTO.from_config(LlamaConfig(**SIZES), dtype=torch.bfloat16)
    whole.save_pretrained(tmp_path / "whole")
    stored = CONFIG(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=skipped,
    )
    loaded = AUTO.from_pretrained(
        tmp_path / "whole", quantization_config=stored, dtype=torch.bfloat16
    )
    held = [_bytes(layer) for layer in loaded.model.layers]
    shape = ModelShape.from_config({**loaded.config.to_dict()})
    assert weight_bytes(shape, QLORA) == sum(held) + _bytes(loaded.model.norm)
    assert layer_weight_bytes(shape, QLORA) == max(held)


def _bytes(module: torch.nn.Module) -> int:
    parts: list[Any] = list(module.modules())
    quantised = [part for part in parts if hasattr(getattr(part, "weight", None), "quant_state")]
    scales = sum(part.weight.quant_state.absmax.nbytes for part in quantised)
    return int(scales + sum(each.nbytes for each in module.parameters()))
