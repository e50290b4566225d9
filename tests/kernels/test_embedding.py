"""Embeddings in host memory give the very bits of those on the device, in every family."""

from typing import Any

import pytest
import torch
from factories import make_model
from torch import nn

from xtune.errors import ModelError
from xtune.kernels.embedding import keep_embedding_on_host
from xtune.kernels.heads import base_model, hidden_states
from xtune.kernels.neftune import add_neftune

CPU = torch.device("cpu")
IDS = torch.tensor([[3, 3, 0, 250, 9], [9, 1, 0, 0, 7]])
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {},
    "gemma": {},  # multiplies in its forward
    "gemma2": {},  # multiplies in its embedding
    "gemma3_text": {},
    "granite": {"embedding_multiplier": 3.0},
    "opt": {
        "ffn_dim": 96,
        "word_embed_proj_dim": 32,
        "hidden_size": 64,
    },  # positions, and a projection
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4},
    "xglm": {"d_model": 64, "ffn_dim": 96, "num_layers": 2, "attention_heads": 4},
}


def to_host(model: Any) -> nn.Module:
    embedding: nn.Module = model.get_input_embeddings()
    keep_embedding_on_host(embedding, embedding.weight.detach(), CPU)
    return embedding


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_have_the_same_bits(kind: str, dtype: torch.dtype) -> None:
    settings = {"pad_token_id": 0, "tie_word_embeddings": False, **KINDS[kind]}
    model = make_model(kind, **settings).to(dtype)
    backbone = base_model(model).base_model
    with torch.no_grad():
        inputs = (IDS, IDS[:1, :1])
        expected = [hidden_states(backbone, ids, use_cache=False) for ids in inputs]
        to_host(model)
        for ids, states in zip(inputs, expected, strict=True):
            assert torch.equal(hidden_states(backbone, ids, use_cache=False), states)


def test_nothing_that_moves_or_stores_parameters_meets_the_table() -> None:
    model = make_model("llama", tie_word_embeddings=False)
    embedding = to_host(model)
    assert "model.embed_tokens.weight" not in dict(model.named_parameters())
    assert "model.embed_tokens.weight" not in model.state_dict()
    model.to("meta")
    assert embedding.weight.device == CPU


def test_noise_is_added_to_rows_from_the_host() -> None:
    model = make_model("llama", tie_word_embeddings=False).train()
    clean = model.model.embed_tokens(IDS)
    add_neftune(model, alpha=5.0)
    torch.manual_seed(3)
    expected = model.model.embed_tokens(IDS)
    to_host(model)
    torch.manual_seed(3)
    assert torch.equal(model.model.embed_tokens(IDS), expected)
    assert not torch.equal(expected, clean)


def test_written_text_is_the_same() -> None:
    model = make_model("gemma2", tie_word_embeddings=False, pad_token_id=0)
    options: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False}
    expected = model.generate(IDS[:1], **options)
    to_host(model)
    assert torch.equal(model.generate(IDS[:1], **options), expected)


@pytest.mark.parametrize(
    ("embedding", "words"),
    [
        (nn.Embedding(8, 4, max_norm=1.0), "rewrites its rows"),
        (nn.Linear(8, 4), "a Linear, cannot look its rows up"),
    ],
)
def test_what_cannot_be_looked_up_from_afar_is_refused(embedding: nn.Module, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        keep_embedding_on_host(embedding, torch.zeros(8, 4), CPU)
