"""The quantised model with random weights and the two ways to train it that `benchmarks.gpu` compares; no timing here.

Stands on torch, transformers, peft and bitsandbytes alone, so that it runs where nothing else is installed.
`xtune.kernels` is used where it can be imported; otherwise a chunked loss of its own takes its place.
"""

import gc
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import bitsandbytes as bnb  # noqa: TID253 - this file is about it
import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

try:
    from xtune.kernels.loss import LossModule
except ImportError:
    LossModule = None

SHAPES: dict[str, dict[str, Any]] = {
    # The sizes in the models' published config.json files.
    "llama-2-7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32000,
    },
    "llama-3.1-8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
    "tiny": {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
    },
}

STACKS = ("plain", "ours")
RANK = 16
LEARNING_RATE = 1e-3
INITIAL_STD = 0.02
"""Standard deviation of the random weights (`initializer_range` of Llama's config)."""

LOGIT_BYTES = 2**28
"""float32 logits that exist at one time in `ours`: 256 MiB, as xtune's plan decides."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A model ready to train, and how one step of it is done."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[torch.Tensor], torch.Tensor]
    """From token ids (1, tokens) to the mean loss."""

    loss_kind: str

    def step(self, ids: torch.Tensor) -> float:
        """Forward, backward, clip, update; returns the loss before the update."""
        with _autocast(ids.device):
            loss = self.loss(ids)
        loss.backward()
        trained = [each for each in self.model.parameters() if each.requires_grad]
        nn.utils.clip_grad_norm_(trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())


def build(name: str, shape: str, device: torch.device, tokens: int) -> Stack:
    """Build one stack on a device, with room for sequences of `tokens`."""
    model = quantised_model(shape, device, tokens)
    model.config.use_cache = False
    model.train()
    return _plain(model) if name == "plain" else _ours(model, device)


def quantised_model(shape: str, device: torch.device, tokens: int) -> LlamaForCausalLM:
    """A Llama with random NF4 weights, made one matrix at a time, so that the peak stays near its final size."""
    config = LlamaConfig(
        **SHAPES[shape],
        max_position_embeddings=max(tokens, 4096),
        attn_implementation="sdpa",
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    torch.manual_seed(0)
    for layer in model.model.layers:
        for parent in (layer.self_attn, layer.mlp):
            for child, linear in list(parent.named_children()):
                if isinstance(linear, nn.Linear):
                    setattr(
                        parent, child, _random_nf4(linear.in_features, linear.out_features, device)
                    )
    for module in model.modules():
        _materialise(module, device)
    with torch.device(device):
        model.model.rotary_emb = LlamaRotaryEmbedding(config=config)
    # What transformers sets when it loads 4-bit weights, and PEFT looks at.
    model.is_loaded_in_4bit = True
    model.is_quantized = True
    gc.collect()
    return model


def _random_nf4(inputs: int, outputs: int, device: torch.device) -> nn.Module:
    layer = bnb.nn.Linear4bit(
        inputs, outputs, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4", device="meta"
    )
    weight = torch.randn(outputs, inputs, device=device, dtype=torch.bfloat16) * INITIAL_STD
    layer.weight = bnb.nn.Params4bit(
        weight, requires_grad=False, quant_type="nf4", compress_statistics=True, module=layer
    ).to(device)
    if hasattr(layer, "support_avx512bf16_for_cpu"):
        # bitsandbytes 0.50 repacks weights in place on such CPUs in a forward pass without gradients.
        layer.support_avx512bf16_for_cpu = False
    return layer


def _materialise(module: nn.Module, device: torch.device) -> None:
    """Give a module's own parameters that are still on the meta device their values: norms ones, tables random."""
    for name, parameter in list(module.named_parameters(recurse=False)):
        if not parameter.is_meta:
            continue
        value = torch.empty(parameter.shape, dtype=torch.bfloat16, device=device)
        value = value.fill_(1.0) if value.ndim == 1 else value.normal_(0.0, INITIAL_STD)
        setattr(module, name, nn.Parameter(value, requires_grad=False))


def _adapter() -> LoraConfig:
    return LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def _plain(model: LlamaForCausalLM) -> Stack:
    """What transformers and PEFT document: k-bit preparation, checkpointing, whole logits, torch's AdamW."""
    model = prepare_model_for_kbit_training(
        model,
        use_gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": False},
    )
    peft_model = get_peft_model(model, _adapter())
    trained = [each for each in peft_model.parameters() if each.requires_grad]

    def loss(ids: torch.Tensor) -> torch.Tensor:
        return peft_model(input_ids=ids, labels=ids, use_cache=False).loss

    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)
    return Stack(model=peft_model, optimizer=optimizer, loss=loss, loss_kind="whole logits")


def _ours(model: LlamaForCausalLM, device: torch.device) -> Stack:
    """No upcast, checkpointing, logits in chunks, paged 8-bit AdamW."""
    model.requires_grad_(False)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    peft_model = get_peft_model(model, _adapter())
    chunk_tokens = max(16, LOGIT_BYTES // (4 * model.config.vocab_size))
    trained = [each for each in peft_model.parameters() if each.requires_grad]
    adam = bnb.optim.PagedAdamW8bit if device.type == "cuda" else bnb.optim.AdamW8bit
    optimizer = adam(trained, lr=LEARNING_RATE, weight_decay=0.0)
    if LossModule is None:

        def loss(ids: torch.Tensor) -> torch.Tensor:
            return _chunked_loss(model, ids, chunk_tokens)

        return Stack(model=peft_model, optimizer=optimizer, loss=loss, loss_kind="own chunks")
    module = LossModule(peft_model, chunk_tokens)

    def kernel_loss(ids: torch.Tensor) -> torch.Tensor:
        weights = torch.ones(ids.shape, device=ids.device)
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        return module(ids, ids, weights, positions) / (ids.shape[1] - 1)

    return Stack(model=peft_model, optimizer=optimizer, loss=kernel_loss, loss_kind="xtune.kernels")


def _chunked_loss(model: LlamaForCausalLM, ids: torch.Tensor, chunk_tokens: int) -> torch.Tensor:
    """Mean loss with the logits of `chunk_tokens` positions at one time, computed again in the backward pass."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[
        0, :-1
    ]  # (tokens - 1, hidden)
    labels = ids[0, 1:]
    total = hidden.new_zeros((), dtype=torch.float32)
    for start in range(0, len(labels), chunk_tokens):
        part = slice(start, start + chunk_tokens)
        total = total + checkpoint(
            _sum_of_losses, model.lm_head, hidden[part], labels[part], use_reentrant=False
        )
    return total / len(labels)


def _sum_of_losses(head: nn.Module, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(head(hidden).float(), labels, reduction="sum")


def _autocast(device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16)


def random_ids(shape: str, tokens: int, device: torch.device) -> torch.Tensor:
    """One fixed sequence, (1, tokens), the same for both stacks."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, SHAPES[shape]["vocab_size"], (1, tokens), generator=generator)
    return ids.to(device)


def is_finite_and_falls(losses: list[float]) -> bool:
    """Whether training on one repeated sequence did what it must."""
    return all(math.isfinite(loss) for loss in losses) and losses[-1] < losses[0]
