"""Everything that training steps leave, as digests: two runs that are to be the same have the same ones."""

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from factories import make_plan, random_batch
from transformers import AutoTokenizer

from xtune.adapter.attach import attach
from xtune.demo.bundled import bundled_path
from xtune.kernels.loss import LossModule
from xtune.models.load import load_model

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"type": "lora", "rank": 4, "dropout": 0.1},
    "nf4": {"type": "qlora", "rank": 4},
    "nf4, plain scales": {"type": "qlora", "rank": 4, "double_quantization": False},
    "int8": {"type": "qlora", "rank": 4, "quantization": "int8"},
    "dora": {"type": "lora", "rank": 4, "dora": True},
    "nf4 dora": {"type": "qlora", "rank": 4, "dora": True},
    "int8 dora": {"type": "qlora", "rank": 4, "quantization": "int8", "dora": True},
}


def load(
    name: str,
    method: str,
    *,
    torch_checkpoints: bool = False,
    before: Any = None,
    **choices: Any,
) -> torch.nn.Module:
    """A base model in bfloat16 with an adapter; `before` sees the base alone, `choices` are the plan's."""
    plan = make_plan(
        {"model": {"name": name}, "method": METHODS[method]},
        weight_dtype="bfloat16",
        compute_dtype="bfloat16",
        gradient_checkpointing=torch_checkpoints,
        **choices,
    )
    base = load_model(plan)
    if before is not None:
        before(base)
    folder = bundled_path(name) if name.startswith("bundled:") else name
    return attach(base, plan, AutoTokenizer.from_pretrained(folder))


def trained(
    model: torch.nn.Module, steps: int, rows: int = 2
) -> Iterator[tuple[str, torch.Tensor]]:
    """Everything that steps leave: losses, gradients, trained weights, optimizer states."""
    module = LossModule(model, 64, 0).train()
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    device = next(iter(parameters.values())).device
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3)
    for step in range(steps):
        batch = random_batch(rows, 24 + step % 5, seed=step).to(device)
        torch.manual_seed(step)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = module(batch.input_ids, batch.labels, batch.weights, batch.position_ids)
        loss.backward()
        yield f"loss {step}", loss.detach()
        for name, each in parameters.items():
            assert each.grad is not None
            yield f"gradient {step} {name}", each.grad
        optimizer.step()
        optimizer.zero_grad()
    for name, each in parameters.items():
        yield name, each.detach()
        for state, value in optimizer.state[each].items():
            yield f"{state} of {name}", value


def digests(model: torch.nn.Module, steps: int, rows: int = 2) -> dict[str, str]:
    """All of that by the bytes' digests: many steps' gradients would fill the memory."""
    return {
        name: hashlib.sha256(value.cpu().reshape(-1).view(torch.uint8).numpy()).hexdigest()
        for name, value in trained(model, steps, rows)
    }
