"""One training run from recipe to result: set up, hand over to the loop, end well. The loop itself is in `loop.py`."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from xtune.data.prepare import SILENT, Listener
from xtune.errors import DivergedError, HardwareError, Interrupted
from xtune.hardware import detect, disks_here, environment_facts, launch
from xtune.kernels.no_room import is_out_of_memory, what_ran_out
from xtune.plan import Plan, run_folder
from xtune.plan.further import further_down
from xtune.recipe import Recipe
from xtune.recipe.read import dump_recipe, read_recipe
from xtune.run.folder import RECIPE, RunFolder
from xtune.run.observer import EndInfo, EndStatus, Observer, Observers
from xtune.train.beginning import check_processes, weakest
from xtune.train.loop import Loop
from xtune.train.ready import Ready, get_ready
from xtune.train.reserve import ReserveWatch, measure_afresh
from xtune.train.result import Finished, result_folder, save_result
from xtune.train.setup import Session, broadcast, make_job, start_info
from xtune.train.shortage import collect, describe, let_go
from xtune.train.started import has_moved, is_forgotten


def train_session(
    recipe: Recipe,
    *,
    name: str,
    resume: bool,
    observe: Callable[[Plan], Observer],
    listener: Listener = SILENT,
) -> Finished:
    """Train, from the recipe to the folder with the result in it.

    Args:
        recipe: What is asked.
        name: The recipe's name.
        resume: Continue the run in the folder if there is one; start it otherwise.
        observe: Makes the observer of the main process, once the plan is known.
        listener: Hears of the preparation of the data before that.

    Raises:
        XtuneError: What a person can mend; the run folder is left resumable.
        Interrupted: Someone stopped it; it can be resumed.
    """
    path = Path(run_folder(recipe, name).value)
    if launch().rank == 0:
        RunFolder(path).check_free(resume=resume)  # before the data are read, which may take long
    hardware = replace(detect(), disks=disks_here(path))
    # the plan casts; `accelerate launch` would add a precision of its own
    accelerator = Accelerator(cpu=hardware.device == "cpu", mixed_precision="no")
    check_processes(accelerator, launch())
    if accelerator.num_processes > 1:
        hardware = weakest(gather_object([hardware]))
    ready = get_ready(recipe, name=name, resume=resume, hardware=hardware, listener=listener)
    if not accelerator.is_main_process:
        finished = broadcast(accelerator, None)
        return finished or _train(Session(ready, path, None, Observers([]), accelerator))
    observer = observe(ready.plan)
    with RunFolder.open(path, resume=resume) as folder:
        finished = broadcast(accelerator, _take_up(folder, ready, observer, resume=resume))
        return finished or _train(Session(ready, path, folder, observer, accelerator))


def _take_up(
    folder: RunFolder, ready: Ready, observer: Observer, *, resume: bool
) -> Finished | None:
    """Start the run in its folder, or check that the one in it is this one; returns it if it is already done."""
    if folder.holds_run:
        before = read_recipe(folder.path / RECIPE)
        _check_same(folder, ready, before, observer)
        return _done(folder, ready, before, observer)
    if resume:
        observer.on_message(
            f"There is nothing to continue in {folder.path}; starting from the first step."
        )
    folder.write_start(
        recipe_yaml=dump_recipe(ready.plan.recipe),
        plan=ready.plan.to_json(),
        environment=environment_facts(),
        data=ready.report.to_json(),
    )
    return None


def _check_same(folder: RunFolder, ready: Ready, before: Recipe, observer: Observer) -> None:
    """Refuse to go on with a run of another recipe or other data; what nobody can tell for sure is said."""
    folder.check_same_run(
        old=before.model_dump(mode="json"),
        new=ready.plan.recipe.model_dump(mode="json"),
        old_files=folder.data_files(),
        new_files={file.name: file.sha256 for file in ready.report.files},
    )
    rewritten = folder.rewritten({file.name: file.written_ns for file in ready.report.files})
    if rewritten:
        observer.on_message(
            f"{', '.join(rewritten)} was written to since the run began. Size and sampled blocks are the same, and what was read of it "
            "is checked before the next step; whether the rest is what it was, nobody can tell."
        )
    if is_forgotten(ready.plan):
        observer.on_message(
            "The run's plan.json is damaged or gone: what was decided for it is decided anew, so that it may not go on to the same bits."
        )
    if has_moved(ready.plan):
        observer.on_message(
            "The run was started on another kind of device or with another number of processes: it goes on, but not to the same bits."
        )


def _done(folder: RunFolder, ready: Ready, before: Recipe, observer: Observer) -> Finished | None:
    """What the run in a folder came to, if nothing of it is left to do."""
    status = folder.status()
    done = {"finished", "stopped_early"}
    if before.train.max_minutes == ready.plan.recipe.train.max_minutes:
        done.add("out_of_time")
    result = result_folder(folder.path, ready.plan)
    if status is None or status.state not in done or not result.exists():
        return None
    message = f"The run in {folder.path} is already complete; its result is {result}."
    observer.on_message(message)
    return Finished(
        folder=folder.path,
        result=result,
        end=EndInfo(status="finished", step=status.step, message=message),
    )


def _train(session: Session) -> Finished:
    """Load, run the loop, save; the observer and the folder hear how it ended, whatever happens.

    Raises:
        Interrupted: Someone stopped it.
    """
    position = Position()
    if session.folder is not None:
        position.watch = ReserveWatch(session.path, session.observer.on_message)
        session = replace(session, observer=Observers([session.observer, position.watch]))
    try:
        end = _run_on(session, position)
    except KeyboardInterrupt as stop:
        end = _stopped_at_once(session, position)
        _note(end, session, position)
        raise Interrupted(end.message) from stop
    except BaseException as error:
        status: EndStatus = "diverged" if isinstance(error, DivergedError) else "failed"
        message = str(error) or type(error).__name__
        _note(EndInfo(status=status, step=position.step, message=message), session, position)
        raise
    finally:
        if position.loop is not None and position.loop.job.metrics is not None:
            position.loop.job.metrics.close()
    if session.folder is not None:
        session.folder.write_status(end.status, step=end.step, total_steps=position.total_steps)
    session.observer.on_end(end)
    if end.status == "interrupted":
        raise Interrupted(end.message)
    return Finished(
        folder=session.path,
        result=result_folder(session.path, session.ready.plan),
        end=end,
    )


@dataclass
class Position:
    """How far a run has come, for the note about how it ended."""

    total_steps: int = 0
    loop: Loop | None = None
    is_started: bool = False
    """Whether the observer knows of it."""

    watch: ReserveWatch | None = None
    """On the main process."""

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.loop.state.step if self.loop else 0


def _run_on(session: Session, position: Position) -> EndInfo:
    """Run; where memory runs out, go on with the next plan that needs less."""  # noqa: DOC501 - what `_run` raises
    while True:
        try:
            return _run(session, position)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            session = _step_down(session, position, error)
        session.accelerator.free_memory()  # it holds every model it ever prepared
        collect()


def _step_down(session: Session, position: Position, error: Exception) -> Session:
    """The session with a plan that needs less; the last whole step is saved.

    Raises:
        HardwareError: There is no such plan, or the run was not in a step.
    """
    let_go(error)
    ready, loop = session.ready, position.loop
    position.loop = None
    if loop is None or ready.launch.world_size > 1:
        where = loop.doing if loop else "while the model was loaded"
        raise HardwareError(
            f"Memory ran out {where}.",
            advice="Close other programs that use it, or take a smaller plan: `xtune plan` says what fits.",
        ) from error
    doing = loop.doing
    _keep(loop)
    if loop.job.metrics is not None:
        loop.job.metrics.close()
    kept = max(loop.job.store.steps(), default=0)
    if what_ran_out(error) == "host" and ready.hardware.device != "cpu":
        # plans that need less of a device put more on the host
        raise HardwareError(
            f"Host memory ran out {doing}; step {kept} is saved.",
            advice="Close other programs, or keep less in host memory (`memory.base: disk`, `memory.checkpoints: disk`), and go on "
            "with --resume.",
        ) from error
    usable = 1.0
    if position.watch:
        position.watch.look()
        usable = position.watch.usable()
    plan = further_down(ready.plan, ready.hardware, ready.shape, ready.launch, usable=usable)
    message = describe(doing, ready.plan, plan, kept)
    plan = replace(plan, notes=(*plan.notes, message))
    if session.folder is not None:
        session.folder.write_plan(plan.to_json())
    session.observer.on_message(message)
    if position.watch:
        position.watch.start_over(plan)
    return replace(session, ready=replace(ready, plan=plan))


def _keep(loop: Loop) -> None:
    """Save the last step if there is room for that; else an earlier one has to do."""  # noqa: DOC501 - what `keep` raises
    try:
        loop.keep()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        let_go(error)


def _run(session: Session, position: Position) -> EndInfo:
    ready, plan = session.ready, session.ready.plan
    job = make_job(session)
    measure_afresh()
    position.total_steps = job.total_steps
    position.loop = loop = Loop(job, session.accelerator)
    if session.folder is not None:
        session.folder.write_status("running", step=loop.state.step, total_steps=job.total_steps)
        if not position.is_started:
            session.observer.on_start(start_info(session, job, loop))
        position.is_started = True
    ended = loop.run()
    result = result_folder(session.path, plan)
    if ended.ending == "interrupted":
        message = f"Stopped after step {ended.state.step} of {job.total_steps}, saved; continue with the same command and --resume."
        return EndInfo(status="interrupted", step=ended.state.step, message=message)
    loop.finish()
    if session.folder is not None:
        save_result(job.model, ready.tokenizer, result, plan)
    session.accelerator.wait_for_everyone()
    steps = f"{ended.state.step} step{'' if ended.state.step == 1 else 's'}"
    reason = {
        "finished": f"Done after {steps}",
        "stopped_early": f"Stopped early after {steps}: no better evaluation loss in {plan.recipe.train.early_stop_patience} evaluations",
        "out_of_time": f"Stopped after {ended.state.step} of {job.total_steps} steps: train.max_minutes is {plan.recipe.train.max_minutes}",
    }[ended.ending]
    return EndInfo(status=ended.ending, step=ended.state.step, message=f"{reason}.")


def _stopped_at_once(session: Session, position: Position) -> EndInfo:
    """The end that Ctrl-C or SIGTERM makes outside the loop, where nothing waits to be saved."""
    advice = "start it again with the same command"
    if session.folder is not None and session.folder.has_checkpoint:
        advice = "continue with the same command and --resume"
    message = f"Stopped at once; {advice}."
    return EndInfo(status="interrupted", step=position.step, message=message)


def _note(end: EndInfo, session: Session, position: Position) -> None:
    """Leave word of an end that was not wanted, as far as the disk allows; the error itself goes on to the person."""
    if session.folder is not None:
        with contextlib.suppress(OSError):
            session.folder.write_status(end.status, step=end.step, total_steps=position.total_steps)
    session.observer.on_end(end)
