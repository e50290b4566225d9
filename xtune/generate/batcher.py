"""Answers many prompts at once, a token each at every step; rows join and leave between steps. It knows no text.

A row's answer does not depend on the rows beside it. Where rounding could turn a choice round, because the two best
tokens are closer than `choose.SLACK`, the row is computed by itself, and that decides, beside others and alone.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from xtune.generate.caches import drop_left, is_joinable, join, keep_rows
from xtune.generate.choose import SLACK, Want, choose
from xtune.generate.row import Row, allowed_of
from xtune.generate.scoring import score_text

CACHE_BYTES = 512 * 2**20
"""Keys and values that the rows of one batch may hold: 4,096 tokens of Llama 3 8B in bfloat16 (2 x 32 layers x 8 heads
x 128 x 2 bytes = 131,072 bytes a token), which leaves room on an 8 GiB card beside its 4-bit weights."""

MAX_ROWS = 64
"""Most rows of one batch. 200 answers of 40 tokens by a 4.7M model took 5.2 processor seconds with 64 rows,
6.0 with 128, 5.8 with 32 and 12.1 with 8 (two EPYC cores, float32, 2026-11-22)."""

PREFILL_TOKENS = 4096
"""Tokens of prompts that are read together, padding counted; a longer prompt is read by itself. A design choice."""


class Batcher:
    """The rows being answered by one model."""

    def __init__(
        self,
        model: Any,
        *,
        exact: bool = True,
        use: Callable[[str | None], None] | None = None,
    ) -> None:
        """Prepare to answer.

        Args:
            model: A transformers model or a `PeftModel`, in eval mode.
            exact: Compute a row by itself where rounding could turn a choice round; else answers may depend on
                the rows beside, in 16-bit types visibly so.
            use: Makes an adapter of the model the active one.
        """
        self.model = inner_model(model)
        self._slack = (
            SLACK[_dtype(self.model)] * torch.finfo(_dtype(self.model)).eps if exact else 0
        )
        self._exact = exact
        self._use = use or (lambda _: None)
        accepted = inspect.signature(self.model.forward).parameters
        self._takes = {name for name in ("position_ids", "logits_to_keep") if name in accepted}
        caches = ("past_key_values", "cache_params")
        self._cache_name = next((name for name in caches if name in accepted), None)
        self._joinable = self._cache_name is not None and is_joinable(self._new_cache())
        self._lanes: list[_Lane] = []
        self.token_bytes = token_bytes(self.model)
        self.computed_alone = 0
        """Tokens that were decided by computing their row by itself."""

    @property
    def rows(self) -> list[Row]:
        """Those being answered."""
        return [row for lane in self._lanes for row in lane.rows]

    def has_room(
        self,
        row: Row,
        *,
        beside: Sequence[Row] = (),
        max_rows: int = MAX_ROWS,
        cache_bytes: int = CACHE_BYTES,
    ) -> bool:
        """Whether one more row fits, were all to grow as long as the longest; one alone always does.

        Args:
            row: The row.
            beside: Rows that are to be admitted with it.
            max_rows: Most rows at one time.
            cache_bytes: Most keys and values at one time.
        """
        rows = [*self.rows, *beside]
        if not rows:
            return True
        longest = max(row.longest, max(other.longest for other in rows))
        return len(rows) < max_rows and (len(rows) + 1) * longest * self.token_bytes <= cache_bytes

    @torch.inference_mode()
    def admit(self, rows: Iterable[Row]) -> None:
        """Read prompts and give each row its next token; a row that was removed goes on where it was.

        Raises:
            torch.OutOfMemoryError: There is no room; only `clear` helps, and to admit fewer rows.
        """
        fresh = list(rows)
        for row in fresh:
            if row.scores_prompt and row.prompt_logprobs is None:
                self._score(row)
            elif not row.answers:
                row.finish = "length"
        for group in _groups([row for row in fresh if row.finish is None], joinable=self._joinable):
            self._settle(self._read(group))

    @torch.inference_mode()
    def step(self) -> None:
        """Give every row its next token; those that are over are then no longer part of the batch.

        Raises:
            torch.OutOfMemoryError: There is no room; only `clear` helps, and to admit fewer rows.
        """
        for lane in list(self._lanes):
            self._use(lane.adapter)
            device = self.model.device
            last = torch.tensor([[row.tokens[-1]] for row in lane.rows], device=device)
            places = torch.tensor(
                [[len(row.prompt) + len(row.tokens) - 1] for row in lane.rows], device=device
            )
            mask = torch.nn.functional.pad(lane.mask, (0, 1), value=1)
            if self._cache_name is None:  # such a model reads everything anew
                logits = self._alone(lane.rows[0])
            else:
                logits = self._forward(last, mask, places, lane.cache)
            lane.mask = mask
            self._append(lane.rows, logits)
            self._leave(lane)

    def remove(self, rows: Iterable[Row]) -> None:
        """Take rows away between steps; `admit` brings one back where it was."""
        gone = {id(row) for row in rows}
        for lane in list(self._lanes):
            if any(id(row) in gone for row in lane.rows):
                self._leave(lane, gone)

    def clear(self) -> None:
        """Take all rows away."""
        self._lanes.clear()

    def _score(self, row: Row) -> None:
        """The log probabilities of a row's prompt; an answer of one token, as scoring clients ask for, costs no more."""
        self._use(row.adapter)
        row.prompt_logprobs, logits = score_text(
            self.model, row.prompt, vocabulary=row.vocabulary, count=row.top_logprobs or 0
        )
        if not row.answers:
            row.finish = "length"
        elif row.decoding.max_new_tokens == 1:
            logits = _within([row], logits)
            row.take(self._chosen([row], logits, slack=0.0)[0][0], logits[0])

    def _new_cache(self) -> DynamicCache:
        return DynamicCache(config=self.model.config)

    def _read(self, rows: list[Row]) -> "_Lane":
        """A lane of its own with the prompts in it, and the first token of each answer."""
        self._use(rows[0].adapter)
        texts = [row.prompt + row.tokens for row in rows]
        width = max(map(len, texts))
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros_like(ids)  # (rows, tokens), padded on the left
        for place, text in enumerate(texts):
            ids[place, width - len(text) :] = torch.tensor(text)
            mask[place, width - len(text) :] = 1
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        device = self.model.device
        mask = mask.to(device)
        cache = self._new_cache()
        logits = self._forward(ids.to(device), mask, places.to(device), cache)
        self._append(rows, logits)
        return _Lane(adapter=rows[0].adapter, rows=rows, cache=cache, mask=mask)

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor, places: torch.Tensor, cache: DynamicCache
    ) -> torch.Tensor:
        """Logits of the last place, (rows, vocabulary)."""
        more: dict[str, Any] = {"position_ids": places, "logits_to_keep": 1}
        held = {} if self._cache_name is None else {self._cache_name: cache, "use_cache": True}
        output = self.model(
            input_ids=ids,
            attention_mask=mask if self._joinable else None,  # a row by itself has no padding
            **held,
            **{name: more[name] for name in self._takes},
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _alone(self, row: Row) -> torch.Tensor:
        """The same for one row, computed by itself and at once, (1, vocabulary)."""
        ids = torch.tensor([row.prompt + row.tokens], device=self.model.device)
        more = {"logits_to_keep": 1} if "logits_to_keep" in self._takes else {}
        logits: torch.Tensor = self.model(input_ids=ids, use_cache=False, **more).logits[:, -1]
        return logits

    def _append(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        logits = _within(rows, logits)
        tokens, sure = self._chosen(rows, logits, slack=self._slack)
        for place, row in enumerate(rows):
            own = logits[place : place + 1]
            if self._exact and not sure[place]:
                own = _within([row], self._alone(row))
                tokens[place] = self._chosen([row], own, slack=0.0)[0][0]
                self.computed_alone += 1
            row.take(tokens[place], own[0])

    def _chosen(
        self, rows: Sequence[Row], logits: torch.Tensor, *, slack: float
    ) -> tuple[list[int], list[bool]]:
        wants = [Want(row.decoding, row.answer, len(row.tokens)) for row in rows]
        allowed = allowed_of(rows, logits.shape[-1], logits.device)
        return choose(logits, wants, slack, allowed)

    def _settle(self, lane: "_Lane") -> None:
        """Let a lane that has just been read join the one of its adapter, without the rows that are over."""
        self._lanes.append(lane)
        self._leave(lane)
        if lane not in self._lanes or not self._joinable:
            return
        other = next(
            (one for one in self._lanes if one is not lane and one.adapter == lane.adapter), None
        )
        if other is None:
            return
        self._lanes.remove(lane)
        join(other.cache, lane.cache)
        width = max(other.mask.shape[1], lane.mask.shape[1])
        other.mask = torch.cat(
            [
                torch.nn.functional.pad(mask, (width - mask.shape[1], 0))
                for mask in (other.mask, lane.mask)
            ]
        )
        other.rows = other.rows + lane.rows

    def _leave(self, lane: "_Lane", gone: Iterable[int] = ()) -> None:
        """Let rows leave that are over or gone."""
        kept = [
            place
            for place, row in enumerate(lane.rows)
            if row.finish is None and id(row) not in gone
        ]
        if len(kept) == len(lane.rows):
            return
        if not kept:
            self._lanes.remove(lane)
            return
        lane.rows = [lane.rows[place] for place in kept]
        keep_rows(lane.cache, kept)
        lane.mask = lane.mask[torch.tensor(kept, device=lane.mask.device)]
        padding = int(lane.mask.any(0).int().argmax())
        if padding:
            drop_left(lane.cache, padding)
            lane.mask = lane.mask[:, padding:]


@dataclass(eq=False, kw_only=True)
class _Lane:
    """Rows with one adapter and one cache."""

    adapter: str | None
    rows: list[Row]
    cache: DynamicCache
    mask: torch.Tensor
    """(rows, places) int64: 1 for tokens, 0 for padding on the left."""


def inner_model(model: Any) -> Any:
    """The transformers model inside a `PeftModel`, adapters and all: peft's own forward adds nothing for LoRA."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def positions_left(model: Any, prompt_tokens: int) -> float:
    """Positions that a model has behind a prompt: below 1 if the prompt fills them, infinite without a limit."""
    config = model.config.get_text_config(decoder=True)
    limit = getattr(config, "max_position_embeddings", None)
    return limit - prompt_tokens if isinstance(limit, int) else math.inf


def token_bytes(model: Any) -> int:
    """Bytes of keys and values for one token."""
    config = model.config.get_text_config(decoder=True)
    every = getattr(config, "num_attention_heads", None) or 1
    heads = getattr(config, "num_key_value_heads", None) or every
    size = getattr(config, "head_dim", None) or config.hidden_size // every
    return int(2 * config.num_hidden_layers * heads * size * _dtype(model).itemsize)


def _dtype(model: Any) -> torch.dtype:
    """The type that the model computes in, as far as rounding goes."""
    dtype: torch.dtype = model.dtype
    return dtype if dtype in SLACK else torch.bfloat16


def _groups(rows: Iterable[Row], *, joinable: bool) -> list[list[Row]]:
    """Rows to be read together: of one adapter, of similar length, few enough."""
    groups: list[list[Row]] = []
    key = lambda row: (row.adapter or "", len(row.prompt) + len(row.tokens))  # noqa: E731 - used once
    for row in sorted(rows, key=key):
        last = groups[-1] if groups else None
        width = len(row.prompt) + len(row.tokens)
        if (
            joinable
            and last is not None
            and last[0].adapter == row.adapter
            and (len(last) + 1) * width <= PREFILL_TOKENS
        ):
            last.append(row)
        else:
            groups.append([row])
    return groups


def _within(rows: Sequence[Row], logits: torch.Tensor) -> torch.Tensor:
    """Logits in float32 without tokens that a row may not choose."""
    logits = logits.float()
    limits = {row.vocabulary for row in rows} - {None, logits.shape[-1]}
    if not limits:
        return logits
    place = torch.arange(logits.shape[-1], device=logits.device)
    sizes = torch.tensor([row.vocabulary or logits.shape[-1] for row in rows], device=logits.device)
    return logits.masked_fill(place >= sizes[:, None], torch.finfo(logits.dtype).min)
