"""The training loop: one optimizer step after another, readable top to bottom. It loads nothing and prints nothing.

The loss of a step is the sum of all weighted token losses divided by the sum of all weights, over
every micro-batch and every rank, so that the split into micro-batches and ranks changes nothing.
All randomness of a step is drawn from (seed, step, rank), so that a resumed run repeats it exactly.
"""

import math
import time
from contextlib import nullcontext
from dataclasses import replace

import torch
from accelerate import Accelerator

from xtune.adapter.state import load_trainable_state, trainable_state
from xtune.data.types import IGNORED, Batch, Step
from xtune.errors import RunError
from xtune.kernels.loss import LossModule
from xtune.run.checkpoint import Checkpoint, TrainingState
from xtune.run.observer import EvaluationMetrics, StepMetrics
from xtune.train.compiling import compile_layers
from xtune.train.diagnosis import memory_bytes, stop_diverged
from xtune.train.job import Ended, Ending, Job
from xtune.train.randomness import seed_everything
from xtune.train.schedule import learning_rate_factor
from xtune.train.signals import StopSignals
from xtune.train.update import make_update


class Loop:
    """One run of training. `run` is the loop; the methods below it are its parts in the order of use."""

    def __init__(self, job: Job, accelerator: Accelerator) -> None:
        self.job, self.plan, self.settings = job, job.plan, job.plan.recipe.train
        self.accelerator = accelerator
        self.device = accelerator.device
        if self.settings.compile:
            compile_layers(job.model)
        self.module = LossModule(job.model, self.plan.loss_chunk_tokens.value, job.loss_tile_tokens)
        self.update = make_update(job.model, self.plan, self.device)
        self.state = TrainingState()
        if job.resume_from is not None:
            self._restore(job.resume_from)
            job.batches.resume(self.state.step, self.state.data)
            job.resume_from = None  # its weights and optimizer would stay in host memory
        self.whole_step = self.state.step  # the last that has been evaluated too
        self.doing = f"before step {self.state.step + 1}"  # for people, once something has failed
        # everything is where it belongs, which need not be the device
        self.parallel = accelerator.prepare_model(self.module, device_placement=False)
        self.save_every = self.settings.save_every or max(1, math.ceil(job.total_steps / 10))

    def run(self) -> Ended:
        """Train until the steps are done, the time is up, the loss stops falling, or someone stops it.

        Raises:
            DivergedError: The loss or the gradient became NaN or infinite.
            RunError: A checkpoint could not be written.
        """
        state, total_steps = self.state, self.job.total_steps
        if state.evaluation_is_due:
            self._evaluate()  # memory ran out in it
        # a run killed after its last checkpoint comes back here with nothing left to do
        ending: Ending = "stopped_early" if self._has_stalled() else "finished"
        self.module.train()
        with StopSignals() as signals:
            while ending == "finished" and state.step < total_steps:
                began = time.perf_counter()
                self.doing = f"in step {state.step + 1}"
                step = self.job.batches.step(state.step)
                learning_rate = self._set_learning_rate(state.step)
                losses = [self._forward_backward(step) for _ in self.update.passes()][-1]
                out_of_time = self._is_out_of_time(began)
                loss, interrupted, out_of_time = self._agree(
                    losses, step, signals.requested, out_of_time
                )
                grad_norm = self._update(loss, losses, step)
                self._record(step, loss, learning_rate, grad_norm, time.perf_counter() - began)

                is_best = self._evaluate() if self._evaluation_is_due(out_of_time) else False
                self.whole_step = state.step
                if self._has_stalled():
                    ending = "stopped_early"
                elif out_of_time:
                    ending = "out_of_time"
                if interrupted and state.step < total_steps:
                    ending = "interrupted"
                over = ending != "finished" or state.step == total_steps
                if over or is_best or state.step % self.save_every == 0:
                    self._save()
        return Ended(ending=ending, state=state)

    def finish(self) -> None:
        """Leave the model with the weights that the recipe asks the run to end with, and nothing else in memory."""
        self.update.let_go()
        best = self.state.best_step
        if self.settings.finish_with == "best" and best is not None and best != self.state.step:
            try:
                load_trainable_state(self.job.model, self.job.store.load(best).weights)
                message = f"The run ends with its best weights, those of step {best}."
            except RunError as error:
                message = f"The run ends with its last weights, not its best: {error.message}"
            self.job.observer.on_message(message)

    def keep(self) -> None:
        """Save the last step after an error in the next one, unless that has touched the weights or read streamed data."""
        self.update.free()
        done = self.whole_step == self.state.step or self.state.evaluation_is_due
        whole = done and not self.update.is_halfway and self.job.batches.position() is None
        if whole and self.state.step:
            self._save()

    def _restore(self, checkpoint: Checkpoint) -> None:
        load_trainable_state(self.job.model, checkpoint.weights)
        self.update.load_state_dict(checkpoint.optimizer)
        self.state = replace(checkpoint.state)

    def _set_learning_rate(self, index: int) -> float:
        """Set the rate for the step with this zero-based index; returns that of the recipe's peak."""
        factor = learning_rate_factor(index, self.job.total_steps, self.settings)
        self.update.set_learning_rate(factor)
        return self.settings.learning_rate * factor

    def _forward_backward(self, step: Step) -> list[float]:
        """Add up the gradients of this rank's micro-batches; returns the loss sum of each."""
        seed_everything(self.plan.recipe.run.seed, self.state.step, self.accelerator.process_index)
        # DDP averages gradients over ranks; the sum over ranks is wanted
        scale = self.accelerator.num_processes / max(step.loss_weight, 1e-12)
        losses = []
        for number, batch in enumerate(step.batches):
            last = number == len(step.batches) - 1
            with self.accelerator.no_sync(self.parallel) if not last else nullcontext():
                loss_sum = self._loss_sum(self.parallel, batch)
                self.update.scaler.scale(loss_sum * scale).backward()
            losses.append(loss_sum.detach())
        return torch.stack(losses).tolist()

    def _loss_sum(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        batch = batch.to(self.device)
        dtype = getattr(torch, self.plan.compute_dtype.value)
        with torch.autocast(self.device.type, dtype=dtype, enabled=self.plan.autocast.value):
            loss: torch.Tensor = module(
                batch.input_ids, batch.labels, batch.weights, batch.position_ids
            )
        return loss

    def _is_out_of_time(self, began: float) -> bool:
        limit = self.settings.max_minutes
        elapsed_s = self.state.elapsed_s + time.perf_counter() - began
        return limit is not None and elapsed_s >= limit * 60

    def _agree(
        self, losses: list[float], step: Step, stop: bool, out_of_time: bool
    ) -> tuple[float, bool, bool]:
        """The step's mean loss and the wish to stop, the same on every rank."""
        if self.accelerator.num_processes == 1:
            return sum(losses) / max(step.loss_weight, 1e-12), stop, out_of_time
        mine = torch.tensor([sum(losses), float(stop), float(out_of_time)], device=self.device)
        total = self.accelerator.reduce(mine, reduction="sum").tolist()
        return total[0] / max(step.loss_weight, 1e-12), total[1] > 0, total[2] > 0

    def _update(self, loss: float, losses: list[float], step: Step) -> float:
        """Clip, check, and take the optimizer step; returns the gradient norm."""
        if not math.isfinite(loss):
            found = f"The loss of step {self.state.step + 1} is {loss}"
            stop_diverged(found, step.batches, losses, self.job.store)
        grad_norm = self.update.clip()
        # a scaled loss may overflow, and its scale is then lowered; an unscaled one may not
        if not math.isfinite(grad_norm) and self.update.scaler.get_scale() <= 1.0:
            found = f"The gradient norm of step {self.state.step + 1} is {grad_norm}"
            stop_diverged(found, step.batches, losses, self.job.store)
        self.update.step()
        return grad_norm

    def _record(
        self, step: Step, loss: float, learning_rate: float, grad_norm: float, seconds: float
    ) -> None:
        state = self.state
        state.step += 1
        state.tokens += step.tokens
        state.trained_tokens += step.loss_weight
        state.elapsed_s += seconds
        metrics = StepMetrics(
            step=state.step,
            loss=loss,
            learning_rate=learning_rate,
            grad_norm=grad_norm if math.isfinite(grad_norm) else None,
            tokens=state.tokens,
            trained_tokens=state.trained_tokens,
            epoch=self.job.batches.epoch(state.step),
            tokens_per_s=step.tokens / seconds,
            elapsed_s=state.elapsed_s,
            memory_bytes=memory_bytes(self.device),
        )
        if self.job.metrics is not None:
            self.job.metrics.write_step(metrics)
            self.job.observer.on_step(metrics)

    def _evaluation_is_due(self, last: bool) -> bool:
        every, step = self.settings.evaluate_every, self.state.step
        due = last or step == self.job.total_steps or (every is not None and step % every == 0)
        return due and bool(self.job.evaluation)

    def _evaluate(self) -> bool:
        """Mean loss on the held-out rows; returns whether it is the lowest so far."""
        self.doing = f"in the evaluation after step {self.state.step}"
        self.state.evaluation_is_due = True
        self.module.eval()
        with torch.no_grad():
            sums = [self._loss_sum(self.module, batch).item() for batch in self.job.evaluation]
        self.module.train()
        weights = [
            float(batch.weights[batch.labels != IGNORED].sum()) for batch in self.job.evaluation
        ]
        total, weight = sum(sums), sum(weights)
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([total, weight], dtype=torch.float32, device=self.device)
            total, weight = self.accelerator.reduce(mine, reduction="sum").tolist()
        state = self.state
        state.evaluation_is_due = False
        loss = total / max(weight, 1e-12)
        if not math.isfinite(loss):
            found = f"The evaluation loss of step {state.step} is {loss}"
            stop_diverged(found, self.job.evaluation, sums, self.job.store)
        best = state.best_loss is None or loss < state.best_loss
        state.evaluations_since_best = 0 if best else state.evaluations_since_best + 1
        if best:
            state.best_loss, state.best_step = loss, state.step
        if self.job.metrics is not None:
            metrics = EvaluationMetrics(step=state.step, loss=loss, tokens=weight, best=best)
            self.job.metrics.write_evaluation(metrics)
            self.job.observer.on_evaluate(metrics)
        return best

    def _has_stalled(self) -> bool:
        patience = self.settings.early_stop_patience
        return patience is not None and self.state.evaluations_since_best >= patience

    def _save(self) -> None:
        self.doing = f"while step {self.state.step} was saved"
        if self.accelerator.is_main_process:
            self.state.data = self.job.batches.position()
            if self.job.metrics is not None:
                self.job.metrics.sync()
            path = self.job.store.save(
                trainable_state(self.job.model), self.update.state_dict(), self.state
            )
            self.job.observer.on_checkpoint(path, self.state.step)
        self.accelerator.wait_for_everyone()
