"""The loop itself, in this process: what must stop it."""

import math
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from factories import make_model, make_plan, random_batch

from xtune.data.batch import Assembly, Batches
from xtune.data.layout import EpochLayout
from xtune.data.store import lengths_of
from xtune.data.types import Batch, Origin, Sequence
from xtune.errors import DivergedError
from xtune.run.checkpoint import CheckpointStore
from xtune.run.observer import Observers
from xtune.train.job import Job
from xtune.train.loop import Loop


def make_job(folder: Path, model: torch.nn.Module, *, scaling: bool, steps: int) -> Job:
    train = {"learning_rate": 1e-3, "max_steps": steps, "batch_size": 2, "evaluate_every": 1}
    held_out = random_batch(2, 8, seed=5)
    origins = tuple(Origin(source="held.jsonl", row=row, line=row + 1) for row in range(2))
    rows = [
        Sequence(
            input_ids=row.numpy().astype("int32"),
            labels=row.numpy().astype("int32"),
            weights=torch.ones(len(row)).numpy(),
            origin=Origin(source="rows.jsonl", row=index, line=index + 1),
        )
        for index, row in enumerate(random_batch(4, 8).input_ids)
    ]
    return Job(
        plan=make_plan({"method": "full", "train": train}, loss_scaling=scaling),
        model=model.train(),
        batches=Batches(
            rows,
            EpochLayout(lengths_of(rows), batch_size=2, capacity=None, seed=0),
            Assembly(micro_batch_size=2, pad_token_id=0, packed=False),
        ),
        evaluation=[
            Batch(
                input_ids=held_out.input_ids,
                labels=held_out.labels,
                weights=held_out.weights,
                position_ids=held_out.position_ids,
                tokens=16,
                origins=origins,
            )
        ],
        total_steps=steps,
        store=CheckpointStore(folder / "checkpoints", keep=1),
        metrics=None,
        observer=Observers([]),
    )


def test_gradients_that_overflow_at_every_loss_scale_stop_the_run(tmp_path: Path) -> None:
    model = make_model()
    broken = model.model.layers[0].mlp.up_proj.weight
    broken.register_hook(lambda gradient: gradient * math.inf)
    job = make_job(tmp_path, model, scaling=True, steps=100)
    job.evaluation = []
    loop = Loop(job, Accelerator(cpu=True))
    with pytest.raises(DivergedError, match="gradient norm of step 17 is"):
        loop.run()  # 2 ** 16 halved sixteen times is 1


def test_a_held_out_loss_that_is_not_finite_names_its_rows(tmp_path: Path) -> None:
    model = make_model()
    layer = model.model.layers[0].mlp

    def break_in_evaluation(
        module: torch.nn.Module, _: object, output: torch.Tensor
    ) -> torch.Tensor:
        return output if module.training else output * math.nan

    layer.register_forward_hook(break_in_evaluation)
    loop = Loop(make_job(tmp_path, model, scaling=False, steps=2), Accelerator(cpu=True))
    with pytest.raises(DivergedError, match=r"evaluation loss of step 1 is nan.*held.jsonl:1"):
        loop.run()


def test_what_a_run_resumed_from_does_not_stay_in_memory(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_model(), scaling=False, steps=2)
    Loop(job, Accelerator(cpu=True)).run()
    again = make_job(tmp_path, make_model(seed=1), scaling=False, steps=3)
    again.resume_from = again.store.newest().checkpoint
    loop = Loop(again, Accelerator(cpu=True))
    assert loop.state.step == 2
    assert again.resume_from is None
