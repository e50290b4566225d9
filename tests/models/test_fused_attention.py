"""Attention of transformers' models asks torch for what a fused kernel takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import make_model, make_plan, random_batch, save_model
from torch.utils._python_dispatch import TorchDispatchMode

from xtune.models.fused_attention import runs_flash, share_key_heads
from xtune.models.load import load_model


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    share_key_heads(True)


class KeyHeads(TorchDispatchMode):
    """Counts the key heads that attention kernels are given."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if "scaled_dot_product" in str(func):
            self.found.add(args[1].shape[1])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("capability", "dtype", "runs"),
    [
        ((7, 5), "float16", False),  # Turing
        ((8, 0), "bfloat16", True),
        ((8, 6), "float16", True),
        ((9, 0), "float32", False),
        (None, "float32", True),
    ],
)
def test_flash_attention_is_for_sixteen_bits_from_ampere_on(
    capability: tuple[int, int] | None, dtype: str, runs: bool
) -> None:
    assert runs_flash(capability, dtype) is runs


def test_without_flash_attention_every_query_head_has_a_key_head() -> None:
    model = make_model("qwen2", attn_implementation="sdpa").eval()
    heads, key_heads = model.config.num_attention_heads, model.config.num_key_value_heads
    assert heads > key_heads
    ids, results = random_batch(1, 20).input_ids, []
    for shares, expected in ((True, key_heads), (False, heads)):
        share_key_heads(shares)
        with torch.no_grad(), KeyHeads() as seen:
            results.append(model(input_ids=ids, use_cache=False).logits)
        assert seen.found == {expected}
    torch.testing.assert_close(results[0], results[1])


def test_a_loaded_model_has_no_attention_of_cudnn(tmp_path: Path) -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    load_model(make_plan({"model": {"name": str(save_model(tmp_path / "base"))}}))
    assert not torch.backends.cuda.cudnn_sdp_enabled()
