"""From a request to the rows that the engine answers: prompts, lengths, stops. It answers nothing itself."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from xtune.data.turns import Misfit, messages_of, tools_of
from xtune.data.types import Conversation, Message, Origin
from xtune.errors import DataError, XtuneError
from xtune.generate.batcher import inner_model, positions_left
from xtune.generate.decoding import Decoding
from xtune.generate.guide import JsonGuide
from xtune.generate.pieces import decoded
from xtune.generate.row import Row
from xtune.serve.engine import Engine, Request
from xtune.serve.models import Served
from xtune.serve.wire import ApiError, Asking, ChatRequest, CompletionRequest

HERE = Origin(source="request", row=0)

SEED_BITS = 63
"""Bits of the seed of a request that names none."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that is fit to be answered."""

    request: Request
    prompt_tokens: int
    tools: tuple[str, ...] = ()
    """Names of the tools that may be called; none where the model is told of none."""

    echo: tuple[str, ...] = ()
    """Texts of the prompts, where answers begin with them."""


def find_served(engine: Engine, name: str) -> Served:
    """The model of that name.

    Raises:
        ApiError: There is none.
    """
    served = engine.models.served.get(name)
    if served is None:
        known = ", ".join(engine.models.served)
        raise ApiError(
            404,
            f"The model `{name}` does not exist here; there are: {known}.",
            param="model",
            code="model_not_found",
        )
    return served


def ask_chat(engine: Engine, body: ChatRequest) -> Asked:
    """A chat completion's request.

    Raises:
        ApiError: It cannot be answered.
    """
    body.check()
    served = find_served(engine, body.model)
    conversation = _conversation(body)
    if conversation.tools and served.calls is None:
        raise ApiError(
            400,
            f"The chat template of `{served.name}` has no tools that this server can read calls of.",
            param="tools",
        )
    if served.prompter.continues:
        raise ApiError(
            400,
            f"`{served.name}` has no chat template; use /v1/completions.",
            param="model",
        )
    try:
        ids = served.prompter.ids(conversation, body.chat_template_kwargs)
    except DataError as error:
        param = "chat_template_kwargs" if "no variable" in str(error) else "messages"
        raise ApiError(400, str(error.problems[0]), param=param) from None
    top = body.top_logprobs if body.top_logprobs is not None else 0
    if body.top_logprobs is not None and not body.logprobs:
        raise ApiError(400, "`top_logprobs` needs `logprobs`.", param="top_logprobs")
    rows = _rows(
        engine,
        served,
        [ids],
        body,
        longest=body.max_completion_tokens or body.max_tokens,
        top_logprobs=top if body.logprobs else None,
    )
    with_tools = bool(conversation.tools) and served.calls is not None
    return Asked(
        request=Request(
            served=served,
            rows=rows,
            stop=body.stops,
            keep=served.calls.keep if with_tools and served.calls else frozenset(),
        ),
        prompt_tokens=len(ids),
        tools=tuple(_name(tool) for tool in conversation.tools) if with_tools else (),
    )


def ask_completion(engine: Engine, body: CompletionRequest) -> Asked:
    """A completion's request.

    Raises:
        ApiError: It cannot be answered.
    """
    body.check()
    served = find_served(engine, body.model)
    prompts = [_tokens(served, prompt) for prompt in body.prompts]
    rows = _rows(engine, served, prompts, body, longest=body.max_tokens, top_logprobs=body.logprobs)
    for row in rows:
        row.scores_prompt = bool(body.echo) and body.logprobs is not None
        row.answers = body.max_tokens != 0
    texts = [
        given
        if isinstance(given, str)
        else decoded(served.tokenizer, given, skip_special_tokens=False)
        for given in body.prompts
    ]
    return Asked(
        request=Request(served=served, rows=rows, stop=body.stops, continues=True),
        prompt_tokens=sum(map(len, prompts)),
        echo=tuple(text for text in texts for _ in range(body.n or 1)) if body.echo else (),
    )


def _conversation(body: ChatRequest) -> Conversation:
    _check_json(body.messages, "messages")
    _check_json(body.tools, "tools")
    _check_json(body.chat_template_kwargs, "chat_template_kwargs")
    try:
        messages = messages_of(body.messages, "messages", {})
        tools = () if body.tool_choice == "none" else tools_of(body.tools, "tools")
        nameless = next((place for place, tool in enumerate(tools) if not _name(tool)), None)
        if nameless is not None:
            raise Misfit(f"`tools[{nameless}]` has no name", "a tool is a function with a name")
    except Misfit as misfit:
        param = "tools" if misfit.what.startswith("`tools") else "messages"
        allowed = "the model reads text alone" if "part of type" in misfit.what else misfit.allowed
        told = "; ".join(part for part in (misfit.what, allowed) if part)
        raise ApiError(400, f"{told}.", param=param) from None
    # an assistant's message at the end is a turn like others: another one is answered
    answer = Message(role="assistant", content="")
    return Conversation(messages=(*messages, answer), tools=tools, origin=HERE)


def _name(tool: object) -> str:
    function = tool.get("function", tool) if isinstance(tool, dict) else {}
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else ""


def _tokens(served: Served, prompt: str | list[int]) -> list[int]:
    if isinstance(prompt, list):
        if any(token >= served.vocabulary for token in prompt):
            raise ApiError(
                400,
                f"`prompt` has a token beyond the vocabulary of {served.vocabulary}.",
                param="prompt",
            )
        return prompt
    check_unicode([prompt], "prompt")
    ids: list[int] = served.tokenizer(prompt, verbose=False)["input_ids"]
    # no end-of-text token at the end, which some tokenizers would add
    return ids[:-1] if len(ids) > 1 and ids[-1] == served.tokenizer.eos_token_id else ids


def _rows(
    engine: Engine,
    served: Served,
    prompts: Sequence[list[int]],
    body: Asking,
    *,
    longest: int | None,
    top_logprobs: int | None,
) -> list[Row]:
    count = body.n or 1
    limits = engine.limits
    if len(prompts) * count > limits.queued + limits.concurrent:
        raise ApiError(
            400, "The request asks for more answers than the server takes on.", param="n"
        )
    temperature = 1.0 if body.temperature is None else body.temperature
    decoding = Decoding(
        temperature=temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        top_k=max(0, body.top_k or 0),
        seed=secrets.randbits(SEED_BITS) if body.seed is None else body.seed,
        max_new_tokens=limits.output_tokens,
    )
    guide = _guide(served, body)
    stop = frozenset([*served.stop, *(body.stop_token_ids or ())])
    rows: list[Row] = []
    for place, prompt in enumerate(prompts):
        room = _room(engine, prompt, longest, body)
        row = Row(
            prompt=prompt,
            decoding=replace(decoding, max_new_tokens=room),
            stop=stop,
            answer=place * count,
            adapter=served.adapter,
            vocabulary=served.vocabulary,
            guide=guide,
            top_logprobs=top_logprobs,
        )
        rows += row.repeated(count)
    return rows


def _guide(served: Served, body: Asking) -> JsonGuide | None:
    """What keeps the answers to the form that is wanted.

    Raises:
        ApiError: It cannot be kept to here.
    """
    schema = None if body.response_format is None else body.response_format.schema_to_keep
    if schema is None:
        return None
    _check_json(schema, "response_format")
    if isinstance(body, ChatRequest) and body.tools and body.tool_choice != "none":
        raise ApiError(
            400, "`response_format` and `tools` do not go together here.", param="response_format"
        )
    try:
        return served.guides.make(schema)
    except XtuneError as error:
        raise ApiError(400, f"{error}", param="response_format") from None


def _room(engine: Engine, prompt: list[int], longest: int | None, body: Asking) -> int:
    """Tokens that the answer may have.

    Raises:
        ApiError: The prompt is empty, or it and the answer are longer than allowed.
    """
    limits = engine.limits
    where = "messages" if isinstance(body, ChatRequest) else "prompt"
    if not prompt:
        raise ApiError(400, "The prompt is empty.", param=where)
    if limits.input_tokens is not None and len(prompt) > limits.input_tokens:
        _refuse_length(
            f"The prompt has {len(prompt)} tokens; this server takes {limits.input_tokens}.",
            where,
        )
    newer = isinstance(body, ChatRequest) and body.max_completion_tokens is not None
    if longest is not None and longest > limits.output_tokens:
        raise ApiError(
            400,
            f"An answer of {longest} tokens was asked for; this server gives {limits.output_tokens}.",
            param="max_completion_tokens" if newer else "max_tokens",
            code="invalid_value",
        )
    left = positions_left(inner_model(engine.models.model), len(prompt))
    wanted = 1 if longest is None else longest
    if left < wanted:
        _refuse_length(
            f"The prompt has {len(prompt)} tokens and the answer {wanted}; "
            f"together the model has {int(left) + len(prompt)}.",
            where,
        )
    return max(1, int(min(left, limits.output_tokens if longest is None else longest)))


def _refuse_length(message: str, param: str) -> NoReturn:
    raise ApiError(400, message, param=param, code="context_length_exceeded")


def _check_json(value: object, param: str) -> None:
    """Refuse what could not be written again: names of tools and arguments of calls go into the prompt, too.

    Raises:
        ApiError: It could not.
    """
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise ApiError(400, f"`{param}` is nested too deeply.", param=param) from None
    check_unicode([text], param)


def check_unicode(texts: Sequence[str], param: str) -> None:
    """Refuse texts that are none in Unicode.

    Raises:
        ApiError: One holds half of a surrogate pair.
    """
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        raise ApiError(400, "A text holds half of a surrogate pair.", param=param) from None
