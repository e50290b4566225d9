"""An LLM in this process: a transformers folder, an xtune run or the bundled demo model; no server, no key, no cost.

What a request is answered depends on the request alone, not on the batch it shares: tokens are drawn by adding
Gumbel noise from the request's own seed to the logits and taking the highest, which samples from the softmax
exactly (Gumbel-max). Only float rounding, which batches do change, can tip a near tie.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfinstruct.errors import RequestRefused, Stopped
from selfinstruct.llm.settings import LOCAL, LLMSettings
from selfinstruct.types import Keep, Reply, Request, Usage, keep_nothing
from xtune.demo.bundled import bundled_path, is_bundled
from xtune.errors import XtuneError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

AT_ONCE = 16
"""Requests in a batch, unless `llm.concurrency` says otherwise. A design choice: larger models have little memory for more."""

_GATHER_S = 0.02
"""How long a batch waits for company."""

_SEED_STEP = 1_000_003
"""Between the seeds of one request's tokens: a prime, so that requests with near seeds do not share noise."""


class LocalLLM:
    """Answers in batches, in a thread, so that the loop stays awake."""

    def __init__(self, settings: LLMSettings) -> None:
        """Load the model.

        Raises:
            XtuneError: There is none, or it cannot be loaded.
        """
        name = settings.model.removeprefix(LOCAL)
        folder = bundled_path(name) if is_bundled(name) else Path(name)
        if not folder.is_dir():
            raise XtuneError(
                f"`llm.model` is {settings.model}, and there is no folder {folder}.",
                advice="Name a transformers folder, an adapter or an xtune run; `local:bundled:tasks` ships.",
            )
        from xtune.adapter.open import open_run  # noqa: PLC0415 - loads torch

        opened = open_run(folder)
        self._model: Any = opened.model
        self._tokenizer = opened.tokenizer
        self._at_once = AT_ONCE if settings.concurrency == "auto" else settings.concurrency
        self._name = folder.name
        self._waiting: list[tuple[Request, asyncio.Future[Reply]]] = []
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-llm")
        self._stopped = False

    @property
    def concurrency(self) -> int:
        """Requests in a batch."""
        return self._at_once

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, exactly."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    async def complete(self, request: Request, keep: Keep = keep_nothing) -> Reply:
        """Answer one request, in a batch with others; a reply that is lost before it is kept cost nothing.

        Raises:
            Stopped: The run is stopping.
            RequestRefused: The prompt leaves no room for an answer.
        """
        if self._stopped:
            raise Stopped
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        reply = await answer
        keep(reply)
        return reply

    def stop(self) -> None:
        """Begin no further batch."""
        self._stopped = True
        for _, answer in self._waiting:
            if not answer.done():
                answer.set_exception(Stopped())
        self._waiting.clear()

    async def close(self) -> None:
        """Wait for the batch under way."""
        self._thread.shutdown(wait=True)

    async def _work(self) -> None:
        await asyncio.sleep(_GATHER_S)
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[: self._at_once], self._waiting[self._at_once :]
            requests = [request for request, _ in batch]
            replies = await loop.run_in_executor(self._thread, self._answer, requests)
            for (_, answer), reply in zip(batch, replies, strict=True):
                if answer.done():
                    continue
                if isinstance(reply, Reply):
                    answer.set_result(reply)
                else:
                    answer.set_exception(reply)

    def _answer(self, requests: Sequence[Request]) -> list[Reply | RequestRefused]:
        """Answer a batch; runs in the thread."""
        from xtune.evaluate.generate import positions_left  # noqa: PLC0415 - loads torch

        prompts = [_encode(self._tokenizer, request) for request in requests]
        rooms = [
            int(min(positions_left(_inner(self._model), len(prompt)), request.max_tokens))
            for prompt, request in zip(prompts, requests, strict=True)
        ]
        fitting = [index for index, room in enumerate(rooms) if room >= 1]
        refusal = RequestRefused("request_refused", "the prompt fills the model's context")
        replies: list[Reply | RequestRefused] = [refusal] * len(requests)
        if fitting:
            rows = _generate(
                self._model,
                self._tokenizer,
                [prompts[index] for index in fitting],
                [requests[index] for index in fitting],
            )
            for index, ids in zip(fitting, rows, strict=True):
                replies[index] = self._reply(prompts[index], ids, rooms[index])
        return replies

    def _reply(self, prompt: Sequence[int], ids: list[int], room: int) -> Reply:
        from xtune.data.stops import stop_token_ids  # noqa: PLC0415 - loads torch

        stop = stop_token_ids(self._tokenizer, _inner(self._model))
        end = next((place for place, token in enumerate(ids) if token in stop), None)
        kept = ids[: min(room, len(ids) if end is None else end)]
        ended = end is not None and end <= room
        return Reply(
            text=str(self._tokenizer.decode(kept, skip_special_tokens=True)),
            finish_reason="stop" if ended else "length",
            usage=Usage(prompt_tokens=len(prompt), completion_tokens=len(kept)),
            model=self._name,
        )


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _encode(tokenizer: "PreTrainedTokenizerBase", request: Request) -> list[int]:
    """The prompt's tokens, by the model's chat template if it has one."""
    messages = [dict(message) for message in request.messages]
    if getattr(tokenizer, "chat_template", None):
        ids: Any = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
    else:
        ids = tokenizer.encode("\n\n".join(message["content"] for message in messages) + "\n")
    return [int(token) for token in ids]


def _generate(
    model: Any,
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[Sequence[int]],
    requests: Sequence[Request],
) -> list[list[int]]:
    """The new tokens of each prompt."""
    import torch  # noqa: PLC0415 - 1.4 s
    from transformers import GenerationConfig  # noqa: PLC0415
    from transformers.generation.logits_process import LogitsProcessorList  # noqa: PLC0415

    from xtune.data.stops import stop_token_ids  # noqa: PLC0415
    from xtune.models.tokenizer import pad_token_id  # noqa: PLC0415

    inner = _inner(model)
    width = max(len(prompt) for prompt in prompts)
    pad = pad_token_id(tokenizer)
    input_ids = torch.full((len(prompts), width), pad, dtype=torch.long)
    mask = torch.zeros_like(input_ids)  # (rows, tokens)
    for row, prompt in enumerate(prompts):
        input_ids[row, width - len(prompt) :] = torch.tensor(list(prompt), dtype=torch.long)
        mask[row, width - len(prompt) :] = 1
    most = max(request.max_tokens for request in requests)
    limit = getattr(inner.config.get_text_config(decoder=True), "max_position_embeddings", None)
    if isinstance(limit, int):
        most = max(1, min(most, limit - width))
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=stop_token_ids(tokenizer, inner) or None,
        pad_token_id=pad,
        use_cache=True,
    )
    inner.generation_config = config
    with torch.inference_mode():
        output = inner.generate(
            input_ids=input_ids.to(inner.device),
            attention_mask=mask.to(inner.device),
            generation_config=config,
            logits_processor=LogitsProcessorList([_noise(requests, width)]),
        )  # (rows, prompt and answer tokens)
    rows: list[list[int]] = output[:, width:].tolist()
    return rows


def _noise(requests: Sequence[Request], width: int) -> Any:
    """Adds each request's own noise to its logits, so that the highest is a sample."""
    import torch  # noqa: PLC0415 - 1.4 s
    from transformers.generation.logits_process import LogitsProcessor  # noqa: PLC0415

    class Noise(LogitsProcessor):  # type: ignore[misc, unused-ignore]
        def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
            step = input_ids.shape[1] - width
            rows = []
            for request, logits in zip(requests, scores.float(), strict=True):  # (vocab,)
                if request.temperature <= 0:
                    rows.append(logits)
                    continue
                logits = _nucleus(logits / request.temperature, request.top_p)
                generator = torch.Generator().manual_seed((request.seed or 0) + _SEED_STEP * step)
                uniform = torch.rand(logits.shape, generator=generator).clamp_(1e-9, 1 - 1e-7)
                rows.append(logits - torch.log(-torch.log(uniform)).to(logits.device))
            return torch.stack(rows)  # (rows, vocab)

    return Noise()


def _nucleus(logits: "torch.Tensor", top_p: float) -> "torch.Tensor":
    """The logits of the likeliest tokens that together reach `top_p`, the others at minus infinity."""
    if top_p >= 1:
        return logits
    values, order = logits.sort(descending=True)
    before = values.softmax(-1).cumsum(-1) - values.softmax(-1)
    values = values.masked_fill(before >= top_p, float("-inf"))
    return values.new_full(values.shape, float("-inf")).scatter(0, order, values)
