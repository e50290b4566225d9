"""The half of a model that reads pictures is on the device too, and is planned."""

from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from xtune.catalog import recorded_config
from xtune.memory import ModelShape
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
