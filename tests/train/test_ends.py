"""Runs whose embedding and head are elsewhere or in fewer bits: the same bits, or another head; killed, resumed, merged."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import make_model, make_plan, make_tokenizer, save_model
from running import losses, write_recipe
from torch import nn

from xtune.adapter.attach import attach
from xtune.errors import ModelError
from xtune.kernels.head_slices import sliced_head
from xtune.kernels.heads import parameter_count
from xtune.models.load import load_model
from xtune.train.ends import place_ends

STEPS = {"train.max_steps": 6, "train.save_every": 2, "method": {"type": "qlora", "rank": 4}}
HOST = {"memory.embeddings": "host", "memory.head": "host"}


def adapter_bytes(run: Path) -> str:
    return hashlib.sha256((run / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()


def trained(
    folder: Path, model: Path, rows: Path, changes: dict[str, Any], *, resume: bool = False
) -> Path:
    from xtune.api import train

    folder.mkdir(exist_ok=True)
    train(write_recipe(folder, model, rows, {**STEPS, **changes}), resume=resume)
    return folder / "run"


def test_ends_in_host_memory_change_no_bit_and_a_killed_run_goes_on(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    plain = trained(tmp_path / "plain", tiny_model, rows_file, {})
    (tmp_path / "host").mkdir()
    recipe = write_recipe(tmp_path / "host", tiny_model, rows_file, {**STEPS, **HOST})
    run = tmp_path / "host" / "run"
    child = subprocess.Popen(
        [sys.executable, "-m", "xtune", "train", str(recipe)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    while child.poll() is None and not list(run.glob("checkpoints/step-*")):
        time.sleep(0.005)
    if child.poll() is None:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert list(run.glob("checkpoints/step-*"))
    trained(tmp_path / "host", tiny_model, rows_file, HOST, resume=True)
    assert losses(run) == losses(plain)
    assert adapter_bytes(run) == adapter_bytes(plain)


def test_a_head_in_four_bits_trains_an_adapter_like_any_other(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    from xtune.adapter.merge import merge

    plain = losses(trained(tmp_path / "plain", tiny_model, rows_file, {}))
    run = trained(tmp_path / "nf4", tiny_model, rows_file, {**HOST, "memory.head": "nf4"})
    assert losses(run) != plain
    assert losses(run) == pytest.approx(plain, rel=1e-2)
    merged = merge(run, tmp_path / "merged", base="dequantised")
    assert merged.relative_difference < 0.05


@pytest.mark.parametrize("form", ["nf4", "int8"])
def test_a_run_is_opened_with_the_head_that_it_was_trained_with(
    form: str, tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    """The head's numbers as bitsandbytes, or plain rounding row by row, gives them back; slices of one block each."""
    from bitsandbytes import functional as bits
    from safetensors.torch import load_file

    from xtune.adapter.open import open_run

    run = trained(tmp_path / form, tiny_model, rows_file, {**HOST, "memory.head": form})
    opened = open_run(run)
    head = opened.model.get_base_model().lm_head  # type: ignore[operator]
    tensors = load_file(tiny_model / "model.safetensors")
    whole = tensors.get("lm_head.weight", tensors["model.embed_tokens.weight"])
    whole = whole.to(getattr(torch, opened.loading.weight_dtype))
    if form == "nf4":
        packed, state = bits.quantize_4bit(whole, quant_type="nf4", compress_statistics=True)
        rounded = bits.dequantize_4bit(packed, state)
    else:
        scales = whole.float().abs().amax(1, keepdim=True).clamp_min(1e-30) / 127
        rounded = (torch.round(whole.float() / scales) * scales).to(whole.dtype)
    states = torch.randn(5, whole.shape[1], generator=torch.Generator().manual_seed(0))
    states = states.to(whole.dtype)
    with torch.no_grad():
        found, expected = head(states), states @ rounded.T
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3)
    assert not torch.allclose(found, states @ whole.T, rtol=1e-3, atol=1e-4)


def placed(folder: Path, recipe: dict[str, Any] | None = None, **choices: Any) -> Any:
    method = {"type": "lora", "rank": 4}
    plan = make_plan(
        {"model": {"name": str(folder)}, "method": method, **(recipe or {})}, **choices
    )
    model = load_model(plan)
    place_ends(model, plan)
    return attach(model, plan, make_tokenizer())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("form", ["host", "nf4", "int8"])
def test_no_end_is_a_parameter_and_none_gets_an_adapter(
    tmp_path: Path, form: str, tied: bool
) -> None:
    folder = save_model(tmp_path / "base", tie_word_embeddings=tied)
    model = placed(folder, embeddings="host", head=form)
    names = [name for name, _ in model.named_parameters()]
    assert not [name for name in names if "embed_tokens" in name or "lm_head" in name]
    base: nn.Module = model.get_base_model()
    head = sliced_head(base.lm_head)
    assert head is not None
    assert (base.lm_head.weight is base.model.embed_tokens.weight) is (tied and form == "host")
    copies = 2 if tied and form != "host" else 1
    adapter = sum(p.numel() for p in model.parameters() if p.requires_grad)
    plain = make_model(tie_word_embeddings=tied).num_parameters()
    assert parameter_count(model) == plain + adapter + (copies - 1) * 264 * 64


def test_an_embedding_may_leave_the_device_alone_where_the_head_has_its_own_matrix(
    tmp_path: Path,
) -> None:
    folder = save_model(tmp_path / "base", tie_word_embeddings=False)
    model = placed(folder, embeddings="host")
    names = [name for name, _ in model.named_parameters()]
    assert [name for name in names if "lm_head" in name]
    ids = torch.arange(12)[None]
    plain = placed(folder)
    with torch.no_grad():
        assert torch.equal(model.eval()(ids).logits, plain.eval()(ids).logits)


@pytest.mark.parametrize(
    ("tied", "method", "choices", "words"),
    [
        (True, {}, {"embeddings": "host"}, "are one matrix"),
        (True, {}, {"head": "nf4"}, "are one matrix"),
        (False, {"type": "full"}, {"embeddings": "host"}, "`method: full` trains them"),
        (False, {"new_tokens": ["<a>"]}, {"head": "host"}, "`method.new_tokens` trains"),
        (False, {"modules_to_save": ["lm_head"]}, {"head": "int8"}, "`method.modules_to_save`"),
        (False, {"targets": ["q_proj", "lm_head"]}, {"embeddings": "host"}, "`method.targets`"),
    ],
)
def test_what_is_trained_or_shared_is_not_moved(
    tmp_path: Path, tied: bool, method: dict[str, Any], choices: dict[str, Any], words: str
) -> None:
    folder = save_model(tmp_path / "base", tie_word_embeddings=tied)
    whole = method.get("type") == "full"
    recipe = {"method": method if whole else {"type": "lora", "rank": 4, **method}}
    with pytest.raises(ModelError, match=words):
        placed(folder, recipe, **choices)
