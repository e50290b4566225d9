"""Opens the LLM that a recipe names: a server, its batch API, or a model in this process."""

from collections.abc import Callable
from pathlib import Path

from selfinstruct.llm.server import ServerLLM
from selfinstruct.llm.settings import LLMSettings
from xtune.errors import XtuneError


def open_llm(
    settings: LLMSettings,
    folder: Path,
    *,
    batch: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> ServerLLM:
    """The LLM of a recipe.

    Args:
        settings: Which.
        folder: The run's folder, where batches are noted.
        batch: Ask through the batch API.
        say: Told what people should know.

    Raises:
        XtuneError: It cannot be opened.
    """
    del folder
    if batch or settings.is_local:
        raise XtuneError("not here yet")
    return ServerLLM(settings, say=say)
