"""The one door from a plan's data to encoded sequences with a report; the steps are in the files beside it."""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from xtune.data.batch import Assembly
from xtune.data.cache import Cache, Say
from xtune.data.encode import Encoder
from xtune.data.identity import Identified, identify, key_of
from xtune.data.layout import EpochLayout, Layout, MixedLayout, efficiency
from xtune.data.losses import check_losses, check_shares
from xtune.data.problems import SHOWN
from xtune.data.reading import Chunk, Reading, held_out
from xtune.data.report import DataReport, file_reports, overlap, set_report, source_reports
from xtune.data.sources import find_files
from xtune.data.store import Stored, StoreWriter
from xtune.data.template import read_template
from xtune.data.workers import LARGE_BYTES, Recipient, encode_chunks
from xtune.errors import DataError, Problem
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
    layout: Layout
    """Which of the training sequences come in which step."""

    report: DataReport


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who hears of the preparation while it goes on."""

    say: Say = lambda _: None
    watch: Watch = lambda _rows, _part: None


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
    encoder = recipient.make()
    work = _Work(plan, recipient, listener)
    fraction = data.evaluate if isinstance(data.evaluate, float) else None
    every = work.rows(data.train, None if fraction else data.max_rows)
    chosen = held_out(every.stored.read, fraction or 0.0, plan.recipe.run.seed)
    if fraction:
        trained = ~chosen & (np.cumsum(~chosen) <= (data.max_rows or len(chosen)))
        train, evaluate = every.some(trained), every.some(chosen)
        files = [every]
    elif isinstance(data.evaluate, tuple):
        train, evaluate = every, work.rows(data.evaluate, None)
        files = [every, evaluate]
    else:
        train, evaluate = every, every.some(chosen)
        files = [every]
    for part, field in ((train, "data.train"), (evaluate, "data.evaluate")):
        check_losses(part.read, len(part.stored), part.dropped, field, data)
    layout = lay_out(plan, train.stored)
    report = DataReport(
        files=tuple(report for part in files for report in file_reports(part.stored, part.files)),
        train=set_report(train.read, train.stored, train.dropped, train.notes),
        evaluate=set_report(evaluate.read, evaluate.stored, evaluate.dropped, evaluate.notes)
        if evaluate.read
        else None,
        sources=source_reports(data, train.stored, layout),
        packing=plan.packing.value,
        efficiency=_efficiency(plan, layout),
        batch_rows=layout.rows,
        evaluation_rows_also_trained=overlap(train.stored, evaluate.stored, "digest"),
        evaluation_prompts_also_trained=overlap(train.stored, evaluate.stored, "prompt"),
        from_cache=every.from_cache,
        template=encoder.template.text() if train.renders() else "",
    )
    return Prepared(train=train.stored, evaluate=evaluate.stored, layout=layout, report=report)


def make_recipient(plan: Plan, tokenizer: "PreTrainedTokenizerBase") -> Recipient:
    """What the encoder of a plan is made of.

    Raises:
        DataError: The template file cannot be read.
    """
    data = plan.recipe.data
    decided = plan.over_length.value
    # A recipe's "auto" means one thing for texts and another for conversations, whichever stage it is.
    automatic = data.over_length == "auto" and decided in {"auto", "split", "drop"}
    options: dict[str, Any] = {
        "template": read_template(data.template) if data.template is not None else None,
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
    lengths = sequences.lengths
    epoch = EpochLayout(
        lengths, batch_size=recipe.train.batch_size, capacity=capacity, seed=recipe.run.seed
    )
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
        self._root = cache_folder()
        self._cache = Cache(self._root, keep=plan.recipe.data.cache, say=listener.say)

    def rows(self, sources: Many[Source], max_rows: int | None) -> _Part:
        """The encoded rows of all files of sources.

        Raises:
            DataError: Whatever is wrong with files, rows or the template.
        """
        data = self._plan.recipe.data
        files = identify(find_files(sources, data), self._root / "data" / "fingerprints.json")
        limits = {"rows": max_rows, "each": [source.max_rows for source in sources]}
        key = key_of(files, self._recipient.tokenizer, self._recipient.options, limits)

        def write(folder: Path) -> None:
            reading = Reading([one.file for one in files], sources, max_rows=max_rows)
            workers = data.workers or self._workers(files)
            write_store(folder, reading, self._recipient, workers, self._watched(files))

        stored, found = self._cache.stored(key, write)
        return _Part(stored=stored, files=files, from_cache=found)

    def _workers(self, files: Many[Identified]) -> int:
        if sum(one.bytes for one in files) < LARGE_BYTES:
            return 1
        return max(1, core_count() // self._plan.world_size)

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


def write_store(
    folder: Path,
    reading: Reading,
    recipient: Recipient,
    workers: int,
    watch: Callable[[Chunk], None] = lambda _: None,
) -> None:
    """Encode all that a reading gives into a new store.

    Raises:
        DataError: Whatever is wrong with files, rows or the template, all together.
        OSError: The disk refuses.
    """

    def watched() -> Iterator[Chunk]:
        for chunk in reading.chunks():
            watch(chunk)
            yield chunk

    writer, refused = StoreWriter(folder), _Refused()
    try:
        for done in encode_chunks(watched(), recipient, workers):
            if isinstance(done, tuple):
                refused.add(done)
                if refused.enough:
                    break
            elif not refused.problems:
                writer.add(done)
        refused.raise_any()
        writer.finish([_described(count) for count in reading.counts])
    except DataError as error:
        refused.add(error.problems)
        refused.raise_any()
    finally:
        writer.close()


def _described(count: Any) -> Mapping[str, Any]:
    return {
        "name": count.name,
        "source": count.source,
        "rows": count.rows,
        "formats": dict(count.formats),
    }


class _Refused:
    """What is wrong with rows, from several pieces; what many rows have in common is told once."""

    def __init__(self) -> None:
        self.problems: dict[tuple[str, str], Problem] = {}
        self._pieces = 0

    @property
    def enough(self) -> bool:
        """Whether more of it would not be read."""
        return len(self.problems) >= SHOWN or self._pieces >= _PIECES

    def add(self, problems: Many[Problem]) -> None:
        """Take up what is wrong with one piece."""
        self._pieces += 1
        for problem in problems:
            self.problems.setdefault((problem.what, problem.allowed), problem)

    def raise_any(self) -> None:
        """End here if something is wrong.

        Raises:
            DataError: All of it.
        """
        if self.problems:
            raise DataError([*self.problems.values()])


_PIECES = 10
"""Pieces with faulty rows after which the rest is not read: a person fixes the first and sees the pattern."""
