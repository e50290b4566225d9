"""What the benchmark compares with: plain transformers, PEFT and bitsandbytes, Liger's kernels, Unsloth. No timing here.

Plain and Liger run on random weights, drawn a layer at a time. Unsloth reads its own model from files, so random ones are
written for it.
"""

import gc
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_layers import GradientCheckpointingLayer

LEARNING_RATES = {True: 2e-3, False: 2e-4}
"""With an adapter, and without; as in `benchmarks.gpu_shapes`."""

INITIAL_STD = 0.02
"""Standard deviation of the random weights (`initializer_range` of Llama's config)."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A model ready to train, and how one step of it is done."""

    model: nn.Module
    step: Callable[[torch.Tensor], float]
    """Forward, backward, clip, update on token ids (1, tokens); returns the mean loss before the update."""

    loss: Callable[[torch.Tensor], torch.Tensor]
    """From token ids (1, tokens) to the mean loss."""

    loss_kind: str


def build_rival(
    name: str,
    fields: Mapping[str, Any],
    *,
    rank: int,
    device: torch.device,
    tokens: int,
    folder: Path,
) -> Stack:
    """A stack that is not ours.

    Args:
        name: "plain", "liger" or "unsloth".
        fields: The model's config.json.
        rank: Of the adapter beside an NF4 base; 0: everything is trained in bfloat16.
        device: Where it trains.
        tokens: Of the longest sequence.
        folder: For files that a stack must read.
    """
    if name == "unsloth":
        model = _unsloth(fields, rank, tokens, folder)
        return _stack(model, device, rank, "Unsloth's")
    base = random_base(fields, device, quantised=rank > 0)
    base.config.use_cache = False
    if name == "liger":
        from liger_kernel.transformers import _apply_liger_kernel_to_instance

        _apply_liger_kernel_to_instance(model=base)
    base.train()
    if not rank:
        base.gradient_checkpointing_enable({"use_reentrant": False})
        return _stack(base.requires_grad_(True), device, rank, "whole logits")
    # what PEFT documents: everything in 16 bits is cast to float32
    prepared = prepare_model_for_kbit_training(
        base,
        use_gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": False},
    )
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    kind = "Liger's" if name == "liger" else "whole logits"
    return _stack(get_peft_model(prepared, config), device, rank, kind)


def _stack(model: nn.Module, device: torch.device, rank: int, loss_kind: str) -> Stack:
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATES[rank > 0], weight_decay=0.0)

    def loss(ids: torch.Tensor) -> torch.Tensor:
        with _autocast(device):
            found: torch.Tensor = model(input_ids=ids, labels=ids, use_cache=False).loss
        return found

    def step(ids: torch.Tensor) -> float:
        found = loss(ids)
        found.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(found.detach())

    return Stack(model=model, step=step, loss=loss, loss_kind=loss_kind)


def random_base(fields: Mapping[str, Any], device: torch.device, *, quantised: bool) -> Any:
    """A model with random weights in bfloat16, its decoder layers in NF4 if wanted, never more than a layer of it twice."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(**fields)
    build: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model = build.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer) and quantised:
            quantise_layer(layer, device)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    for module in model.modules():
        materialise(module, device, torch.bfloat16)
    if tied:
        model.get_output_embeddings().weight = model.get_input_embeddings().weight
    with torch.device(device):
        model.base_model.rotary_emb = type(model.base_model.rotary_emb)(config=config)
    if quantised:
        model.is_loaded_in_4bit = model.is_quantized = True  # what PEFT looks at
    gc.collect()
    return model


def quantise_layer(layer: nn.Module, device: torch.device) -> None:
    """Put random NF4 matrices in the place of a decoder layer's linear layers, one at a time; their biases stay to be filled."""
    for parent in list(layer.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, _random_nf4(child, device))


def _random_nf4(linear: nn.Linear, device: torch.device) -> nn.Module:
    import bitsandbytes as bits

    classes: Any = bits.nn
    layer: Any = classes.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=torch.bfloat16,
        quant_type="nf4",
        device="meta",
    )
    shape = (linear.out_features, linear.in_features)
    weight = torch.randn(shape, device=device, dtype=torch.bfloat16).mul_(INITIAL_STD)
    layer.weight = classes.Params4bit(
        weight, requires_grad=False, quant_type="nf4", compress_statistics=True, module=layer
    ).to(device)
    if hasattr(layer, "support_avx512bf16_for_cpu"):
        # bitsandbytes 0.50 repacks weights in place on such CPUs in a forward pass without gradients.
        layer.support_avx512bf16_for_cpu = False
    quantised: nn.Module = layer
    return quantised


DRAWN_BYTES = 2**26
"""Random numbers that are drawn on the device at one time for a table that stays in host memory: 64 MiB."""


def materialise(
    module: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    *,
    drawn_on: torch.device | None = None,
) -> None:
    """Give a module's own parameters that are still on the meta device their values: norms ones, biases zeros, tables random.

    Args:
        module: Whose children are left alone.
        device: Where they are to be.
        dtype: Their type.
        drawn_on: Where random numbers are drawn, a part at a time; default: where they are to be. A processor would take
            seconds for a large table.
    """
    for name, parameter in list(module.named_parameters(recurse=False)):
        if not parameter.is_meta:
            continue
        value = torch.empty(parameter.shape, dtype=dtype, device=device)
        if value.ndim <= 1:
            value.fill_(0.0 if name == "bias" else 1.0)
        elif drawn_on is None or drawn_on == device:
            value.normal_(0.0, INITIAL_STD)
        else:
            rows = max(1, DRAWN_BYTES // (value[0].nbytes))
            for part in torch.split(value, rows):
                part.copy_(torch.empty_like(part, device=drawn_on).normal_(0.0, INITIAL_STD))
        setattr(module, name, nn.Parameter(value, requires_grad=parameter.requires_grad))


def write_random_model(fields: Mapping[str, Any], folder: Path, device: torch.device) -> int:
    """A folder with config.json and random bfloat16 weights in one file for each layer; returns the bytes written."""
    import json

    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = AutoConfig.for_model(**fields)
    config.architectures = [AutoModelForCausalLM._model_mapping[type(config)].__name__]
    config.save_pretrained(folder)
    build: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model = build.from_config(config, dtype=torch.bfloat16)
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, parameter in model.named_parameters():
        words = name.split(".")
        part = next((word for word in words if word.isdigit()), "ends")
        parts.setdefault(part, {})[name] = parameter
    places, total = {}, 0
    for part, parameters in parts.items():
        file = f"model-{part}.safetensors"
        values = {name: _random(name, each, device) for name, each in parameters.items()}
        save_file(values, folder / file, metadata={"format": "pt"})
        places.update(dict.fromkeys(values, file))
        total += sum(each.nbytes for each in values.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return total


def _random(name: str, parameter: torch.Tensor, device: torch.device) -> torch.Tensor:
    value = torch.empty(parameter.shape, dtype=torch.bfloat16, device=device)
    if value.ndim > 1:
        return value.normal_(0.0, INITIAL_STD).cpu()
    return value.fill_(0.0 if name.endswith("bias") else 1.0).cpu()


def _unsloth(fields: Mapping[str, Any], rank: int, tokens: int, folder: Path) -> nn.Module:
    """As its documentation has it; written without Unsloth at hand."""
    import shutil

    from unsloth import FastLanguageModel

    from xtune.demo.bundled import bundled_path

    place = folder / "unsloth"
    write_random_model(fields, place, torch.device("cuda"))
    for file in bundled_path("bundled:demo").glob("*token*"):
        shutil.copy(file, place)
    model, _ = FastLanguageModel.from_pretrained(
        model_name=str(place), max_seq_length=tokens, dtype=torch.bfloat16, load_in_4bit=True
    )
    names = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    adapted: nn.Module = FastLanguageModel.get_peft_model(
        model,
        r=rank,
        target_modules=list(names),
        lora_alpha=2 * rank,
        lora_dropout=0,
        bias="none",
        use_gradient_checkpointing="unsloth",
        random_state=0,
    )
    return adapted


def _autocast(device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16)


def random_ids(vocab: int, tokens: int, device: torch.device) -> torch.Tensor:
    """One fixed sequence, (1, tokens), the same for all stacks."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, vocab, (1, tokens), generator=generator)
    return ids.to(device)


def is_finite_and_falls(losses: list[float]) -> bool:
    """Whether training on one repeated sequence did what it must."""
    return all(math.isfinite(loss) for loss in losses) and losses[-1] < losses[0]
