"""The one door from a plan's data to encoded sequences with a report; the steps are in the files beside it."""

from collections.abc import Callable
from collections.abc import Sequence as Many
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from xtune.data.batch import Assembly, Batches
from xtune.data.cache import Cache, Say
from xtune.data.choosing import TokenizerReport, choose, fast_name, usual_name
from xtune.data.chunk import Chunk
from xtune.data.encode import Encoder
from xtune.data.ending import end_turns
from xtune.data.folder_splits import evaluation_sources
from xtune.data.identity import Identified, check_unchanged, identify, identify_by_samples, key_of
from xtune.data.layout import EpochLayout, Layout, MixedLayout, draws_for, efficiency
from xtune.data.losses import check_losses, check_shares
from xtune.data.reading import CHUNK_ROWS, Reading, held_out
from xtune.data.report import DataReport, file_reports, overlap, set_report, source_reports
from xtune.data.sources import LeftOut, find_files
from xtune.data.store import Stored
from xtune.data.stream import StreamPlan
from xtune.data.stream_batches import StreamBatches
from xtune.data.template import read_template
from xtune.data.workers import Recipient, workers_for
from xtune.data.writing import Differs, unwatched, write_store
from xtune.hardware import cache_folder, core_count
from xtune.plan import Plan
from xtune.recipe import Recipe, Source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Watch: TypeAlias = Callable[[int, float | None], None]
"""Told how many rows are encoded, and which part of the data that is, where that can be known."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Encoded data, ready for batches."""

    train: Stored
    evaluate: Stored
    report: DataReport
    layout: Layout | None
    """Which of the training sequences come in which step; None for a stream."""

    stream: StreamPlan | None = None
    """How training rows are read while they are trained on; `train` is then a sample of the first."""

    def batches(self, assembly: Assembly) -> "Batches | StreamBatches":
        """The steps of the training.

        Args:
            assembly: What becomes of the rows of a step in this process.

        Raises:
            ValueError: It was made with neither.
        """
        if self.layout is not None:
            return Batches(self.train, self.layout, assembly)
        if self.stream is None:
            raise ValueError("prepared data have neither a layout nor a stream")
        return StreamBatches(self.stream, assembly)

    def total_steps(self, recipe: Recipe) -> int:
        """Optimizer steps of the training."""
        if self.layout is not None:
            return count_steps(recipe, self.layout.steps_per_epoch)
        return recipe.train.max_steps or 1  # a recipe that streams has it


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who hears of the preparation while it goes on."""

    say: Say = lambda _: None
    watch: Watch = lambda _rows, _part: None
    done: Callable[[], None] = lambda: None
    """Told when there is no more to watch."""


SILENT = Listener()


def prepare(
    plan: Plan, tokenizer: "PreTrainedTokenizerBase", *, listener: Listener = SILENT
) -> Prepared:
    """Read, recognise, split and encode the data of a plan, or take from the cache what it came to before.

    Raises:
        DataError: Whatever is wrong with files, rows or the template; or too many rows are lost.
    """
    data = plan.recipe.data
    recipient = make_recipient(plan, tokenizer)
    work = _Work(plan, recipient, listener)
    encoder = recipient.make()
    try:
        train, evaluate = _parts(work, plan)
    finally:
        listener.done()
    for part, field in ((train, "data.train"), (evaluate, "data.evaluate")):
        check_losses(part.read, len(part.stored), part.dropped, field, data)
    layout = None if data.streaming else lay_out(plan, train.stored)
    stream = _plan_stream(plan, train, recipient) if layout is None else None
    same = train.stored.folder == evaluate.stored.folder
    parts = [train] if same else [train, evaluate]
    report = DataReport(
        files=tuple(report for part in parts for report in file_reports(part.stored, part.files)),
        train=set_report(train.read, train.stored, train.dropped, train.notes),
        evaluate=set_report(evaluate.read, evaluate.stored, evaluate.dropped, evaluate.notes)
        if evaluate.read
        else None,
        sources=source_reports(data, train.stored, layout),
        packing=plan.packing.value,
        efficiency=_efficiency(plan, layout or _plain_layout(plan, train.stored)),
        batch_rows=0 if layout is None else layout.rows,
        evaluation_rows_also_trained=overlap(train.stored, evaluate.stored, "digest"),
        evaluation_prompts_also_trained=overlap(train.stored, evaluate.stored, "prompt"),
        streaming=data.streaming,
        from_cache=train.from_cache,
        template=encoder.template.text() if train.renders() else "",
        left_out=work.left_out,
        tokenizer=TokenizerReport(**train.stored.about.tokenizer),
    )
    return Prepared(
        train=train.stored, evaluate=evaluate.stored, report=report, layout=layout, stream=stream
    )


def _parts(work: "_Work", plan: Plan) -> "tuple[_Part, _Part]":
    """The encoded rows to train on and those to evaluate on."""
    data = plan.recipe.data
    fraction = data.evaluate if isinstance(data.evaluate, float) else 0.0
    if data.streaming:
        every = work.sample(data.train)
    else:
        every = work.rows(data.train, None if fraction else data.max_rows)
    evaluated = evaluation_sources(data)
    if isinstance(evaluated, tuple):
        return every, work.rows(evaluated, None)
    chosen = held_out(every.stored.read, fraction, plan.recipe.run.seed)
    if not fraction:
        return every, every.some(chosen)
    trained = ~chosen & (np.cumsum(~chosen) <= (data.max_rows or len(chosen)))
    return every.some(trained), every.some(chosen)


def _plan_stream(plan: Plan, sample: "_Part", recipient: Recipient) -> StreamPlan:
    """How the rows that `sample` begins with are streamed; without weights, sources are drawn from by their size.

    Raises:
        DataError: A source with a weight gives nothing to train on.
    """
    recipe, stored = plan.recipe, sample.stored
    data, capacity = recipe.data, recipe.data.max_tokens if plan.packing.value else None
    members = [np.flatnonzero(stored.sources == number) for number in range(len(data.train))]
    weights = [source.weight for source in data.train]
    if None in weights:
        sizes = np.bincount(
            [one.file.source for one in sample.files], [one.bytes for one in sample.files]
        )
        shares = [(float(size), float(size)) for size in sizes]
    else:
        shares = check_shares(data, [len(rows) for rows in members])
    rows = (recipe.train.max_steps or 1) * recipe.train.batch_size
    lengths = stored.lengths
    means = [float(lengths[some].mean()) if len(some) else 1.0 for some in members]
    return StreamPlan(
        files=[one.file for one in sample.files],
        recipient=recipient,
        shares=shares,
        draws=rows if capacity is None else draws_for(rows * capacity, shares, means),
        capacity=capacity,
        batch_size=recipe.train.batch_size,
        seed=recipe.run.seed,
        data=data,
    )


def make_recipient(plan: Plan, tokenizer: "PreTrainedTokenizerBase") -> Recipient:
    """What the encoder of a plan is made of.

    Raises:
        DataError: The template file cannot be read, or an end token is unfit.
    """
    data = plan.recipe.data
    decided = plan.over_length.value
    # A recipe's "auto" means one thing for texts and another for conversations, whichever stage it is.
    automatic = data.over_length == "auto" and decided in {"auto", "split", "drop"}
    template = read_template(data.template) if data.template is not None else None
    if data.end_token is not None:
        template = end_turns(tokenizer, data.end_token, data.call_end_token, template)
    options: dict[str, Any] = {
        "template": template,
        "unmaskable": data.unmaskable,
        "train_on": data.train_on,
        "prompt_loss_weight": data.prompt_loss_weight,
        "max_tokens": data.max_tokens,
        "over_length": "auto" if automatic else decided,
        "stage": plan.recipe.stage,
    }
    return Recipient(tokenizer=tokenizer, options=options)


def make_encoder(plan: Plan, tokenizer: "PreTrainedTokenizerBase") -> Encoder:
    """The encoder that a plan describes.

    Raises:
        DataError: The template file cannot be read, or the tokenizer is unfit.
    """
    return make_recipient(plan, tokenizer).make()


def count_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Optimizer steps of the whole run: what `max_steps` and `epochs` ask, whichever is less; one epoch by default."""
    settings = recipe.train
    by_epochs = (
        None if settings.epochs is None else max(1, round(settings.epochs * steps_per_epoch))
    )
    limits = [limit for limit in (settings.max_steps, by_epochs) if limit is not None]
    return min(limits, default=steps_per_epoch)


def lay_out(plan: Plan, sequences: Stored) -> Layout:
    """Which sequences of the training set come in which step.

    Raises:
        DataError: A source with a weight has nothing left to draw.
    """
    recipe, capacity = plan.recipe, None
    if plan.packing.value:
        capacity = recipe.data.max_tokens
    lengths, epoch = sequences.lengths, _plain_layout(plan, sequences)
    shares = [source.weight for source in recipe.data.train]
    if None in shares:
        return epoch
    members = [np.flatnonzero(sequences.sources == number) for number in range(len(shares))]
    return MixedLayout(
        lengths,
        epoch,
        members=members,
        shares=check_shares(recipe.data, [len(rows) for rows in members]),
        steps=count_steps(recipe, epoch.steps_per_epoch),
        capacity=capacity,
    )


def _plain_layout(plan: Plan, sequences: Stored) -> EpochLayout:
    recipe = plan.recipe
    return EpochLayout(
        sequences.lengths,
        batch_size=recipe.train.batch_size,
        capacity=recipe.data.max_tokens if plan.packing.value else None,
        seed=recipe.run.seed,
    )


def _efficiency(plan: Plan, layout: Layout) -> float:
    assembly = Assembly(
        micro_batch_size=plan.micro_batch_size.value, pad_token_id=0, packed=plan.packing.value
    )
    steps = min(layout.steps_per_epoch, count_steps(plan.recipe, layout.steps_per_epoch))
    return efficiency(layout, steps, assembly.micro_batches)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Rows that were read, with all that became of them."""

    stored: Stored
    files: Many[Identified]
    from_cache: bool
    chosen: npt.NDArray[np.bool_] | None = None
    """Which of the rows read it is about; None: all."""

    @property
    def read(self) -> int:
        """Rows read."""
        return self.stored.read if self.chosen is None else int(self.chosen.sum())

    @property
    def dropped(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        """Rows without a sequence, by reason."""
        return self.stored.happened("drop", self.chosen)

    @property
    def notes(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        """Rows that something happened to."""
        return self.stored.happened("note", self.chosen)

    def some(self, chosen: npt.NDArray[np.bool_]) -> "_Part":
        """The part that some of the rows are."""
        kept = np.flatnonzero(chosen[self.stored.field("ordinal")])
        return _Part(
            stored=self.stored.take(kept),
            files=self.files,
            from_cache=self.from_cache,
            chosen=chosen,
        )

    def renders(self) -> bool:
        """Whether a chat template was used."""
        formats = {name for file in self.stored.about.files for name in file["formats"]}
        return bool(formats - {"text"})


class _Work:
    """Encodes the rows of sources, through the cache."""

    def __init__(self, plan: Plan, recipient: Recipient, listener: Listener) -> None:
        self._plan = plan
        self._recipient = recipient
        self._listener = listener
        self.left_out: LeftOut = {}
        """What the sources hold besides the files that were read."""
        self._root = cache_folder()
        self._cache = Cache(self._root, keep=plan.recipe.data.cache, say=listener.say)

    def sample(self, sources: Many[Source]) -> _Part:
        """The first encoded rows of each source; nothing of them is kept.

        Raises:
            DataError: Whatever is wrong with files, rows or the template.
        """
        most = min(self._plan.recipe.data.max_rows or CHUNK_ROWS, CHUNK_ROWS)
        few = [
            source.model_copy(update={"max_rows": min(source.max_rows or most, most)})
            for source in sources
        ]
        passing = Cache(self._root, keep=False, say=self._listener.say)
        return self.rows(few, None, cache=passing)

    def rows(
        self, sources: Many[Source], max_rows: int | None, *, cache: Cache | None = None
    ) -> _Part:
        """The encoded rows of all files of sources.

        Raises:
            DataError: Whatever is wrong with files, rows or the template.
        """
        data = self._plan.recipe.data
        found = find_files(sources, data, self.left_out)
        if cache is None:
            files = identify(found, self._root / "data" / "fingerprints.json")
        else:  # a stream begins at once; what it reads is summed while it is read
            files = identify_by_samples(found)
        limits = {"rows": max_rows, "each": [source.max_rows for source in sources]}
        options = {**self._recipient.options, "tokenizer_backend": data.tokenizer_backend}
        key = key_of(files, self._recipient.tokenizer, options, limits)
        size = sum(one.bytes for one in files)

        def write(folder: Path) -> None:
            fast, why = None, ""
            if not data.streaming:
                fast, why = choose(data.tokenizer_backend, self._recipient.tokenizer, size)
            try:
                encode(folder, replace(self._recipient, fast=fast), "" if fast else why)
            except Differs as difference:
                why = f"{fast_name()} differs from it on {difference}; all rows are encoded by {usual_name()}"
                encode(folder, self._recipient, why)

        def encode(folder: Path, recipient: Recipient, why: str) -> None:
            reading = Reading([one.file for one in files], sources, max_rows=max_rows)
            watch = self._watched(files) if cache is None else unwatched  # a sample is soon done
            workers = data.workers or (1 if data.streaming else self._workers(size, recipient))
            write_store(folder, reading, recipient, workers, watch, why)
            check_unchanged(files)

        stored, from_cache = (cache or self._cache).stored(key, write)
        return _Part(stored=stored, files=files, from_cache=from_cache)

    def _workers(self, size: int, recipient: Recipient) -> int:
        return workers_for(size, recipient, core_count() // self._plan.world_size)

    def _watched(self, files: Many[Identified]) -> Callable[[Chunk], None]:
        """Tells the listener how far the reading is; of compressed and packed files no share is known."""
        total = sum(one.bytes for one in files)
        known = all(one.file.path.suffix in {".jsonl", ".json", ".txt", ".md"} for one in files)
        rows = size = 0

        def read(chunk: Chunk) -> None:
            nonlocal rows, size
            rows, size = rows + len(chunk.rows), size + chunk.characters
            self._listener.watch(rows, min(size / total, 1.0) if known and total else None)

        return read
