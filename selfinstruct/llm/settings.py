"""What a person may say about the LLM: which one, where, how fast, for how much. It opens no connection."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

LOCAL = "local:"
"""Prefix of a model that runs in this process: `local:FOLDER`, `local:bundled:demo`."""

Positive = Annotated[int, Field(ge=1)]


class Price(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Annotated[float, Field(ge=0)]
    completion: Annotated[float, Field(ge=0)]


class LLMSettings(BaseModel):
    """The LLM and how it is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: Annotated[str, Field(min_length=1)]
    """Name at the server, or `local:FOLDER` for a transformers folder in this process."""

    base_url: str | None = None
    """Where the server is: `http://127.0.0.1:8000/v1`; left out: OPENAI_BASE_URL, or OpenAI."""

    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the API key; the key itself is never written anywhere."""

    output: Literal["auto", "text", "json"] = "auto"
    """`json` holds the answer to a JSON schema; `auto` does so where the server is seen to keep to one."""

    client: Literal["auto", "direct", "openai"] = "auto"
    """`direct` speaks HTTP itself (0.1 ms of processor a request, the openai package 2 ms); `auto`: direct unless a proxy is set."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    context_tokens: Positive = 4096
    """Prompt and answer together; 4,096 is the paper's gpt-3.5-turbo-0301."""

    answer_tokens: Positive = 2560
    """Longest answer; demonstrations are drawn so that this much of the context stays free."""

    concurrency: Literal["auto"] | Positive = "auto"
    """Requests at a time. `auto` doubles from 16 until the server pushes back; a number is where it starts and its most."""

    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """Longest wait for one answer."""

    retries: Annotated[int, Field(ge=0)] = 8
    """Tries after the first for 5xx, timeouts, resets and unreadable answers."""

    price: Price | None = None
    """US dollars per million tokens, for a model that the price table lacks."""

    prices: str | None = None
    """A price table of your own (YAML, as selfinstruct/llm/prices.yaml)."""

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        """A local model has a folder, and `base_url` is a web address without a password in it.

        Raises:
            ValueError: It is not.
        """
        if self.model == LOCAL:
            raise ValueError("`model` names no folder; write local:FOLDER or local:bundled:demo")
        problem = what_is_wrong_with(self.base_url) if self.base_url is not None else ""
        if problem:
            raise ValueError(f"`base_url` {problem}")
        return self

    @property
    def is_local(self) -> bool:
        """Whether the model runs in this process."""
        return self.model.startswith(LOCAL)


def what_is_wrong_with(url: str) -> str:
    """Why a text cannot be a server's address, and what to do, to stand behind its name; empty if it can."""
    no_address = "is no web address; write http://127.0.0.1:8000/v1, say"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # a port above 65,535, half a pair of brackets
        return no_address
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        return no_address
    if parts.username or parts.password:
        return "holds a password; give it in the variable that key_variable names"
    return ""
