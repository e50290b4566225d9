"""Tiny real models, tokenizers, plans and batches for the tests; everything is made on the spot, nothing is mocked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from xtune.data.types import Batch
from xtune.kernels.loss import LossModule
from xtune.plan import Choice, Plan
from xtune.recipe import Recipe

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")

TINY = {
    "vocab_size": 264,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "bos_token_id": 256,
    "eos_token_id": 256,
    "pad_token_id": None,
}


def make_recipe(changes: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe; `changes` replaces whole sections or single fields: `{"method": {...}, "train": {...}}`."""
    value: dict[str, Any] = {
        "model": {"name": "bundled:demo"},
        "method": {"type": "lora", "rank": 4},
        "data": {"train": "bundled:orders/train.jsonl", "max_tokens": 64},
        "train": {"learning_rate": 1e-3, "max_steps": 4, "batch_size": 2},
    }
    for key, change in (changes or {}).items():
        both = isinstance(change, Mapping) and isinstance(value.get(key), dict) and key != "method"
        value[key] = {**value[key], **change} if both else change
    return Recipe.model_validate(value)


def make_plan(recipe: Mapping[str, Any] | Recipe | None = None, **choices: Any) -> Plan:
    """A plan for this CPU; keyword arguments are the values of its choices."""
    made = recipe if isinstance(recipe, Recipe) else make_recipe(recipe)
    rank = getattr(made.method, "rank", 0)
    alpha = getattr(made.method, "alpha", None)
    values: dict[str, Any] = {
        "device": "cpu",
        "weight_dtype": "float32",
        "compute_dtype": "float32",
        "autocast": False,
        "loss_scaling": False,
        "attention": "sdpa",
        "optimizer": "adamw" if made.train.optimizer == "auto" else made.train.optimizer,
        "alpha": float(alpha if alpha is not None else 2 * rank),
        "packing": False,
        "over_length": "drop",
        "micro_batch_size": made.train.batch_size,
        "accumulation_steps": 1,
        "gradient_checkpointing": False,
        "frugal_layers": False,
        "tile_tokens": 0,
        "checkpoints": "device",
        "base": "device",
        "embeddings": "device",
        "head": "device",
        "optimizer_states": "device",
        "fused_step": False,
        "loss_chunk_tokens": 64,
        "folder": "runs/test",
    }
    values.update(choices)
    return Plan(recipe=made, **{name: Choice(value, "a test") for name, value in values.items()})


def make_tokenizer(
    *, template: str | None = CHATML, pad: str | None = "<|pad|>"
) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of 256 bytes and four special tokens (ids 256 to 259)."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        pad_token=pad,
        extra_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    fast.chat_template = template
    return fast


def make_model(kind: str = "qwen3", *, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A float32 model with random weights, large enough for logits that differ; eval mode."""
    settings = {**TINY, **changes}
    known = AutoConfig.for_model(kind)
    config = AutoConfig.for_model(
        kind, **{key: value for key, value in settings.items() if hasattr(known, key)}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(0.0, 0.1)
    return model.eval()


def save_model(
    folder: Path,
    kind: str = "qwen3",
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    dtype: str = "float32",
    **changes: Any,
) -> Path:
    """A model folder with tokenizer; returns the folder."""
    model = make_model(kind, **changes)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    (tokenizer or make_tokenizer()).save_pretrained(folder)
    return folder


def make_batch(rows: Sequence[Sequence[int]], *, prompt_tokens: int = 2, pad: int = 259) -> Batch:
    """Right-padded rows whose tokens after the prompt are trained on with weight 1."""
    width = max(len(row) for row in rows)
    input_ids = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), -100)
    weights = torch.zeros(len(rows), width)
    for index, row in enumerate(rows):
        tokens = torch.tensor(list(row))
        input_ids[index, : len(row)] = tokens
        labels[index, prompt_tokens : len(row)] = tokens[prompt_tokens:]
        weights[index, prompt_tokens : len(row)] = 1.0
    positions = torch.arange(width).expand(len(rows), width).contiguous()
    return Batch(
        input_ids=input_ids,
        labels=labels,
        weights=weights,
        position_ids=positions,
        tokens=sum(len(row) for row in rows),
        origins=(),
    )


def random_batch(rows: int = 2, tokens: int = 12, *, seed: int = 0, vocabulary: int = 256) -> Batch:
    """Random rows, the first two tokens of each a prompt."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, vocabulary, (rows, tokens), generator=generator)
    return make_batch(ids.tolist())


def causal_loss(model: nn.Module, batch: Batch, *, chunk_tokens: int) -> torch.Tensor:
    """The sum over a batch's trained tokens of weight times negative log-likelihood, as training computes it."""
    loss = LossModule(model, chunk_tokens)
    result: torch.Tensor = loss(batch.input_ids, batch.labels, batch.weights, batch.position_ids)
    return result
