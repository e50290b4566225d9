"""Requests and errors as the OpenAI API writes them, and what of them is understood here; it answers nothing."""

import difflib
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from xtune.generate.guide import ANY_OBJECT

Amount = Annotated[int, Field(ge=1)]
Token = Annotated[int, Field(ge=0)]
"""Also any other whole number from 0."""

Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]

MOST_CHOICES = 16
MOST_STOPS = 16
MOST_LOGPROBS = 20
"""OpenAI's limit of `top_logprobs`; the others are choices of ours."""


class ApiError(Exception):
    """An answer that is an error, in OpenAI's form."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        message = _writable(message)
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        param = None if param is None else _writable(param)
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _writable(text: str) -> str:
    """A text that may quote a request, with halves of surrogate pairs escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


class StreamOptions(BaseModel):
    """`stream_options`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    include_usage: bool = False
    include_obfuscation: bool = False


class JsonSchema(BaseModel):
    """`response_format.json_schema`; an answer keeps to it whether `strict` or not."""

    model_config = ConfigDict(strict=True, extra="forbid")

    form: Annotated[dict[str, Any], Field(alias="schema")]
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(BaseModel):
    """`response_format`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @property
    def schema_to_keep(self) -> Mapping[str, Any] | None:
        """The JSON schema of the answer; None where it is free.

        Raises:
            ApiError: There should be one, or there should be none.
        """
        if (self.type == "json_schema") != (self.json_schema is not None):
            said = "needs" if self.json_schema is None else "takes no"
            raise ApiError(
                400,
                f"`response_format` of type `{self.type}` {said} `json_schema`.",
                param="response_format",
            )
        if self.json_schema is not None:
            return self.json_schema.form
        return ANY_OBJECT if self.type == "json_object" else None


class Asking(BaseModel):
    """What chat completions and completions have in common; an unknown parameter is refused, not ignored."""

    model_config = ConfigDict(strict=True, extra="forbid")

    model: str
    max_tokens: Amount | None = None
    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    """As vLLM has it: -1 and 0 mean all."""

    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] | None = None
    stop: str | Annotated[list[str], Field(max_length=MOST_STOPS)] | None = None
    stop_token_ids: Annotated[list[Token], Field(max_length=64)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    response_format: ResponseFormat | None = None

    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {
        "frequency_penalty": (0,),
        "presence_penalty": (0,),
        "logit_bias": ({},),
    }
    """Parameters that are known and not supported, with the values that change nothing."""

    def check(self) -> None:
        """Refuse what is known and not supported.

        Raises:
            ApiError: There is such a thing.
        """
        for name, values in self.neutral.items():
            value = getattr(self, name)
            if value is not None and value not in values:
                raise ApiError(
                    400, f"`{name}` is not supported by this server; leave it out.", param=name
                )
        if self.stream_options is not None and not self.stream:
            raise ApiError(400, "`stream_options` needs `stream`.", param="stream_options")
        if "" in self.stops:
            raise ApiError(400, "An empty text in `stop` would end every answer.", param="stop")

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def usage_in_stream(self) -> bool:
        """Whether the stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(Asking):
    """POST /v1/chat/completions."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_completion_tokens: Amount | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    """As vLLM has it: values of the chat template's own variables, `{"enable_thinking": false}`."""

    functions: list[Any] | None = None
    function_call: Any = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {
        **Asking.neutral,
        "tool_choice": ("auto", "none"),
        "functions": ([],),
        "function_call": ("none",),
    }


class CompletionRequest(Asking):
    """POST /v1/completions."""

    prompt: (
        str
        | Annotated[list[Token], Field(min_length=1)]
        | Annotated[list[str], Field(min_length=1, max_length=64)]
        | Annotated[list[list[Token]], Field(min_length=1, max_length=64)]
    )
    max_tokens: Token | None = None
    """0 is fine: with `echo` and `logprobs` the prompt alone is judged."""

    logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None

    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {
        **Asking.neutral,
        "suffix": ("",),
        "best_of": (1,),
    }

    @property
    def prompts(self) -> list[str | list[int]]:
        """One or several texts or lists of tokens."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        found: list[Any] = list(self.prompt)
        return [found] if isinstance(found[0], int) else found


def invalid(errors: Sequence[Mapping[str, Any]], known: Sequence[str]) -> ApiError:
    """The first thing that is wrong with a request's body.

    Args:
        errors: As pydantic lists them.
        known: Parameters that there are.
    """
    error = errors[0]
    place = [str(part) for part in error["loc"] if part != "body"]
    if error["type"] == "json_invalid":
        return ApiError(
            400, f"The body is not JSON: {error.get('ctx', {}).get('error', error['msg'])}."
        )
    if error["type"] == "string_unicode" and not place:
        return ApiError(400, "The name of a parameter holds half of a surrogate pair.")
    if not place:
        return ApiError(
            400, "The body must be a JSON object, with `Content-Type: application/json`."
        )
    # behind a parameter, pydantic names the alternative that it tried
    param = place[0]
    if error["type"] == "missing":
        return ApiError(400, f"`{'.'.join(place)}` is missing.", param=param)
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], known, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        return ApiError(
            400,
            f"Unknown parameter: `{'.'.join(place)}`.{hint}",
            param=param,
            code="unknown_parameter",
        )
    wrong = "; or ".join(dict.fromkeys(str(one["msg"]) for one in errors if param in one["loc"]))
    return ApiError(400, f"`{param}`: {wrong}.", param=param, code="invalid_value")


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """The `usage` of an answer; the token that ends an answer is not counted."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def now() -> int:
    """Seconds since 1970, as `created` has them."""
    return int(time.time())
