"""Makes the windows of a stream beside the training: in a process of its own, or on a thread where that cannot be.

The process makes the next window while this one is trained on, and waits with it until it is asked for:
one more is on a thread of this process, and no further one is begun, so that memory is bounded.
"""

import os
import pickle
import traceback
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any, Protocol

from xtune.data.processes import end_process, pickled, refuse_dead, start_process
from xtune.data.stream import Stream, StreamPlan
from xtune.data.windows import FlatWindow, Window
from xtune.errors import DataError, Problem


class _Maker(Protocol):
    def seek(self, position: Mapping[str, Any]) -> None: ...
    def window(self) -> Window: ...


class _Remote:
    """A stream in another process."""

    def __init__(self, message: bytes, *, light: bool) -> None:
        self._connection, self._process = start_process("feed", light=light)
        weakref.finalize(self, end_process, self._connection, self._process)
        self._send(message)

    def seek(self, position: Mapping[str, Any]) -> None:
        """Say where the first window begins; the process goes on from there by itself."""
        self._send(pickle.dumps(dict(position), protocol=5))

    def window(self) -> Window:
        """Receive the next window.

        Raises:
            DataError: A row is faulty, too many are lost, or the process died.
            RuntimeError: Something else went wrong in it.
        """
        try:
            answer = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            refuse_dead(self._process)
        if isinstance(answer, FlatWindow):
            return answer.window()
        if isinstance(answer, str):
            raise RuntimeError(f"in the process that reads the data:\n{answer}")
        raise DataError(answer)

    def _send(self, message: bytes) -> None:
        try:
            self._connection.send_bytes(message)
        except OSError:
            refuse_dead(self._process)


class Feed:
    """The windows of a stream, one after another; the next is made in the background."""

    def __init__(self, plan: StreamPlan) -> None:
        """Start what makes them; it begins to read when the first window is asked for.

        Raises:
            DataError: The tokenizer or template is unfit.
        """
        light = plan.recipient.light()
        message = pickled(plan if light is None else replace(plan, recipient=light))
        self._maker: _Maker = (
            plan.open() if message is None else _Remote(message, light=light is not None)
        )
        self._coming: Future[Window] | None = None

    def begin(self, position: Mapping[str, Any]) -> None:
        """Say where the first window begins, once."""
        self._maker.seek(position)

    def next(self) -> Window:
        """The next window.

        Raises:
            DataError: A row is faulty, or too many are lost.
        """
        coming = self._coming or _started(self._maker.window)
        window = coming.result()
        self._coming = _started(self._maker.window)
        return window


def _started(make: Callable[[], Window]) -> "Future[Window]":
    """Make a window on a thread that no exit waits for."""
    future: Future[Window] = Future()

    def run() -> None:
        try:
            future.set_result(make())
        except BaseException as error:  # noqa: BLE001 - whoever asks for the window gets it
            future.set_exception(error)

    Thread(target=run, daemon=True, name="xtune-stream").start()
    return future


def serve(descriptor: int) -> None:
    """The whole life of the process: a plan, a position, then windows until the pipe closes."""
    connection = Connection(descriptor)
    try:
        plan: StreamPlan = pickle.loads(connection.recv_bytes())
        position = pickle.loads(connection.recv_bytes())
        watch = Thread(target=_end_with, args=(connection,), daemon=True)
        watch.start()
        stream: Stream | None = None
        while True:
            try:
                if stream is None:
                    stream = plan.open()
                    stream.seek(position)
                answer: FlatWindow | tuple[Problem, ...] | str = FlatWindow.of(stream.window())
            except DataError as error:
                answer = error.problems
            except Exception:  # noqa: BLE001 - whatever it is, the process that asked must hear of it
                answer = traceback.format_exc()
            connection.send_bytes(pickle.dumps(answer, protocol=5))
            if not isinstance(answer, FlatWindow):
                watch.join()
    except (EOFError, OSError):
        os._exit(0)  # nobody waits for what this process would do on its way out


def _end_with(connection: Connection) -> None:
    """End this process as soon as the other is gone, in the middle of a window, too."""
    try:
        connection.recv_bytes()
    except (EOFError, OSError):
        os._exit(0)
