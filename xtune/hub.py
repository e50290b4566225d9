"""What both readers of hubs share, that of models and that of data sets. Imports nothing heavy."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

MODELSCOPE_LOGGER = "modelscope_hub"


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


def knock_at_modelscope() -> None:
    """Ask once whether anybody answers: without a network, ModelScope's client goes on asking for 7 to 22 seconds.

    Raises:
        ConnectionError: Nobody does.
    """
    import requests  # noqa: PLC0415 - what ModelScope's client is built on; without it there is no client
    from modelscope.hub.api import HubApi

    endpoint = HubApi().endpoint
    try:
        requests.head(endpoint, timeout=(10, 30))
    except requests.RequestException as error:
        raise ConnectionError(f"{endpoint} does not answer") from error


def first_line(error: Exception) -> str:
    """What an error says in its first line, without a full stop; the name of its type if it says nothing."""
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__).rstrip(".")[:200]
