"""Adapters that change what a model says, without training."""

import copy
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model


def with_adapter(model: Any, **more: Any) -> PeftModel:
    """The model with a LoRA adapter that does something."""
    torch.manual_seed(2)
    adapted = get_peft_model(
        copy.deepcopy(model),
        LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], **more),
    )
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name or "modules_to_save" in name or "trainable_tokens_delta" in name:
                parameter.add_(torch.randn_like(parameter))
    return adapted.eval()
