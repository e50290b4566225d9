"""What attaching an adapter takes for a moment, beside a CPU allocator's own record of it."""

from typing import Any

import pytest
import torch
from allocations import profiled_peak
from factories import make_model
from peft import LoraConfig, get_peft_model

from xtune.memory import ModelShape, Workload
from xtune.memory.start import start_bytes
from xtune.models.quiet import quiet

SIZES = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 2}


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("init", ["pissa", "pissa_niter_4", "olora", "mica"])
def test_a_matrix_taken_apart_takes_the_bytes_of_the_real_one(init: str, dtype: str) -> None:
    """LAPACK's own work space is not the allocator's, and not counted; three percent are its pivots and numbers of one row."""
    model = make_model("llama", **SIZES).to(getattr(torch, dtype))
    shape = ModelShape.from_config(model.config.to_dict())
    work = Workload(
        method="lora", tokens=64, rank=4, targets=("up_proj",), init=init, weight_dtype=dtype,
        device="cpu",
    )  # fmt: skip
    make: Any = LoraConfig
    config = make(r=4, target_modules=["up_proj"], init_lora_weights=init)
    factors = 2 * 4 * 4 * (256 + 768)  # of both layers, in float32

    def attach() -> None:
        with quiet():
            get_peft_model(model, config)

    assert start_bytes(shape, work) == pytest.approx(profiled_peak(attach) - factors, rel=0.05)


def test_nothing_is_taken_apart_on_the_device_where_layers_rest_elsewhere() -> None:
    shape = ModelShape.from_config(make_model("llama", **SIZES).config.to_dict())
    here = Workload(method="lora", tokens=64, rank=4, init="pissa")
    away = Workload(method="lora", tokens=64, rank=4, init="pissa", base_place="host")
    plain = Workload(method="lora", tokens=64, rank=4)
    # by hand, of 256 by 768: a float32 copy, the factors, and twice the matrix
    assert start_bytes(shape, here) == 4 * (3 * 256 * 768 + 256 * (256 + 768))
    assert start_bytes(shape, away) == start_bytes(shape, plain) == 0
