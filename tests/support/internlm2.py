"""A model with InternLM2's modules, written here: its own code comes with its weights and is none of transformers'.

Its names, sizes and order of operations are those of what is published; it has Llama's norm and rotary positions, and repeats key
heads before attention, as code of its time does.
"""

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.models.llama.modeling_llama import (
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
    repeat_kv,
)


class Config(LlamaConfig):
    """Its sizes, and whether attention has biases."""

    model_type = "internlm2"
    bias: bool = True


class Attention(nn.Module):
    """One projection for queries, keys and values, laid out by key heads."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.width = config.hidden_size // config.num_attention_heads
        self.groups = config.num_attention_heads // config.num_key_value_heads
        rows = config.num_attention_heads + 2 * config.num_key_value_heads
        self.wqkv = nn.Linear(config.hidden_size, rows * self.width, bias=config.bias)
        self.wo = nn.Linear(config.hidden_size, config.hidden_size, bias=config.bias)

    def forward(self, hidden: torch.Tensor, turns: Any) -> torch.Tensor:
        rows, tokens, _ = hidden.shape
        # (rows, tokens, key heads, their queries and two more, width)
        every = self.wqkv(hidden).view(rows, tokens, -1, self.groups + 2, self.width)
        query = every[..., : self.groups, :].reshape(rows, tokens, -1, self.width).transpose(1, 2)
        key, value = every[..., -2, :].transpose(1, 2), every[..., -1, :].transpose(1, 2)
        query, key = apply_rotary_pos_emb(query, key, *turns)
        key, value = repeat_kv(key, self.groups), repeat_kv(value, self.groups)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.wo(attended.transpose(1, 2).reshape(rows, tokens, -1))


class FeedForward(nn.Module):
    """Gate, up and down by their own names."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.w3 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.w2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.w2(nn.functional.silu(self.w1(hidden)) * self.w3(hidden))


class Layer(GradientCheckpointingLayer):
    """Both blocks, each behind its norm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(config), FeedForward(config)
        self.attention_norm = LlamaRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.ffn_norm = LlamaRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, hidden: torch.Tensor, turns: Any) -> torch.Tensor:
        hidden = hidden + self.attention(self.attention_norm(hidden), turns)
        return hidden + self.feed_forward(self.ffn_norm(hidden))


class Base(PreTrainedModel):
    """What transformers is told of it."""

    config_class = Config
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True


class Backbone(Base):
    """Embedding, layers and the last norm."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = LlamaRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.turns = LlamaRotaryEmbedding(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.tok_embeddings

    def forward(self, input_ids: torch.Tensor, **_: Any) -> BaseModelOutputWithPast:
        hidden = self.tok_embeddings(input_ids)
        turns = self.turns(hidden, torch.arange(input_ids.shape[1], device=hidden.device)[None])
        for layer in self.layers:
            hidden = layer(hidden, turns)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden))


class InternLM2(Base, GenerationMixin):
    """With its head, whose logits become float32."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.model = Backbone(config)
        self.output = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.tok_embeddings

    def get_output_embeddings(self) -> nn.Module:
        return self.output

    def forward(self, input_ids: torch.Tensor, **_: Any) -> CausalLMOutputWithPast:
        hidden = self.model(input_ids).last_hidden_state
        return CausalLMOutputWithPast(logits=self.output(hidden).float())


AutoConfig.register("internlm2", Config, exist_ok=True)
AutoModelForCausalLM.register(Config, InternLM2, exist_ok=True)
