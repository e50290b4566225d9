"""The batch API: a round's requests go up as one file, and their answers come down as another, at half the price.

BATCHES (batches.jsonl in the run's folder) notes each batch before and after it is made. A run that goes on waits
for the batches of its requests again and makes no new ones for them.
"""

import asyncio
import contextlib
import io
import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from selfinstruct.errors import LLMError, RequestRefused, ServerFailing, Stopped
from selfinstruct.llm.environment import address, read_key
from selfinstruct.llm.faults import Fault, read_answer
from selfinstruct.llm.package import open_client
from selfinstruct.llm.server import request_body
from selfinstruct.llm.settings import LLMSettings
from selfinstruct.llm.tokens import estimate_tokens
from selfinstruct.llm.wire import Answer
from selfinstruct.pool.disk import explained, mend
from selfinstruct.pool.journal import read_lines
from selfinstruct.pool.lines import line_of
from selfinstruct.types import Keep, Reply, Request, keep_nothing
from xtune.errors import RunError

FILE = "batches.jsonl"
MOST_REQUESTS = 50_000
"""Of one batch (OpenAI's documentation of the batch API, 2026)."""

_GATHER_S = 5.0
"""A batch is sent off once no further request came for this long: languages end their rounds at different times."""

_FIRST_POLL_S = 1.0
_LONGEST_POLL_S = 60.0
_MOST_ATTEMPTS = 3
"""Times that a request is put into another batch after its first failed or expired."""

_ENDS = {"completed", "failed", "expired", "cancelled"}


class BatchLLM:
    """Gathers requests, sends them off together, and waits for hours if need be."""

    def __init__(
        self, settings: LLMSettings, folder: Path, *, say: Callable[[str], None] = lambda _: None
    ) -> None:
        """Read the key and the batches of earlier sittings; nothing is sent yet.

        Raises:
            AccountError: There is no key.
        """
        self.settings = settings
        self._key = read_key(settings)
        self._client = open_client(
            address(settings), self._key, timeout_s=settings.timeout_s, retries=settings.retries
        )
        self._path = folder / FILE
        self._say = say
        # batch by request, and requests by the mark of a batch that a kill may have left unnoted
        self._known, self._intents = _read_notes(self._path)
        self._new: list[tuple[Request, asyncio.Future[str]]] = []
        self._results: dict[str, asyncio.Task[dict[str, Any]]] = {}
        self._sender: asyncio.Task[None] | None = None
        self._adopter: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def concurrency(self) -> int:
        """Batches under way."""
        return sum(not task.done() for task in self._results.values())

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, estimated."""
        return estimate_tokens(text)

    def stop(self) -> None:
        """Send nothing off and wait no longer; batches under way go on at the server."""
        self._stopping.set()

    async def close(self) -> None:
        """Let go of the connections."""
        running = [task for task in (self._sender, self._adopter) if task is not None]
        for task in [*self._results.values(), *running]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, LLMError, Stopped):
                await task
        await self._client.close()

    async def complete(self, request: Request, keep: Keep = keep_nothing) -> Reply:
        """Answer one request, in a batch with others; the server has the reply until it is kept, and longer.

        Raises:
            LLMError: The batch API cannot be used.
            RequestRefused: The server will never answer this one.
            ServerFailing: It failed in several batches.
            Stopped: The run is stopping.
        """
        if self._adopter is None:
            self._adopter = asyncio.create_task(self._adopt())
        await self._adopter
        for _ in range(_MOST_ATTEMPTS):
            batch_id = self._known.get(request.id) or await self._join(request)
            outcome = _outcome((await self._lines(batch_id)).get(request.id))
            if isinstance(outcome, Reply):
                reply = replace(outcome, text=self._key.hide(outcome.text))
                keep(reply)
                return reply
            if outcome.billed:
                keep(outcome.billed)
            what = self._key.hide(outcome.what)
            if outcome.kind in {"request", "parameter"}:
                raise RequestRefused("request_refused", what)
            if outcome.kind == "account":
                raise LLMError(f"The server refused a request of batch {batch_id} ({what}).")
            self._known.pop(request.id, None)
        raise ServerFailing(
            f"{request.id} failed in {_MOST_ATTEMPTS} batches.",
            advice="What is done is kept: the same command goes on from here, also without --batch.",
        )

    async def _join(self, request: Request) -> str:
        """Put a request into the next batch; returns the batch's id.

        Raises:
            Stopped: The run is stopping.
        """
        if self._stopping.is_set():
            raise Stopped
        sent: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._new.append((request, sent))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_off())
        return await sent

    async def _send_off(self) -> None:
        count = 0
        while count < len(self._new):
            count = len(self._new)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _GATHER_S)
        while self._new:
            group, self._new = self._new[:MOST_REQUESTS], self._new[MOST_REQUESTS:]
            if self._stopping.is_set():
                for _, sent in group:
                    sent.set_exception(Stopped())
                continue
            try:
                batch_id = await self._make([request for request, _ in group])
            except (LLMError, RunError) as error:
                for _, sent in group:
                    sent.set_exception(error)
                continue
            for request, sent in group:
                self._known[request.id] = batch_id
                if not sent.done():
                    sent.set_result(batch_id)

    async def _make(self, requests: list[Request]) -> str:
        """Upload a file of requests and make a batch of it; noted before and after."""
        lines = [
            {
                "custom_id": request.id,
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": request_body(self.settings, request),
            }
            for request in requests
        ]
        nonce = uuid.uuid4().hex
        with self._explained():
            upload = await self._client.files.create(
                file=("requests.jsonl", io.BytesIO(b"".join(map(line_of, lines)))), purpose="batch"
            )
            self._note({"intent": nonce, "requests": [request.id for request in requests]})
            batch = await self._client.batches.create(
                input_file_id=upload.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={"selfinstruct": nonce},
            )
        self._note({"batch": batch.id, "intent": nonce})
        self._say(f"Batch {batch.id} with {len(requests):,} requests is on its way.")
        return batch.id

    async def _adopt(self) -> None:
        """Find the batches that were made in the moment before a kill, by the mark they carry."""
        if not self._intents:
            return
        with self._explained():
            async for batch in self._client.batches.list():
                nonce = (batch.metadata or {}).get("selfinstruct", "")
                for request_id in self._intents.pop(nonce, ()):
                    self._known.setdefault(request_id, batch.id)
                if not self._intents:
                    break

    def _lines(self, batch_id: str) -> "asyncio.Task[dict[str, Any]]":
        """The answers of a batch by request id, fetched once."""
        if batch_id not in self._results:
            self._results[batch_id] = asyncio.create_task(self._fetch(batch_id))
        return self._results[batch_id]

    async def _fetch(self, batch_id: str) -> dict[str, Any]:
        """Wait for a batch's end, and read its answers.

        Raises:
            LLMError: It failed.
            Stopped: The run is stopping.
        """
        wait = _FIRST_POLL_S
        with self._explained():
            while (batch := await self._client.batches.retrieve(batch_id)).status not in _ENDS:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), wait)
                    raise Stopped
                wait = min(_LONGEST_POLL_S, wait * 1.5)
            if batch.status == "failed":
                found = batch.errors.data if batch.errors and batch.errors.data else []
                what = found[0].message if found else "no reason given"
                raise LLMError(f"Batch {batch_id} failed: {self._key.hide(str(what))}.")
            lines: dict[str, Any] = {}
            for file_id in (batch.error_file_id, batch.output_file_id):
                if file_id:
                    content = await self._client.files.content(file_id)
                    lines.update(_by_id(content.content))
        return lines

    def _note(self, value: dict[str, Any]) -> None:
        with explained(self._path), self._path.open("ab") as stream:
            stream.write(line_of(value))
            stream.flush()
            os.fsync(stream.fileno())

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn a failure of the batch API into one line.

        Raises:
            LLMError: It failed.
        """
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            fault = read_answer(Answer(status=error.status_code, body=error.response.content))
            what = self._key.hide(fault.what) if isinstance(fault, Fault) else "an odd answer"
            advice = {
                401: f"Check the key in {self.settings.key_variable}.",
                402: "Top up the account, then run the same command.",
                404: "This server has no batch API: run without --batch.",
            }.get(error.status_code, "The same command goes on from here.")
            raise LLMError(f"The batch API does not do it ({what}).", advice=advice) from None
        except openai.APIConnectionError:
            raise LLMError(
                f"The server at {address(self.settings)} cannot be reached.",
                advice="The same command goes on from here.",
            ) from None


def _outcome(line: Any) -> Reply | Fault:
    """What a line of a batch's output means; a request without a line expired."""
    response = line.get("response") if isinstance(line, dict) else None
    if not isinstance(response, dict):
        return Fault(kind="again", what="no answer within the batch's time")
    body = json.dumps(response.get("body")).encode()
    status = response.get("status_code")
    return read_answer(Answer(status=status if isinstance(status, int) else 0, body=body))


def _by_id(content: bytes) -> dict[str, Any]:
    lines = {}
    for line in content.splitlines():
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                lines[str(value.get("custom_id"))] = value
    return lines


def _read_notes(path: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Batch by request, and the requests of batches that may or may not have been made."""
    mend(path)
    known: dict[str, str] = {}
    intents: dict[str, list[str]] = {}
    for row, _, _ in read_lines(path):
        if "batch" not in row:
            intents[str(row["intent"])] = list(row["requests"])
            continue
        for request_id in intents.pop(str(row["intent"]), []):
            known[request_id] = str(row["batch"])
    return known, intents
