"""What attaching an adapter takes for a moment, beside a CPU allocator's own record of it."""

from typing import Any

import pytest
import torch
from allocations import profiled_peak
from peft import LoraConfig, get_peft_model
from torch import nn

from xtune.memory import ModelShape, Workload
from xtune.memory.start import start_bytes
from xtune.models.quiet import quiet

SHAPE = ModelShape.from_config(
    {
        "model_type": "llama",
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "vocab_size": 64,
    }
)


class Block(nn.Module):
    """One linear layer of that shape."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.up_proj = nn.Linear(256, 768, bias=False, dtype=dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("init", ["pissa", "pissa_niter_4", "olora", "mica"])
def test_a_matrix_taken_apart_takes_the_bytes_of_the_real_one(init: str, dtype: str) -> None:
    """LAPACK's own work space is not the allocator's, and not counted; the rest are pivots and numbers of one row."""
    block = Block(getattr(torch, dtype))
    work = Workload(
        method="lora", tokens=64, rank=8, targets=("up_proj",), init=init, weight_dtype=dtype,
        device="cpu",
    )  # fmt: skip
    make: Any = LoraConfig
    config = make(r=8, target_modules=["up_proj"], init_lora_weights=init)
    untyped: Any = block
    stays = 4 * 8 * (256 + 768)  # the factors, in float32

    def attach() -> None:
        with quiet():
            get_peft_model(untyped, config)

    assert start_bytes(SHAPE, work) == pytest.approx(profiled_peak(attach) - stays, rel=0.05)


def test_nothing_is_taken_apart_on_the_device_where_layers_rest_elsewhere() -> None:
    fields: dict[str, Any] = {"method": "lora", "tokens": 64, "rank": 4, "targets": ("up_proj",)}
    here = Workload(**fields, init="pissa")
    away = Workload(**fields, init="pissa", base_place="host")
    # by hand, of 256 by 768: a float32 copy, the factors, and twice the matrix
    assert start_bytes(SHAPE, here) == 4 * (3 * 256 * 768 + 256 * (256 + 768))
    assert start_bytes(SHAPE, away) == start_bytes(SHAPE, Workload(**fields)) == 0
