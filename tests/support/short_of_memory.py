"""A run in this process whose memory runs out at moments of one's choice: torch's own error, raised once each."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from xtune import api
from xtune.demo.bundled import bundled_path
from xtune.errors import Interrupted
from xtune.kernels.loss import LossModule
from xtune.run.observer import Observers

SHORT = [
    "model.dtype=float32", "data.max_tokens=1024", "method.dropout=0.1",
    "train.max_steps=4", "train.batch_size=4", "train.evaluate_every=2", "train.save_every=4",
]  # fmt: skip
"""Rows may be far longer than they are, so that the plan finds something to save."""


class Told(Observers):
    """Keeps what was said; at a step's checkpoint, and at no other, it raises what it is given."""

    def __init__(self, step: int = 0, error: BaseException | None = None) -> None:
        super().__init__([])
        self.said: list[str] = []
        self._step, self._error = step, error

    def on_message(self, text: str) -> None:
        self.said.append(text)

    def on_checkpoint(self, path: Path, step: int) -> None:
        del path
        if step == self._step and self._error is not None:
            error, self._error = self._error, None
            raise error


def run(folder: Path, *changes: str, told: Told | None = None, resume: bool = False) -> Told:
    """The bundled demo over a few steps; an interruption is a way to end, too."""
    told = told or Told()
    orders = bundled_path("bundled:orders/train.jsonl").read_text(encoding="utf-8").splitlines(True)
    for name, part in (("train", orders[:16]), ("evaluate", orders[16:20])):
        (folder.parent / f"{name}.jsonl").write_text("".join(part), encoding="utf-8")
    data = [f"data.{name}={folder.parent / name}.jsonl" for name in ("train", "evaluate")]
    words = [f"run.folder={folder}", *data, *SHORT, *changes]
    with suppress(Interrupted):
        api.train("quickstart", words, observers=[told], resume=resume)
    return told


@contextmanager
def no_room_in_pass(number: int, *, training: bool) -> Iterator[None]:
    """While it lasts the model's pass of that number, of training or of evaluation, counted from 1, finds no room."""
    passes = 0

    def note(module: torch.nn.Module, given: object) -> None:
        nonlocal passes
        del given
        if isinstance(module, LossModule) and module.training is training:
            passes += 1
            if passes == number:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    hook = register_module_forward_pre_hook(note)
    try:
        yield
    finally:
        hook.remove()
