"""A batch API on loopback: files go up, batches take a few polls, answers come down; every endpoint that the client uses."""

import contextlib
import email
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from scripted_llm import completion, tasks_text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send


class BatchServer:
    """Keeps files and batches in memory; `polls` retrievals pass before a batch is done."""

    def __init__(self, polls: int = 1) -> None:
        self.polls = polls
        self.files: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.lose_lines = 0
        """This many requests of the first batch get no answer, as in a batch that expired."""

        self.url = ""
        self.app: ASGIApp = PlainTextResponse("", 503)
        self.heard = 0
        """Requests of any kind that have come."""

    async def count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, each request counted."""
        self.heard += scope["type"] == "http"
        await self.app(scope, receive, send)

    async def upload(self, request: Request) -> Response:
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        parts = email.message_from_bytes(head + await request.body()).get_payload()
        (found,) = [part for part in parts if part.get_filename()]
        name = f"file-{len(self.files)}"
        self.files[name] = found.get_payload(decode=True).decode()
        return JSONResponse(
            {
                "id": name,
                "object": "file",
                "bytes": 1,
                "created_at": 1,
                "filename": "x",
                "purpose": "batch",
                "status": "processed",
            }
        )

    async def create(self, request: Request) -> Response:
        asked = await request.json()
        name = f"batch-{len(self.batches)}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": asked["endpoint"],
            "input_file_id": asked["input_file_id"],
            "completion_window": "24h",
            "created_at": 1,
            "status": "in_progress",
            "metadata": asked.get("metadata"),
            "polls": 0,
        }
        return JSONResponse(self.batches[name])

    async def retrieve(self, request: Request) -> Response:
        batch = self.batches.get(request.path_params["name"])
        if batch is None:
            return JSONResponse({"error": {"message": "no such batch"}}, 404)
        batch["polls"] += 1
        if batch["polls"] > self.polls and batch["status"] == "in_progress":
            self.finish(batch)
        return JSONResponse(batch)

    def finish(self, batch: dict[str, Any]) -> None:
        lines = []
        for line in self.files[batch["input_file_id"]].splitlines()[self.lose_lines :]:
            asked = json.loads(line)
            body = completion(tasks_text(asked["body"]["messages"][0]["content"]))
            answer = {
                "id": "r",
                "custom_id": asked["custom_id"],
                "response": {"status_code": 200, "body": body},
                "error": None,
            }
            lines.insert(0, json.dumps(answer))  # in another order than they were asked
        self.lose_lines = 0
        name = f"file-{len(self.files)}"
        self.files[name] = "\n".join(lines)
        batch.update(status="completed", output_file_id=name)

    async def listed(self, _: Request) -> Response:
        return JSONResponse(
            {"object": "list", "data": list(self.batches.values())[::-1], "has_more": False}
        )

    async def content(self, request: Request) -> Response:
        return PlainTextResponse(self.files[request.path_params["name"]])


@contextlib.contextmanager
def serving_batches(batches: BatchServer) -> Iterator[BatchServer]:
    """Run it in a thread."""
    batches.app = Starlette(
        routes=[
            Route("/v1/files", batches.upload, methods=["POST"]),
            Route("/v1/files/{name}/content", batches.content),
            Route("/v1/batches", batches.create, methods=["POST"]),
            Route("/v1/batches", batches.listed),
            Route("/v1/batches/{name}", batches.retrieve),
        ]
    )
    server = uvicorn.Server(
        uvicorn.Config(batches.count, interface="asgi3", port=0, log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    limit = time.monotonic() + 120
    while not server.started and time.monotonic() < limit:
        time.sleep(0.01)
    assert server.started
    batches.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    try:
        yield batches
    finally:
        server.should_exit = True
        thread.join(10)
