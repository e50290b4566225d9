"""What every drawing with matplotlib wants around it; it draws nothing."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_drawing() -> Iterator[None]:
    """No warnings on the person's screen about letters that the font lacks, or a font cache being built."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
