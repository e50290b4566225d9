"""NEFTune's noise: its bound, its seed, and its absence in evaluation."""

import torch
from factories import make_model

from xtune.kernels.neftune import add_neftune

IDS = torch.arange(20).reshape(2, 10)


def embed(model: torch.nn.Module) -> torch.Tensor:
    return model.model.embed_tokens(IDS)


def test_the_noise_is_uniform_within_the_papers_bound() -> None:
    model = make_model("llama").train()
    clean = embed(model).detach()
    add_neftune(model, alpha=5.0)
    noise = torch.stack([embed(model).detach() - clean for _ in range(50)])
    bound = 5.0 / (10 * 64) ** 0.5  # alpha / sqrt(tokens * hidden)
    assert noise.abs().max() <= bound * (1 + 1e-5)
    assert abs(noise.std().item() - bound / 3**0.5) < 0.01 * bound  # of a uniform distribution
    assert abs(noise.mean().item()) < 0.01 * bound


def test_the_noise_repeats_with_torchs_seed_and_ends_with_its_handle() -> None:
    model = make_model("llama").train()
    clean = embed(model)
    handle = add_neftune(model, alpha=5.0)
    torch.manual_seed(3)
    first = embed(model)
    torch.manual_seed(3)
    assert torch.equal(embed(model), first)
    assert not torch.equal(first, clean)
    model.eval()
    assert torch.equal(embed(model), clean)
    model.train()
    handle.remove()
    assert torch.equal(embed(model), clean)
