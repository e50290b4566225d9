"""Answers from a model: many prompts in batches, or one as a stream of text. Templates are not applied here."""

import copy
import math
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from xtune.data.stops import stop_token_ids
from xtune.errors import XtuneError
from xtune.models.load import pad_token_id

CACHE_BYTES = 512 * 2**20
"""Keys and values that one batch may hold: 4,096 tokens of Llama 3 8B in bfloat16 (2 x 32 layers x 8 heads
x 128 x 2 bytes = 131,072 bytes a token), which leaves room on an 8 GiB card beside its 4-bit weights."""

MAX_ROWS = 64
"""Most rows of one batch. 200 answers of 40 tokens by a 4.7M model took 5.2 processor seconds with 64 rows,
6.0 with 128, 5.8 with 32 and 12.1 with 8 (two EPYC cores, float32, 2026-11-22)."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the next token is chosen; the model's own generation_config.json plays no part."""

    temperature: float = 0.0
    """0 takes the likeliest token (greedy); above, tokens are sampled from softmax(logits / temperature)."""

    top_p: float = 1.0
    """Sample only from the likeliest tokens that together reach this probability."""

    top_k: int = 0
    """Sample only from this many likeliest tokens; 0: from all."""

    seed: int = 0
    """Seed of the sampling. Sampled answers depend on the batches too; greedy ones do not."""

    max_new_tokens: int = 256
    """Longest answer, in tokens."""

    stop_tokens: tuple[int, ...] = ()
    """Tokens that end an answer besides the model's own."""

    def config(self, *, stop: Sequence[int], pad: int) -> GenerationConfig:
        """The same as transformers' configuration."""
        sampling = (
            {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k}
            if self.temperature > 0
            else {}
        )
        return GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=self.max_new_tokens,
            do_sample=self.temperature > 0,
            eos_token_id=list(stop) or None,
            pad_token_id=pad,
            use_cache=True,
            **sampling,
        )


@dataclass(frozen=True, kw_only=True)
class Generated:
    """One answer."""

    text: str
    """Without special tokens."""

    tokens: int
    """Tokens of the answer, the stop token not counted."""

    stopped: bool
    """Whether the model ended it; False where `max_new_tokens` cut it."""


def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding | None = None,
    *,
    max_rows: int = MAX_ROWS,
    progress: Callable[[int], None] | None = None,
) -> list[Generated]:
    """Answer every prompt, in the order given.

    Prompts of similar length share a batch, padded on the left and masked. A batch that does not fit
    into the device's memory is halved and tried again. No answer goes beyond the model's positions.

    Args:
        model: A transformers model, with or without PEFT adapters.
        tokenizer: Its tokenizer.
        prompts: Token ids, each ending where the answer begins.
        decoding: How to choose tokens; greedy when left out.
        max_rows: Most prompts in one batch.
        progress: Told after each batch how many prompts of it are answered.

    Raises:
        torch.OutOfMemoryError: One single prompt does not fit.
        XtuneError: A prompt is longer than the model can read.
    """
    decoding = decoding or Decoding()
    stop = [*stop_token_ids(tokenizer, model), *decoding.stop_tokens]
    config = decoding.config(stop=stop, pad=pad_token_id(tokenizer))
    answers: dict[int, Generated] = {}
    with _inference(model, config) as inner, _seeded(decoding, inner):
        waiting = _batches(prompts, _rows_that_fit(inner, prompts, decoding, max_rows))
        while waiting:
            batch = waiting.pop()
            try:
                ids = _answer_ids(inner, [prompts[index] for index in batch], config)
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise
                half = len(batch) // 2
                waiting += [batch[half:], batch[:half]]
                continue
            for index, row in zip(batch, ids, strict=True):
                answers[index] = _decode(tokenizer, row, stop)
            if progress is not None:
                progress(len(batch))
    return [answers[index] for index in range(len(prompts))]


def positions_left(model: Any, prompt_tokens: int) -> float:
    """Positions that a model has behind a prompt: below 1 if the prompt fills them, infinite without a limit."""
    config = model.config.get_text_config(decoder=True)
    limit = getattr(config, "max_position_embeddings", None)
    return limit - prompt_tokens if isinstance(limit, int) else math.inf


def stream(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Sequence[int],
    decoding: Decoding | None = None,
) -> Generator[str, None, None]:
    """Answer one prompt piece by piece; the pieces together are the whole answer's text.

    Closing the iterator, or an exception such as Ctrl-C while waiting for it, stops the model after
    the token it is at.
    """
    decoding = decoding or Decoding()
    stop = [*stop_token_ids(tokenizer, model), *decoding.stop_tokens]
    config = decoding.config(stop=stop, pad=pad_token_id(tokenizer))
    tokens = _TokenQueue(prompt_tokens=len(prompt))
    pieces = _Pieces(tokenizer)
    with _inference(model, config) as inner, ThreadPoolExecutor(max_workers=1) as executor:
        future = executor.submit(_run_stream, inner, prompt, config, tokens, decoding)
        try:
            while (token := tokens.next()) is not None:
                if token not in stop and (text := pieces.add(token)):
                    yield text
            future.result()
        finally:
            tokens.cancel.set()
    if rest := pieces.rest():
        yield rest


def _run_stream(
    model: Any,
    prompt: Sequence[int],
    config: GenerationConfig,
    tokens: "_TokenQueue",
    decoding: Decoding,
) -> None:
    try:
        with _seeded(decoding, model):
            model.generate(
                input_ids=torch.tensor([list(prompt)], device=model.device),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long, device=model.device),
                generation_config=config,
                streamer=tokens,
                stopping_criteria=StoppingCriteriaList([_Cancelled(tokens.cancel)]),
            )
    finally:
        tokens.end()


@contextmanager
def _inference(model: Any, config: GenerationConfig) -> Iterator[Any]:
    """The transformers model inside, in eval mode, with no generation settings but `config`."""
    # peft's generate adds nothing for LoRA, and hides which generation_config is in force
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    was_training, old_config = model.training, inner.generation_config
    # what `config` leaves open is taken from the model's own settings (repetition_penalty, say), in silence
    inner.generation_config = config
    model.eval()
    try:
        yield inner
    finally:
        model.train(was_training)
        inner.generation_config = old_config


@contextmanager
def _seeded(decoding: Decoding, model: Any) -> Iterator[None]:
    if decoding.temperature <= 0:
        yield
        return
    kind = model.device.type
    devices = [] if kind == "cpu" else [model.device]
    # the generators outside (training's, say) go on afterwards as if nothing had been sampled
    with torch.random.fork_rng(devices=devices, device_type="cuda" if kind == "cpu" else kind):
        torch.manual_seed(decoding.seed)
        yield


def _batches(prompts: Sequence[Sequence[int]], rows: int) -> list[list[int]]:
    """Indices in batches, the longest prompts last: taken from the end, too large a batch shows at once."""
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]), reverse=True)
    return [order[start : start + rows] for start in range(0, len(order), rows)][::-1]


def _rows_that_fit(
    model: Any, prompts: Sequence[Sequence[int]], decoding: Decoding, max_rows: int
) -> int:
    """Rows whose keys and values stay within `CACHE_BYTES`, were all as long as the longest."""
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_size = (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    token_bytes: int = 2 * config.num_hidden_layers * heads * head_size * model.dtype.itemsize
    longest = max((len(prompt) for prompt in prompts), default=0) + decoding.max_new_tokens
    return max(1, min(max_rows, CACHE_BYTES // (token_bytes * longest)))


def _answer_ids(
    model: Any, prompts: Sequence[Sequence[int]], config: GenerationConfig
) -> list[list[int]]:
    """The new tokens of each prompt, those behind its stop token included.

    Raises:
        XtuneError: A prompt is longer than the model can read.
    """
    width = max(len(prompt) for prompt in prompts)
    input_ids = torch.full((len(prompts), width), config.pad_token_id, dtype=torch.long)
    mask = torch.zeros_like(input_ids)  # (rows, tokens)
    for row, prompt in enumerate(prompts):
        input_ids[row, width - len(prompt) :] = torch.tensor(list(prompt), dtype=torch.long)
        mask[row, width - len(prompt) :] = 1
    left = positions_left(model, width)
    if left < 1:
        raise XtuneError(
            f"A prompt has {width:,} tokens, and the model has no positions for an answer behind it.",
            advice="Leave such rows out.",
        )
    config = copy.copy(config)
    config.max_new_tokens = min(config.max_new_tokens, left)
    output = model.generate(
        input_ids=input_ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=config,
    )  # (rows, prompt and answer tokens)
    answers: list[list[int]] = output[:, width:].tolist()
    return answers


def _decode(tokenizer: PreTrainedTokenizerBase, ids: list[int], stop: Sequence[int]) -> Generated:
    """Cut an answer at its first stop token; what follows is padding."""
    end = next((place for place, token in enumerate(ids) if token in stop), None)
    kept = ids if end is None else ids[:end]
    return Generated(text=_text(tokenizer, kept), tokens=len(kept), stopped=end is not None)


def _text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(text)


class _Cancelled(StoppingCriteria):
    """Stops the model when nobody reads its answer any more."""

    def __init__(self, cancel: threading.Event) -> None:
        self._cancel = cancel

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self._cancel.is_set(), device=input_ids.device)


class _TokenQueue(BaseStreamer):
    """Tokens on their way from the model's thread to the reader's."""

    def __init__(self, *, prompt_tokens: int) -> None:
        self.cancel = threading.Event()
        self._skip = prompt_tokens
        self._queue: queue.Queue[int | None] = queue.Queue()

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt (let pass), then token after token."""
        ids = value.flatten().tolist()
        passed, self._skip = min(self._skip, len(ids)), max(0, self._skip - len(ids))
        for token in ids[passed:]:
            self._queue.put(token)

    def end(self) -> None:
        """Nothing more comes."""
        self._queue.put(None)

    def next(self) -> int | None:
        """Wait for a token; None at the end."""
        while True:
            # a wait without limit would keep Ctrl-C from arriving on Windows
            with suppress(queue.Empty):
                return self._queue.get(timeout=0.2)


class _Pieces:
    """Text from tokens that arrive one by one, where one character may take several tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        # Tokens before `_start` are out of play; those up to `_given` are given out already but stay
        # in view, as a word's leading space appears only when something stands before it.
        self._start = 0
        self._given = 0

    def add(self, token: int) -> str:
        """The text that this token completes; empty in the middle of a character."""
        self._ids.append(token)
        text = self._new_text()
        if not text or text.endswith("�"):
            return ""
        self._start, self._given = self._given, len(self._ids)
        return text

    def rest(self) -> str:
        """What is left at the end: bytes of an unfinished character."""
        text = self._new_text()
        self._start = self._given = len(self._ids)
        return text

    def _new_text(self) -> str:
        before = _text(self._tokenizer, self._ids[self._start : self._given])
        return _text(self._tokenizer, self._ids[self._start :])[len(before) :]
