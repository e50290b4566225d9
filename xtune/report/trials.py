"""Number formats and methods tried on every device here, one small layer each; nothing is decided and no model is loaded."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, cast

import torch
from torch import nn
from torch.nn import functional

from xtune.hardware import usable_devices
from xtune.hub import errors_only

Outcome: TypeAlias = Literal["works", "fails", "not tried"]

DEVICES = ("cuda", "rocm", "xpu", "mps", "cpu")

METHODS = ("full", "lora", "qlora nf4", "qlora fp4", "qlora int8")

FAILURES = (
    RuntimeError,  # torch and the drivers; NotImplementedError is one of them
    ImportError,
    OSError,  # a native library that cannot be loaded
    AttributeError,  # a library built for another version
    TypeError,
    ValueError,
    AssertionError,  # torch without CUDA asserts
)
"""What a try may end with; anything else is a bug here."""

SIZE = 256
"""Width of the layer that is tried: four quantisation blocks in a row, a few milliseconds anywhere."""

CLOSEST_COSINE = 0.95
"""A quantised layer must answer like its original: NF4 reaches 0.996 and FP4 0.994 on this layer (AMD EPYC,
bitsandbytes 0.50, November 2026), a broken kernel about 0."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One thing that was tried on one device, or the reason why it was not."""

    what: str
    device: str
    outcome: Outcome
    detail: str


def try_devices(*, has_bitsandbytes: bool = True) -> Iterator[Trial]:
    """Every number format and method on every device that torch finds; the others are named as not tried."""
    usable = {
        ("rocm" if kind == "cuda" and torch.version.hip is not None else kind): kind
        for kind in usable_devices()
    }
    for device in DEVICES:
        if device not in usable:
            yield Trial(
                what="all", device=device, outcome="not tried", detail="torch finds no such device"
            )
            continue
        kind = usable[device]
        for dtype in ("float32", "bfloat16", "float16"):
            yield attempt(f"product in {dtype}", device, partial(_multiply, kind, dtype))
        for method in METHODS:
            if method.startswith("qlora") and not has_bitsandbytes:
                detail = "bitsandbytes is not installed: pip install bitsandbytes"
                yield Trial(what=method, device=device, outcome="not tried", detail=detail)
                continue
            yield attempt(method, device, partial(_train, kind, method))


def attempt(what: str, device: str, action: Callable[[], str]) -> Trial:
    """Run one action and say how it ended; its own words are the detail."""
    try:
        with errors_only("bitsandbytes"):
            detail = action()
    except FAILURES as error:
        words = str(error).strip().splitlines() or [""]
        text = f"{type(error).__name__}: {words[0][:160]}"
        return Trial(what=what, device=device, outcome="fails", detail=text)
    return Trial(what=what, device=device, outcome="works", detail=detail)


def _multiply(device: str, dtype: str) -> str:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(SIZE, SIZE, generator=generator)
    found = (left.to(device, getattr(torch, dtype)) @ left.to(device, getattr(torch, dtype))).cpu()
    return _agreement(found.float(), left @ left)


def _train(device: str, method: str) -> str:
    """One step on one layer: forward, backward, update; the loss must fall and the layer answer like its original.

    Raises:
        RuntimeError: It does not.
    """
    torch.manual_seed(0)
    original = nn.Linear(SIZE, SIZE, bias=False)
    inputs = torch.randn(8, SIZE)
    layer = _quantised(original, method.partition(" ")[2]) if " " in method else original
    layer = layer.to(device)
    agreement = "exact base"
    if layer is not original:
        with torch.enable_grad():
            agreement = _agreement(
                layer(inputs.to(device)).detach().cpu().float(), inputs @ original.weight.T
            )
    model: nn.Module = layer if method == "full" else _WithAdapter(layer)
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    losses = []
    for _ in range(3):
        with torch.autocast(device, torch.bfloat16, enabled=method != "full"):
            loss = model(inputs.to(device)).float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    if not losses[0] > losses[-1]:
        raise RuntimeError(f"the loss went from {losses[0]:.4f} to {losses[-1]:.4f}")
    return agreement


def _quantised(original: nn.Linear, storage: str) -> nn.Module:
    bnb = importlib.import_module("bitsandbytes")
    weight = original.weight.detach().clone()
    if storage == "int8":
        layer = bnb.nn.Linear8bitLt(SIZE, SIZE, bias=False, has_fp16_weights=False)
        layer.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    else:
        layer = bnb.nn.Linear4bit(SIZE, SIZE, bias=False, quant_type=storage)
        layer.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type=storage)
    return cast("nn.Module", layer)


class _WithAdapter(nn.Module):
    """A frozen layer and a trained product of two small float32 matrices beside it, as in LoRA."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        device = next(base.parameters()).device
        self.down = nn.Linear(SIZE, 8, bias=False, device=device)
        self.up = nn.Linear(8, SIZE, bias=False, device=device)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Base and adapter added; (rows, SIZE) to (rows, SIZE)."""
        return cast("torch.Tensor", self.base(inputs) + self.up(self.down(inputs)))


def _agreement(found: torch.Tensor, expected: torch.Tensor) -> str:
    cosine = float(
        functional.cosine_similarity(found.flatten(), expected.detach().flatten(), dim=0)
    )
    if not cosine > CLOSEST_COSINE:
        raise RuntimeError(f"the result is wrong: cosine {cosine:.3f} with float32")
    return f"cosine {cosine:.4f} with float32"
