"""Keeps the chatter of transformers, bitsandbytes and PEFT off the terminal for one call; errors still speak."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers.utils import logging as _transformers_logging

from xtune.hub import errors_only

transformers_logging: Any = _transformers_logging  # its functions are untyped

_CHATTY = ("bitsandbytes", "accelerate", "huggingface_hub")

_ADVICE: tuple[tuple[type[Warning], str, str], ...] = (
    # torch's own use of torch.jit, met while bitsandbytes is imported
    (DeprecationWarning, r"`torch\.jit\.", ""),
    # older names, which transformers 5.17 needs and peft 0.21 uses
    (FutureWarning, r"`(is_)?gradient_checkpointing(_enable)?`", ""),
    # PEFT on what is handled here: tied weights, conversion on saving, missing keys
    (UserWarning, "", r"peft\."),
)
"""Warnings that a person can do nothing about: category, start of the message, module."""


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no log lines below ERROR from the loading libraries inside the block."""
    verbosity = transformers_logging.get_verbosity()
    had_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), errors_only(*_CHATTY):
            for category, message, module in _ADVICE:
                warnings.filterwarnings("ignore", message, category, module)
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if had_bars:
            transformers_logging.enable_progress_bar()
