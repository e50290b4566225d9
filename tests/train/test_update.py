"""Steps fused into the backward pass, against torch's own AdamW and clipping on gradients that are all there."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from factories import make_model, make_plan, random_batch
from torch import nn
from torch.utils._pytree import tree_leaves

from xtune.adapter.state import trainable_state
from xtune.data.batch import Assembly, Batches
from xtune.data.layout import EpochLayout
from xtune.data.store import lengths_of
from xtune.data.types import Origin, Sequence
from xtune.errors import DivergedError
from xtune.run.checkpoint import CheckpointStore, TrainingState
from xtune.run.metrics import MetricsLog
from xtune.run.observer import Observers
from xtune.train.job import Job
from xtune.train.loop import Loop
from xtune.train.streaming import base_streaming
from xtune.train.techniques import apply_techniques
from xtune.train.update import Update


def train(
    folder: Path, model: nn.Module, steps: int = 3, *, max_grad_norm: float | None, **choices: Any
) -> list[dict[str, Any]]:
    """Train in this process; the metrics of every step."""
    settings = {
        "learning_rate": 1e-2,
        "batch_size": 2,
        "weight_decay": 0.1,
        "max_grad_norm": max_grad_norm,
    }
    plan = make_plan({"method": "full", "train": settings}, **choices)
    rows = [
        Sequence(
            input_ids=row.numpy().astype("int32"),
            labels=row.numpy().astype("int32"),
            weights=torch.ones(len(row)).numpy(),
            origin=Origin(source="rows.jsonl", row=index, line=index + 1),
        )
        for index, row in enumerate(random_batch(6, 12).input_ids)
    ]
    folder.mkdir()
    model.train()
    streaming = base_streaming(plan)
    if streaming is not None:
        streaming.start(model)
        streaming.settle()
    job = Job(
        plan=plan,
        model=model,
        batches=Batches(
            rows,
            EpochLayout(lengths_of(rows), batch_size=2, capacity=None, seed=0),
            Assembly(micro_batch_size=2, pad_token_id=0, packed=False),
        ),
        evaluation=[],
        loss_tile_tokens=apply_techniques(model, plan, folder),
        total_steps=steps,
        store=CheckpointStore(folder / "checkpoints", keep=1),
        metrics=MetricsLog(folder, keep_steps=0),
        observer=Observers([]),
    )
    try:
        Loop(job, Accelerator(cpu=True)).run()
    finally:
        job.metrics.close()  # type: ignore[union-attr]
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


FRUGAL = {"gradient_checkpointing": True, "frugal_layers": True, "tile_tokens": 8}


@pytest.mark.parametrize("limit", [None, 0.05], ids=["unclipped", "clipped"])
@pytest.mark.parametrize(
    "choices", [{}, FRUGAL, {"optimizer_states": "host"}], ids=["plain", "frugal", "host"]
)
def test_a_fused_step_is_the_plain_step_bit_for_bit(
    limit: float | None, choices: dict[str, Any], tmp_path: Path
) -> None:
    plain, fused = make_model(), make_model()
    seen = train(tmp_path / "plain", plain, max_grad_norm=limit, **choices)
    found = train(tmp_path / "fused", fused, max_grad_norm=limit, fused_step=True, **choices)
    assert [row["loss"] for row in found] == [row["loss"] for row in seen]
    assert [row["grad_norm"] for row in found] == [row["grad_norm"] for row in seen]
    assert same_weights(plain, fused)
    assert not same_weights(plain, make_model())


def test_gradients_are_let_go_as_they_come(tmp_path: Path) -> None:
    """Gradients alive when the next one is made: one at a time, of thirty."""
    model = make_model()
    alive: list[int] = []
    for parameter in model.parameters():
        parameter.register_hook(
            lambda _: alive.append(sum(p.grad is not None for p in model.parameters()))
        )
    train(tmp_path / "run", model, steps=2, max_grad_norm=None, fused_step=True)
    assert max(alive) == 0
    assert len(alive) > 20


def test_an_infinite_gradient_is_found_before_the_weights_change_where_there_is_clipping(
    tmp_path: Path,
) -> None:
    model = make_model()
    model.model.layers[0].mlp.up_proj.weight.register_hook(lambda slope: slope * math.inf)
    with pytest.raises(DivergedError, match="gradient norm of step 1 is"):
        train(tmp_path / "run", model, max_grad_norm=1.0, fused_step=True)
    assert same_weights(model, make_model())


def test_an_infinite_gradient_ends_the_run_where_there_is_none(tmp_path: Path) -> None:
    model = make_model()
    model.model.layers[0].mlp.up_proj.weight.register_hook(lambda slope: slope * math.inf)
    with pytest.raises(DivergedError, match="gradient norm of step 1 is"):
        train(tmp_path / "run", model, max_grad_norm=None, fused_step=True)


STREAMED = {
    "gradient_checkpointing": True,
    "base": "host",
    "optimizer_states": "host",
    "fused_step": True,
}


@pytest.mark.parametrize(
    ("frugal", "limit", "steps"),
    [
        pytest.param({}, None, 20, id="whole-unclipped"),
        pytest.param(FRUGAL, 0.05, 20, id="frugal-clipped"),
        pytest.param({}, 0.05, 200, id="whole-clipped", marks=pytest.mark.slow),
        pytest.param(FRUGAL, None, 200, id="frugal-unclipped", marks=pytest.mark.slow),
    ],
)
def test_layers_trained_in_host_memory_are_those_trained_on_the_device(
    frugal: dict[str, Any], limit: float | None, steps: int, tmp_path: Path
) -> None:
    plain, streamed = make_model(), make_model()
    choices = {"gradient_checkpointing": True, **frugal}
    if not frugal:
        choices["checkpoints"] = "host"  # layers that are computed again as a whole
    seen = train(tmp_path / "plain", plain, steps, max_grad_norm=limit, **choices)
    choices = {**STREAMED, **frugal}
    found = train(tmp_path / "streamed", streamed, steps, max_grad_norm=limit, **choices)
    assert found == seen
    assert same_weights(plain, streamed)


def test_16_bit_layers_are_trained_in_halves_as_with_whole_numbers(tmp_path: Path) -> None:
    plain, streamed = make_model().bfloat16(), make_model().bfloat16()
    choices = {"weight_dtype": "bfloat16", "compute_dtype": "bfloat16", "checkpoints": "host"}
    host = {**choices, "optimizer_states": "host", "gradient_checkpointing": True}
    seen = train(tmp_path / "plain", plain, 20, max_grad_norm=1.0, **host)
    found = train(tmp_path / "streamed", streamed, 20, max_grad_norm=1.0, **{**host, **STREAMED})
    assert found == seen
    assert same_weights(plain, streamed)


@pytest.mark.parametrize(
    "choices",
    [{}, {"optimizer": "adamw_8bit"}, {"optimizer_states": "host", "weight_dtype": "bfloat16"}],
)
def test_states_of_a_resumed_run_are_its_own_and_no_pages_of_the_checkpoint(
    tmp_path: Path, choices: dict[str, Any]
) -> None:
    """The file is written over in place after the states were read from it: what was still mapped would show it."""
    model = make_model("llama", vocab_size=512)
    if choices.get("weight_dtype") == "bfloat16":
        model.to(torch.bfloat16)
    plan = make_plan({"method": "full"}, **choices)
    update = Update(model, plan, torch.device("cpu"))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    update.step()
    store = CheckpointStore(tmp_path, keep=1)
    path = store.save(trainable_state(model), update.state_dict(), TrainingState(step=1))
    resumed = Update(model, plan, torch.device("cpu"))
    resumed.load_state_dict(store.load(1).optimizer)
    file = path / "optimizer.pt"
    with file.open("r+b") as stream:
        stream.write(b"\xff" * file.stat().st_size)
    expected, found = (tree_leaves(each.state_dict()) for each in (update, resumed))
    assert len(found) == len(expected) > 20
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
