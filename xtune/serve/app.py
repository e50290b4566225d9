"""The paths of the server: what comes in, what goes out; the answers are the engine's."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from xtune.generate.batcher import inner_model, positions_left
from xtune.serve.asked import Asked, ask_chat, ask_completion, find_served
from xtune.serve.engine import Busy, Engine, Stopping
from xtune.serve.guard import Guard, Receive, Scope, Send
from xtune.serve.replies import ChatReply, CompletionReply, Reply, event
from xtune.serve.tokens import DetokenizeRequest, TokenizeRequest, add_tokens
from xtune.serve.wire import ApiError, Asking, ChatRequest, CompletionRequest, invalid, now

log = logging.getLogger("xtune")

RETRY_SECONDS = 2
"""What `Retry-After` says when the line is full. A design choice."""

CLIENT_GONE = 499
"""nginx's status of a request whose client left; nobody reads it."""

BODIES: Mapping[str, type[BaseModel]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/tokenize": TokenizeRequest,
    "/detokenize": DetokenizeRequest,
}
"""What the paths take."""


def make_app(
    engine: Engine, *, api_key: str | None = None, hosts: frozenset[str] | None = None
) -> Any:
    """The ASGI application.

    Args:
        engine: What answers; started and stopped with the application.
        api_key: What clients must send; None: nothing.
        hosts: Names that the server may be called by; None: any.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=_running(engine))
    _add_models(app, engine)
    _add_answers(app, engine)
    add_tokens(app, engine)
    _add_errors(app)
    return Guard(app, api_key=api_key, hosts=hosts, body_bytes=engine.limits.body_bytes)


def _add_models(app: FastAPI, engine: Engine) -> None:
    """What is served, and how busy it is."""
    started = now()

    @app.get("/health")
    async def health() -> dict[str, Any]:
        running, waiting = engine.load
        return {"status": "ok", "running": running, "waiting": waiting}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        names = engine.models.served
        return {"object": "list", "data": [_card(engine, name, started) for name in names]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        return _card(engine, find_served(engine, name).name, started)


def _add_answers(app: FastAPI, engine: Engine) -> None:
    """Chats and texts to go on with."""

    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        # in a thread: a long prompt takes seconds to tokenise, and the other answers go on meanwhile
        asked = await run_in_threadpool(ask_chat, engine, body)
        return await _answer(engine, body, asked, ChatReply, request)

    @app.post("/v1/completions")
    async def complete(body: CompletionRequest, request: Request) -> Response:
        asked = await run_in_threadpool(ask_completion, engine, body)
        return await _answer(engine, body, asked, CompletionReply, request)


def _add_errors(app: FastAPI) -> None:
    """Every error as OpenAI's clients read it."""

    @app.exception_handler(ApiError)
    async def told(_: Request, error: ApiError) -> Response:
        return JSONResponse(error.body, error.status, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        known = BODIES.get(request.url.path, CompletionRequest).model_fields
        return await told(request, invalid(error.errors(), list(known)))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {error.detail}."
        return await told(request, ApiError(error.status_code, message, headers=error.headers))

    @app.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> Response:
        log.error("%s %s failed.", request.method, request.url.path, exc_info=error)
        fault = ApiError(500, "The server failed; its log says why.", kind="server_error")
        return await told(request, fault)


def _running(engine: Engine) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        await asyncio.get_running_loop().run_in_executor(None, engine.stop)

    return running


def _card(engine: Engine, name: str, created: int) -> dict[str, Any]:
    served = engine.models.served[name]
    longest = positions_left(inner_model(engine.models.model), 0)
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "xtune",
        "parent": served.parent,
        "max_model_len": int(longest) if longest < float("inf") else None,
    }


async def _answer(
    engine: Engine, body: Asking, asked: Asked, kind: type[Reply], request: Request
) -> Response:
    try:
        engine.submit(asked.request)
    except Busy:
        raise ApiError(
            429,
            "Too many requests wait already; try again.",
            kind="rate_limit_error",
            code="rate_limit_exceeded",
            headers={"Retry-After": str(RETRY_SECONDS)},
        ) from None
    except Stopping:
        raise ApiError(503, "The server is ending.", kind="server_error") from None
    reply = kind(asked)
    if body.stream:
        return _Stream(engine, reply, with_usage=body.usage_in_stream)
    async with _watched(engine, reply, request.receive):
        whole = await reply.whole()
    return Response(status_code=CLIENT_GONE) if whole is None else JSONResponse(whole)


class _Stream(Response):
    """Server-sent events, given up the moment that the client is gone."""

    def __init__(self, engine: Engine, reply: Reply, *, with_usage: bool) -> None:
        super().__init__(
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
            media_type="text/event-stream",
        )
        del self.headers["content-length"]
        self._engine, self._reply, self._with_usage = engine, reply, with_usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        del scope

        async def give(data: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        async with _watched(self._engine, self._reply, receive):
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            try:
                async for piece in self._reply.pieces(with_usage=self._with_usage):
                    await give(event(piece))
            except ApiError as error:
                await give(event(error.body))
            else:
                await give(b"data: [DONE]\n\n")
            await give(b"", more=False)


@asynccontextmanager
async def _watched(engine: Engine, reply: Reply, receive: Receive) -> AsyncIterator[None]:
    """Free the places of a request when its client goes away, and whenever it ends early."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        engine.cancel(reply.asked.request)

    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()
        if reply.open:
            engine.cancel(reply.asked.request)
