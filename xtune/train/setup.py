"""What one process of a run trains with: the model loaded and made ready, batches, checkpoints. Nothing is trained here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from xtune.adapter.attach import attach
from xtune.adapter.types import said_types
from xtune.data.batch import Assembly, EvaluationBatches
from xtune.kernels.heads import parameter_count
from xtune.kernels.weights import align_weights
from xtune.models.load import load_model
from xtune.models.tokenizer import pad_token_id
from xtune.run.checkpoint import Checkpoint, CheckpointStore
from xtune.run.folder import PLAN, RunFolder
from xtune.run.metrics import MetricsLog
from xtune.run.observer import Observer, StartInfo
from xtune.train.beginning import check_disk, check_packing
from xtune.train.ends import place_ends
from xtune.train.job import Job
from xtune.train.loop import Loop
from xtune.train.randomness import seed_everything
from xtune.train.ready import Ready
from xtune.train.streaming import base_streaming
from xtune.train.techniques import apply_techniques


@dataclass(frozen=True)
class Session:
    """One process's part in a run."""

    ready: Ready
    path: Path
    folder: RunFolder | None
    """The folder, held for writing, on the main process; None elsewhere."""

    observer: Observer
    accelerator: Accelerator


def make_job(session: Session) -> Job:
    """Load the model, and put together all that the loop needs."""
    ready, plan, recipe = session.ready, session.ready.plan, session.ready.plan.recipe
    seed_everything(recipe.run.seed)
    streaming = base_streaming(plan)
    base = load_model(plan, on_layer=None if streaming is None else streaming.shelve)
    if plan.device.value == "cpu":
        align_weights(base)
    said = [f"{plan.summary()} Why: {session.path / PLAN}", place_ends(base, plan)]
    if streaming is not None:
        streaming.start(base)
    model = attach(base, plan, ready.tokenizer)
    said.append(said_types(model, plan))
    if streaming is not None:
        streaming.settle()
        said.append(streaming.said())
    for sentence in filter(None, said):
        session.observer.on_message(sentence)
    loss_tile_tokens = apply_techniques(model, plan, session.path)
    check_packing(model, plan)  # frugal layers tell rows apart that the model's own do not
    prepared = ready.prepared
    assembly = Assembly(
        micro_batch_size=plan.micro_batch_size.value,
        pad_token_id=pad_token_id(ready.tokenizer),
        packed=plan.packing.value,
        rank=ready.launch.rank,
        world_size=ready.launch.world_size,
    )
    batches = prepared.batches(assembly)
    evaluation = EvaluationBatches(
        prepared.evaluate,
        micro_batch_size=plan.micro_batch_size.value,
        pad_token_id=pad_token_id(ready.tokenizer),
        rank=ready.launch.rank,
        world_size=ready.launch.world_size,
    )
    store = CheckpointStore(session.path / "checkpoints", keep=recipe.train.keep_checkpoints)
    checkpoint = _find_checkpoint(store, session)
    if session.folder is not None:
        check_disk(session.path, model, plan)
    return Job(
        plan=plan,
        model=model,
        batches=batches,
        evaluation=evaluation,
        loss_tile_tokens=loss_tile_tokens,
        total_steps=prepared.total_steps(recipe),
        store=store,
        metrics=None if session.folder is None else _metrics(session.path, checkpoint),
        observer=session.observer,
        resume_from=checkpoint,
    )


def _metrics(path: Path, checkpoint: Checkpoint | None) -> MetricsLog:
    """The run's numbers as they were at its checkpoint."""
    if checkpoint is None:
        return MetricsLog(path, keep_steps=0)
    state = checkpoint.state
    return MetricsLog(path, keep_steps=state.step, evaluates_again=state.evaluation_is_due)


def _find_checkpoint(store: CheckpointStore, session: Session) -> Checkpoint | None:
    """The newest whole checkpoint, the same one on every rank."""
    if session.folder is None:
        step = broadcast(session.accelerator, None)
        return None if step is None else store.load(step)
    found = store.newest()
    for sentence in found.damaged:
        session.observer.on_message(f"{sentence} It is set aside; the one before it is used.")
    checkpoint = found.checkpoint
    broadcast(session.accelerator, None if checkpoint is None else checkpoint.state.step)
    if checkpoint is not None:
        session.observer.on_message(f"Resuming after step {checkpoint.state.step}.")
    elif session.folder.status() is not None:
        session.observer.on_message("There is no whole checkpoint; starting from the first step.")
    return checkpoint


def start_info(session: Session, job: Job, loop: Loop) -> StartInfo:
    """What observers hear before the first step."""
    parameters = list(job.model.parameters())
    return StartInfo(
        folder=session.path,
        plan=job.plan,
        total_steps=job.total_steps,
        first_step=loop.state.step,
        trainable_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        total_parameters=parameter_count(job.model),
        rows=len(session.ready.prepared.train),
    )


def broadcast(accelerator: Accelerator, value: Any) -> Any:
    """The main process's value, on every rank."""
    box = [value]
    if accelerator.num_processes > 1:
        broadcast_object_list(box)
    return box[0]
