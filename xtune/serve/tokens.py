"""Texts to tokens and back, as vLLM serves them: /tokenize, /detokenize, /tokenizer_info; scoring clients ask for them."""

from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from xtune.generate.batcher import inner_model, positions_left
from xtune.generate.pieces import decoded
from xtune.serve.asked import check_unicode, find_served
from xtune.serve.engine import Engine
from xtune.serve.models import Served
from xtune.serve.wire import ApiError, Token


class TokenizeRequest(BaseModel):
    """POST /tokenize; without `model` it is the first."""

    model_config = ConfigDict(strict=True, extra="forbid")

    model: str | None = None
    prompt: str
    add_special_tokens: bool = True
    return_token_strs: bool | None = None


class DetokenizeRequest(BaseModel):
    """POST /detokenize."""

    model_config = ConfigDict(strict=True, extra="forbid")

    model: str | None = None
    tokens: Annotated[list[Token], Field(max_length=1 << 20)]


def add_tokens(app: FastAPI, engine: Engine) -> None:
    """Add the three paths to the application."""

    @app.post("/tokenize")
    async def tokenize(body: TokenizeRequest) -> dict[str, Any]:
        return await run_in_threadpool(_tokenized, engine, body)

    @app.post("/detokenize")
    async def detokenize(body: DetokenizeRequest) -> dict[str, Any]:
        served = _served(engine, body.model)
        size = len(served.tokenizer)
        if any(token >= size for token in body.tokens):
            raise ApiError(400, f"A token is beyond the tokenizer's {size}.", param="tokens")
        return {"prompt": decoded(served.tokenizer, body.tokens, skip_special_tokens=False)}

    @app.get("/tokenizer_info")
    async def tokenizer_info() -> dict[str, Any]:
        tokenizer: Any = _served(engine, None).tokenizer
        names = ("bos_token", "eos_token", "pad_token", "unk_token", "chat_template")
        return {
            "tokenizer_class": type(tokenizer).__name__,
            **{name: getattr(tokenizer, name, None) for name in names},
        }


def _served(engine: Engine, name: str | None) -> Served:
    return find_served(engine, next(iter(engine.models.served)) if name is None else name)


def _tokenized(engine: Engine, body: TokenizeRequest) -> dict[str, Any]:
    served = _served(engine, body.model)
    check_unicode([body.prompt], "prompt")
    tokenizer: Any = served.tokenizer
    ids: list[int] = tokenizer(
        body.prompt, add_special_tokens=body.add_special_tokens, verbose=False
    )["input_ids"]
    longest = positions_left(inner_model(engine.models.model), 0)
    return {
        "count": len(ids),
        "max_model_len": int(longest) if longest < float("inf") else None,
        "tokens": ids,
        "token_strs": tokenizer.convert_ids_to_tokens(ids) if body.return_token_strs else None,
    }
