"""Opens the LLM that a recipe names: a server, its batch API, or a model in this process."""

from collections.abc import Callable
from pathlib import Path

from selfinstruct.llm.batch import BatchLLM
from selfinstruct.llm.local import LocalLLM
from selfinstruct.llm.server import ServerLLM
from selfinstruct.llm.settings import LLMSettings


def open_llm(
    settings: LLMSettings,
    folder: Path,
    *,
    batch: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> "ServerLLM | LocalLLM | BatchLLM":
    """The LLM of a recipe.

    Args:
        settings: Which.
        folder: The run's folder, where batches are noted.
        batch: Ask through the batch API.
        say: Told what people should know.

    Raises:
        XtuneError: It cannot be opened.
    """
    if settings.is_local:
        return LocalLLM(settings)
    if batch:
        return BatchLLM(settings, folder, say=say)
    return ServerLLM(settings, say=say)
