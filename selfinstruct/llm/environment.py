"""The one file of selfinstruct that reads the environment: the API key, and where the server is."""

import os
import urllib.request
from urllib.parse import urlsplit

from selfinstruct.errors import AccountError
from selfinstruct.llm.settings import LLMSettings, what_is_wrong_with

OPENAI_URL = "https://api.openai.com/v1"
_LOOPBACK = ("localhost", "127.", "::1", "0.0.0.0")
_SHORTEST_SECRET = 6
"""A shorter "key" is a placeholder such as `none` or `x`; hiding it would garble ordinary text."""


class Key:
    """An API key that shows itself to nobody: not in a repr, not in a log, not in a pickle."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Key(***)"

    def __reduce__(self) -> str:
        raise TypeError("an API key is not written anywhere")

    def header(self) -> str:
        """The value of the Authorization header."""
        return f"Bearer {self._text}"

    def reveal(self) -> str:
        """The key itself, for a client that sends it."""
        return self._text

    def hide(self, text: str) -> str:
        """A foreign text without the key, should a server have echoed it."""
        if len(self._text) < _SHORTEST_SECRET:
            return text
        return text.replace(self._text, "***")


def address(settings: LLMSettings) -> str:
    """The server's address: the recipe's, OPENAI_BASE_URL's, or OpenAI's.

    Raises:
        AccountError: OPENAI_BASE_URL holds what cannot be one.
    """
    if settings.base_url:
        return settings.base_url.rstrip("/")
    url = os.environ.get("OPENAI_BASE_URL", "").rstrip("/")
    problem = what_is_wrong_with(url) if url else ""
    if problem:
        raise AccountError(f"The environment variable OPENAI_BASE_URL {problem}.")
    return url or OPENAI_URL


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    return (urlsplit(url).hostname or "").startswith(_LOOPBACK)


def read_key(settings: LLMSettings) -> Key:
    """The API key; a server on this machine may do without one.

    Raises:
        AccountError: The variable is not set, or holds what cannot be a key.
    """
    text = os.environ.get(settings.key_variable, "").strip()
    url = address(settings)
    if not text:
        if is_loopback(url):
            return Key("none")
        raise AccountError(
            f"There is no API key for {url}: the environment variable {settings.key_variable} is not set.",
            advice=f"Set it in your shell: export {settings.key_variable}=...; or name another with llm.key_variable=NAME.",
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise AccountError(
            f"{settings.key_variable} holds characters that no API key has (a space, a line break or a quotation mark of a word processor?).",
            advice="Set it again.",
        )
    return Key(text)


def worker_environment(settings: LLMSettings) -> dict[str, str]:
    """The environment of a process that asks nothing: without the key, and with one thread, being one of many."""
    names = os.environ.keys() - {settings.key_variable}
    return {**{name: os.environ[name] for name in names}, "OMP_NUM_THREADS": "1"}


def has_proxy(url: str) -> bool:
    """Whether the environment sends requests to an address through a proxy; to this machine's own it never does."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = urllib.request.getproxies()
    if is_loopback(url) or not (parts.scheme in proxies or "all" in proxies):
        return False
    return not urllib.request.proxy_bypass(host)
