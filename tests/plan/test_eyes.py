"""The half of a model that reads pictures is on the device too, and is planned."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.simulation import simulate
from xtune.catalog import recorded_config
from xtune.memory import ModelShape, Workload, predict
from xtune.models.quiet import quiet


def test_gemma_3s_eyes_and_their_adapters_are_counted_to_the_number() -> None:
    config = recorded_config("google/gemma-3-4b-it")
    assert config is not None
    shape = ModelShape.from_config(config)
    with torch.device("meta"), quiet():
        build: Any = AutoModelForCausalLM.from_config
        model = build(AutoConfig.for_model(**config))
        whole = sum(each.numel() for each in model.parameters())
        make: Any = LoraConfig
        adapted = get_peft_model(model, make(r=4, target_modules="all-linear"))
    eyes = sum(count * each.weights for count, each in shape.eyes) + shape.eyes_rest
    assert shape.parameters + eyes == whole
    trained = sum(each.numel() for each in adapted.parameters() if each.requires_grad)
    of_eyes = 4 * sum(count * (each.inputs + each.outputs) for count, each in shape.eyes)
    assert shape.lora_parameters(4) + of_eyes == trained


@pytest.mark.parametrize("frugal", [False, True])
def test_of_a_model_with_eyes_no_more_logits_exist_than_a_chunks(frugal: bool) -> None:
    """Its head is found behind the half that reads pictures; whole logits would be 85 MiB in 32 bits alone."""
    text = {
        "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 1, "head_dim": 64, "vocab_size": 32000, "sliding_window": 128,
    }  # fmt: skip
    eyes = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
    }  # fmt: skip
    config = AutoConfig.for_model("gemma3", text_config=text, vision_config=eyes)
    work = Workload(
        method="qlora", quantization="nf4", rank=8, tokens=700, loss_chunk_tokens=64, frugal=frugal, tile_tokens=256,
    )  # fmt: skip
    computed = predict(ModelShape.from_config(config.to_dict()), work)
    allocated = computed.tensor_bytes
    assert allocated == pytest.approx(simulate(config, work).peak, rel=0.03)
