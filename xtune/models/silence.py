"""One way to keep a library's notes off the terminal for a while; its errors still speak. Imports nothing heavy."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def errors_only(*names: str) -> Iterator[None]:
    """Inside the block the named loggers pass errors and nothing less."""
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
