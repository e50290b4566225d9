"""Sets a loaded model's trainable parameters: all of them, or a PEFT adapter made for the plan. Trains nothing."""

import logging
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xtune.adapter.expanding import keep_weights
from xtune.adapter.narrow import narrow_dora
from xtune.adapter.targets import (
    ALL_LINEAR,
    changes_base,
    check_modules_to_save,
    check_start,
    choose_targets,
    is_tied,
    router_names,
    saves_embeddings,
)
from xtune.adapter.vocabulary import add_new_tokens
from xtune.adapter.widen import widen_saved_modules
from xtune.kernels.neftune import add_neftune
from xtune.models.quiet import quiet
from xtune.plan import Plan
from xtune.recipe.models import Full, LowRank

log = logging.getLogger("xtune")

_initial_factors: "WeakKeyDictionary[nn.Module, dict[str, torch.Tensor]]" = WeakKeyDictionary()
"""A and B as PiSSA or OLoRA set them, by model: `save_final` subtracts them again."""


def attach(model: PreTrainedModel, plan: Plan, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    """The model with its trainable parameters set, in train mode; seeded by the recipe.

    New tokens are added to `tokenizer` as well, and NEFTune's noise to the embeddings. What is trained
    beside a frozen base is float32, whatever the base's type.

    Returns:
        The model itself for `full`, a `PeftModel` for `lora` and `qlora`.

    Raises:
        ModelError: A target or module name matches nothing, or an initialisation does not fit the base.
    """
    method = plan.recipe.method
    if plan.recipe.train.neftune_alpha is not None:
        add_neftune(model, plan.recipe.train.neftune_alpha)
    result: nn.Module = model
    if isinstance(method, Full):
        model.requires_grad_(True)
    else:
        result = _attach_low_rank(model, plan, method, tokenizer)
    return result.train()


def initial_factors(model: nn.Module) -> Mapping[str, torch.Tensor] | None:
    """The low-rank factors right after PiSSA or OLoRA, by parameter name; None for every other start."""
    return _initial_factors.get(model)


def _attach_low_rank(
    model: PreTrainedModel, plan: Plan, method: LowRank, tokenizer: PreTrainedTokenizerBase
) -> PeftModel:
    model.requires_grad_(False)
    check_start(model, method)
    check_modules_to_save(model, method)
    config = _lora_config(model, plan, method, tokenizer)
    devices = [torch.cuda.current_device()] if plan.device.value == "cuda" else []
    keep_weights()
    with torch.random.fork_rng(devices=devices), quiet():
        torch.manual_seed(plan.recipe.run.seed)
        peft_model = get_peft_model(model, config, autocast_adapter_dtype=True)
    untyped: Any = model
    untyped.disable_input_require_grads()  # PEFT's, for reentrant checkpointing, which is not used
    widen_saved_modules(peft_model)
    narrow_dora(peft_model)
    _report_experts(peft_model, method)
    if changes_base(method):
        _initial_factors[peft_model] = {
            name: parameter.detach().cpu().clone()
            for name, parameter in peft_model.named_parameters()
            if ".lora_A." in name or ".lora_B." in name
        }
    return peft_model


def _lora_config(
    model: PreTrainedModel, plan: Plan, method: LowRank, tokenizer: PreTrainedTokenizerBase
) -> LoraConfig:
    targets = choose_targets(model, method)
    tied_and_saved = is_tied(model) and saves_embeddings(model, method)
    make: Any = LoraConfig  # annotated more narrowly than what it takes
    config: LoraConfig = make(
        task_type="CAUSAL_LM",
        base_model_name_or_path=plan.recipe.model.name,
        revision=plan.recipe.model.revision,
        r=method.rank,
        lora_alpha=plan.alpha.value,
        lora_dropout=method.dropout,
        target_modules=targets,
        exclude_modules=router_names(model) or None,
        use_rslora=method.rslora,
        use_dora=method.dora,
        init_lora_weights=True if method.init == "default" else method.init,
        trainable_token_indices=add_new_tokens(model, tokenizer, method.new_tokens),
        modules_to_save=list(method.modules_to_save) or None,
        ensure_weight_tying=tied_and_saved,
    )
    return config


def _report_experts(model: nn.Module, method: LowRank) -> None:
    """Warn of experts, parameters of three dimensions, beside which there is no adapter."""
    names = [name for name, each in model.named_parameters() if each.requires_grad]
    experts = sum(each.numel() for each in model.parameters() if each.ndim == 3)
    if experts and not any(".experts." in name for name in names):
        log.warning(
            "Adapters do not reach the experts: %d parameters stay as they are.%s",
            experts,
            "" if ALL_LINEAR in method.targets else " `method.targets: [all-linear]` may.",
        )
