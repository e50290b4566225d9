"""Opens the openai package's client, as the batch API, the list of models and proxies need it; the package is read on first use."""

from typing import TYPE_CHECKING

from selfinstruct.llm.environment import Key, is_loopback

if TYPE_CHECKING:
    import openai


def open_client(url: str, key: Key, *, timeout_s: float, retries: int = 0) -> "openai.AsyncOpenAI":
    """A client that sends nothing to a proxy which is meant for a server on this machine.

    Args:
        url: The server's address.
        key: The API key.
        timeout_s: Seconds for one answer.
        retries: Times that the package asks again by itself.
    """
    import openai

    here = is_loopback(url) and url.startswith("http:")
    return openai.AsyncOpenAI(
        base_url=url,
        api_key=key.reveal(),
        timeout=timeout_s,
        max_retries=retries,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False) if here else None,
    )
