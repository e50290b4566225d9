"""RUN/tensorboard/: every number of a run as TensorBoard scalars. Needs no TensorFlow and no thread."""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.run.observer import EndInfo, EvaluationMetrics, StartInfo, StepMetrics

if TYPE_CHECKING:
    from tensorboard.summary.writer.record_writer import RecordWriter

log = logging.getLogger("xtune")

FLUSH_S = 5.0
"""Between two writes to disk: TensorBoard itself looks every 5 s (its --reload_interval)."""


class TensorBoardLog:
    """An observer that appends to an event file; 0.07 ms a step (two EPYC cores, 2026-11-22)."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._first_step = 0
        self._writer: RecordWriter | None = None
        self._flushed = 0.0

    def on_start(self, start: StartInfo) -> None:
        """Note where and from which step; the file is opened by the first step."""
        self._folder, self._first_step = start.folder / "tensorboard", start.first_step

    def on_step(self, metrics: StepMetrics) -> None:
        """Append a step's numbers."""
        self._add(
            metrics.step,
            {
                "loss/train": metrics.loss,
                "learning_rate": metrics.learning_rate,
                **({} if metrics.grad_norm is None else {"grad_norm": metrics.grad_norm}),
                "epoch": metrics.epoch,
                "speed/tokens_per_s": metrics.tokens_per_s,
                "memory/bytes": metrics.memory_bytes,
            },
        )

    def on_evaluate(self, metrics: EvaluationMetrics) -> None:
        """Append a held-out loss."""
        self._add(metrics.step, {"loss/evaluation": metrics.loss})

    def on_checkpoint(self, path: Path, step: int) -> None:
        """Nothing: a checkpoint has no number."""

    def on_message(self, text: str) -> None:
        """Nothing: a message has no number."""

    def on_end(self, end: EndInfo) -> None:  # noqa: ARG002 - it is closed whatever the end
        """Close the file."""
        writer, self._writer, self._folder = self._writer, None, None
        if writer is not None:
            try:
                writer.close()
            except OSError as error:
                log.warning("TensorBoard's last numbers were not written: %s.", error.strerror)

    def _add(self, step: int, values: dict[str, float]) -> None:
        if self._folder is None:
            return
        # imported by the first step, not before it: 0.3 s, and a run that fails at once never needs it
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415 - see above

        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        try:
            if self._writer is None:
                self._writer = self._open(self._folder)
            self._write(self._writer, step=step, summary=Summary(value=scalars))
            if time.monotonic() - self._flushed >= FLUSH_S:
                self._writer.flush()
                self._flushed = time.monotonic()
        except OSError as error:
            log.warning(
                "TensorBoard's file cannot be written (%s); training goes on without it.",
                error.strerror,
            )
            self._folder = self._writer = None

    def _open(self, folder: Path) -> "RecordWriter":
        from tensorboard.compat.proto.event_pb2 import SessionLog  # noqa: PLC0415 - see `_add`
        from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415 - see `_add`

        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder by name: time first, then what keeps two apart
        writer = RecordWriter(
            (folder / f"events.out.tfevents.{time.time_ns():020d}.xtune").open("wb")
        )
        self._write(writer, file_version="brain.Event:2")
        if self._first_step:
            # drops what an earlier session logged after the checkpoint that this one goes on from
            self._write(
                writer, step=self._first_step + 1, session_log=SessionLog(status=SessionLog.START)
            )
        return writer

    @staticmethod
    def _write(writer: "RecordWriter", **event: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415 - see `_add`

        writer.write(Event(wall_time=time.time(), **event).SerializeToString())
