"""What linear layers with DoRA give, beside PEFT's own result."""

from pathlib import Path

import torch
from factories import make_plan, make_tokenizer, save_model

from benchmarks.simulation import cuda_autocast
from xtune.adapter.attach import attach
from xtune.models.load import load_model


def test_dora_beside_four_bits_gives_what_it_reads_rounded_once(tmp_path: Path) -> None:
    """Under CUDA's autocast, which PEFT asks for by another switch than a CPU's."""
    folder = save_model(tmp_path / "model", "llama", dtype="bfloat16")
    plan = make_plan(
        {
            "model": {"name": str(folder)},
            "method": {"type": "qlora", "rank": 4, "dora": True},
        },
        weight_dtype="bfloat16",
        compute_dtype="bfloat16",
        autocast=True,
    )
    model = attach(load_model(plan), plan, make_tokenizer())
    layer = next(
        each for name, each in model.named_modules() if name.endswith("0.self_attn.q_proj")
    )
    states = torch.randn(1, 5, model.config.hidden_size, dtype=torch.bfloat16)
    with torch.no_grad(), cuda_autocast(), torch.autocast("cpu", dtype=torch.bfloat16):
        given, own = layer(states), type(layer).forward(layer, states)
    assert own.dtype is torch.float32
    assert given.dtype is torch.bfloat16
    assert torch.equal(given, own.bfloat16())
