"""An LLM behind a chat-completions server: asks, waits its turn, asks again where that helps. It keeps no replies."""

import asyncio
import contextlib
import json
import random
from collections.abc import Callable, Collection
from typing import Any

from selfinstruct.errors import AccountError, LLMError, RequestRefused, ServerFailing, Stopped
from selfinstruct.llm.environment import Key, address, has_proxy, read_key
from selfinstruct.llm.faults import WEB_PAGE, Fault, read_answer
from selfinstruct.llm.limiter import Limiter
from selfinstruct.llm.package import open_client
from selfinstruct.llm.settings import LLMSettings
from selfinstruct.llm.tokens import estimate_messages, estimate_tokens, most_tokens
from selfinstruct.llm.wire import DirectWire, OpenAIWire, Wire, WireError
from selfinstruct.types import LLM, Keep, Reply, Request, Usage, keep_nothing

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 60.0
"""Waits between tries: half a second, doubling, at most a minute, each cut by up to half at random."""

_BUSY_TRIES = 4
"""429 may come this many times as often as other faults before we give up: the server works, we are too many."""

_LONGEST_RETRY_AFTER_S = 900.0
"""A server that names a longer time (a daily quota) is not waited for. A design choice."""

_FAILURES_TO_TELL = 3
"""Failures of one request before the first reply after which it is said that asking goes on: two seconds or more."""

_REFUSALS_TO_STOP = 5
"""This many refusals before the first reply: it is not the requests, it is what they have in common."""

_PROBE = Request(
    id="probe",
    messages=(
        {
            "role": "user",
            "content": "Which number comes after six? Answer in JSON, as a field named `number`.",
        },
    ),
    max_tokens=64,
    temperature=0.0,
    schema={
        "type": "object",
        "properties": {"number": {"type": "integer"}},
        "required": ["number"],
        "additionalProperties": False,
    },
)


class ServerLLM:
    """OpenAI, vLLM, LMDeploy, Ollama, llama.cpp, `xtune serve`: whatever speaks chat completions."""

    def __init__(
        self,
        settings: LLMSettings,
        *,
        wire: Wire | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Read the key; nothing is sent yet.

        Args:
            settings: Which model, where, how fast.
            wire: How to reach the server; as the settings say when left out.
            say: Told what people should know: a parameter left out, say.

        Raises:
            AccountError: There is no key.
        """
        self.settings = settings
        self.url = address(settings)
        self._key = read_key(settings)
        self._wire = wire or _wire(settings, self.url, self._key)
        self._say = say
        self.limiter = Limiter(
            concurrency=None if settings.concurrency == "auto" else settings.concurrency,
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
        )
        self._without: set[str] = set()
        self._stopping = asyncio.Event()
        self._refused = 0
        self._replied = self._told_silence = False
        self._random = random.Random()

    @property
    def concurrency(self) -> int:
        """Requests that may be under way now."""
        return int(self.limiter.window)

    async def complete(self, request: Request, keep: Keep = keep_nothing) -> Reply:
        """Answer one request, whose slot is free again once `keep` has the reply.

        So no more replies than slots can be lost: each is under way, or answered and not yet kept.

        Raises:
            LLMError: No further request makes sense; see `selfinstruct.errors`.
            RequestRefused: The server will never answer this one.
        """
        failures = busy = 0
        while True:
            without = frozenset(self._without)
            outcome = await self._try(request, without, keep)
            if isinstance(outcome, Reply):
                self._replied = True
                return outcome
            fault = outcome
            if fault.kind == "account":
                raise await self._stop(fault)
            if fault.kind == "parameter" and self._adapt(fault, request, without):
                continue
            if fault.kind in {"request", "parameter"}:
                raise self._refuse(fault, request)
            if fault.status == 429:
                busy += 1
            else:
                failures += 1
            if failures > self.settings.retries or busy > _BUSY_TRIES * max(
                self.settings.retries, 1
            ):
                raise self._give_up(fault, failures + busy)
            self._tell_silence(fault, failures + busy)
            await self._wait(fault, failures + busy)

    def _tell_silence(self, fault: Fault, tries: int) -> None:
        """Say once that nobody answers, or nobody who can, or not well so far: asking again takes a minute or two."""
        is_page = fault.what == WEB_PAGE and not self._replied
        is_ill = tries >= _FAILURES_TO_TELL and not self._replied
        if self._told_silence or not (fault.status == -1 or is_page or is_ill):
            return
        self._told_silence = True
        if fault.status == -1:
            who = f"Nothing answers at {self.url}"
        elif is_page:
            who = f"No chat-completions server answers at {self.url}"
        else:
            who = f"The server at {self.url} has not answered well so far"
        self._say(f"{who} ({self._hidden(fault)}); asking again for a while.")

    def stop(self) -> None:
        """Send nothing any more; what is under way comes to its end."""
        self.limiter.stop()
        self._stopping.set()

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, estimated."""
        return estimate_tokens(text)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._wire.close()

    async def _try(self, request: Request, without: Collection[str], keep: Keep) -> Reply | Fault:
        """Ask once, and have what the server bills kept before the next request may take its slot.

        Raises:
            LLMError: The server's certificate is not trusted.
            XtuneError: The reply could not be kept.
        """
        reserved = most_tokens(request) if self.limiter.counts_tokens else 0
        used = None
        await self.limiter.acquire(reserved)
        try:
            outcome = await self._send(request, without)
            if isinstance(outcome, Fault) and outcome.is_pushback:
                self.limiter.pushed_back()
            else:
                self.limiter.answered()
            if isinstance(outcome, Reply):
                outcome = self._finished(outcome, request)
            answer = outcome.billed if isinstance(outcome, Fault) else outcome
            if answer is not None:
                used = answer.usage.prompt_tokens + answer.usage.completion_tokens
                keep(answer)
        finally:
            self.limiter.release(reserved=reserved, used=used)
        return outcome

    async def _send(self, request: Request, without: Collection[str]) -> Reply | Fault:
        """Send a request and read what comes back.

        Raises:
            LLMError: The server's certificate is not trusted.
        """
        body = request_body(self.settings, request, without)
        try:
            return read_answer(await self._wire.post("/chat/completions", body))
        except WireError as error:
            if error.is_untrusted:
                raise LLMError(
                    f"The certificate of {self.url} is not trusted ({error}).",
                    advice="If the server is your own, name its certificate: export SSL_CERT_FILE=FILE.pem",
                ) from None
            status = -1 if error.is_refused else 0
            return Fault(kind="again", what=str(error), is_pushback=True, status=status)

    def _finished(self, reply: Reply, request: Request) -> Reply:
        """The reply without the key, should it hold it, and with its tokens estimated where the server counts none."""
        usage = reply.usage
        if not usage.completion_tokens and reply.text:
            usage = Usage(
                prompt_tokens=usage.prompt_tokens or estimate_messages(request.messages),
                completion_tokens=estimate_tokens(reply.text),
            )
        return Reply(
            text=self._key.hide(reply.text),
            finish_reason=reply.finish_reason,
            usage=usage,
            model=self._key.hide(reply.model),
        )

    def _adapt(self, fault: Fault, request: Request, without: Collection[str]) -> bool:
        """Leave out what the model refuses; False if this request was sent `without` it already, or is the question about JSON."""
        name = fault.parameter
        if name in without or (request is _PROBE and name == "response_format"):
            return False
        if name in self._without:
            return True  # another request that was under way at the same time has told it
        self._without.add(name)
        done = "it is sent as `max_completion_tokens`" if name == "max_tokens" else "it is left out"
        self._say(f"{self.settings.model} does not take `{name}`; {done} from now on.")
        return True

    async def _wait(self, fault: Fault, tries: int) -> None:
        named = fault.retry_after_s
        if named is not None:
            if named > _LONGEST_RETRY_AFTER_S:
                raise ServerFailing(
                    f"The server at {self.url} asks to wait {named / 60:.0f} minutes ({self._hidden(fault)}).",
                    advice="What is done is kept: the same command goes on from here.",
                )
            self.limiter.pause(named)
            await self._sleep(named * (1 + self._random.random() / 10))
            return
        longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (tries - 1))
        await self._sleep(longest * self._random.uniform(0.5, 1))

    async def _sleep(self, seconds: float) -> None:
        """Wait, unless the run is stopping.

        Raises:
            Stopped: It is.
        """
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
            raise Stopped

    def _refuse(self, fault: Fault, request: Request) -> Exception:
        self._refused += request is not _PROBE  # many servers refuse that one
        if not self._replied and self._refused >= _REFUSALS_TO_STOP:
            return LLMError(
                f"The server at {self.url} refuses every request ({self._hidden(fault)}).",
                advice="Check llm.model, llm.context_tokens and llm.answer_tokens.",
            )
        return RequestRefused("request_refused", self._hidden(fault))

    def _give_up(self, fault: Fault, tries: int) -> Exception:
        if fault.status == -1 and not self._replied:
            return LLMError(
                f"Nothing answers at {self.url} ({fault.what}).",
                advice="Start the server, or correct llm.base_url; then run the same command.",
            )
        if fault.what == WEB_PAGE and not self._replied:
            return AccountError(
                f"{self.url} does not answer as a chat-completions server ({fault.what}).",
                advice="Check llm.base_url; it usually ends in /v1.",
            )
        if fault.status == 0 and self._replied and fault.what in _EMPTY:
            return RequestRefused("no_answer", fault.what)
        return ServerFailing(
            f"The server at {self.url} failed {tries} times in a row on one request ({self._hidden(fault)}).",
            advice="What is done is kept: the same command goes on from here.",
        )

    async def _stop(self, fault: Fault) -> AccountError:
        said = self._hidden(fault)
        variable = self.settings.key_variable
        go_on = "then run the same command: it goes on where it stopped."
        if fault.status == 401:
            return AccountError(
                f"The server at {self.url} does not accept the API key ({said}).",
                advice=f"Check the key in {variable}, {go_on}",
            )
        if fault.status == 402:
            return AccountError(
                f"The account at {self.url} has no money or quota left ({said}).",
                advice=f"Top it up, {go_on}",
            )
        if fault.status == 403:
            return AccountError(
                f"The server at {self.url} does not let this key use {self.settings.model} ({said}).",
                advice=f"Ask for access or choose another llm.model, {go_on}",
            )
        if fault.status == 404:
            return AccountError(
                f"The server at {self.url} has no model {self.settings.model} ({said}).",
                advice=await self._models_advice(),
            )
        return AccountError(
            f"{self.url} does not answer as a chat-completions server ({said}).",
            advice="Check llm.base_url; it usually ends in /v1.",
        )

    async def _models_advice(self) -> str:
        names = await _model_names(self.url, self._key)
        if not names:
            return "Check llm.model and llm.base_url, which usually ends in /v1."
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        return f"Set llm.model; it has {', '.join(names[:8])}{more}."

    def _hidden(self, fault: Fault) -> str:
        return self._key.hide(fault.what)


_EMPTY = ("the answer has no choices", "the answer is empty", "the answer's content is no text")


def request_body(
    settings: LLMSettings, request: Request, without: Collection[str] = ()
) -> dict[str, Any]:
    """A request as the chat-completions protocol has it, without parameters that the model refuses."""
    limit = "max_completion_tokens" if "max_tokens" in without else "max_tokens"
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": [dict(message) for message in request.messages],
        "temperature": request.temperature,
        "top_p": request.top_p,
        limit: request.max_tokens,
    }
    if request.seed is not None:
        body["seed"] = request.seed
    if request.stop:
        body["stop"] = list(request.stop)
    if request.schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": dict(request.schema)},
        }
    return {name: value for name, value in body.items() if name == limit or name not in without}


def _wire(settings: LLMSettings, url: str, key: Key) -> Wire:
    chosen = settings.client
    if chosen == "auto":
        chosen = "openai" if has_proxy(url) else "direct"
    if chosen == "openai":
        return OpenAIWire(url, key, timeout_s=settings.timeout_s)
    return DirectWire(url, key, timeout_s=settings.timeout_s)


async def _model_names(url: str, key: Key) -> list[str]:
    """What the server says it has; nothing where it does not say."""
    import openai

    client = open_client(url, key, timeout_s=5.0)
    try:
        async with client:
            page = await client.models.list()
            return sorted(key.hide(model.id) for model in page.data or [])
    except (openai.OpenAIError, TypeError, AttributeError, ValueError):
        return []


async def probe_json(llm: LLM) -> bool:
    """Whether a server holds its answers to a JSON schema, asked once.

    Raises:
        LLMError: The server cannot be asked at all.
    """
    try:
        reply = await llm.complete(_PROBE)
    except RequestRefused:
        return False
    try:
        value = json.loads(reply.text)
    except ValueError:
        return False
    return isinstance(value, dict) and isinstance(value.get("number"), int)
