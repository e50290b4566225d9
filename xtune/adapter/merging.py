"""The files of a merged model, written from those of its base, and compared with base and adapter. Names no folders."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from typing import Any, TypeAlias

from transformers import GenerationConfig, PreTrainedTokenizerBase

from xtune.adapter.addition import Addition
from xtune.adapter.difference import Difference, check_sound, difference
from xtune.adapter.rounding import Source, open_source
from xtune.adapter.save import generation_config
from xtune.adapter.skeleton import Skeleton, attach_adapter, build_skeleton, grow
from xtune.adapter.streamed import Probe, streamed_logits
from xtune.durable import sync, write_json
from xtune.errors import ModelError, RunError
from xtune.models.load import Loading, has_weights
from xtune.models.quiet import quiet
from xtune.models.shards import NAMES, Entry, Planned, Shards, Writer
from xtune.models.source import CONFIG, WEIGHTS_INDEX, fetch, read_config
from xtune.models.tokenizer import save_tokenizer

GENERATION = "generation_config.json"

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many tensors are written, and of how many."""


class Merging:
    """One merge: the base's files, the adapter, and the way from both to the merged files."""

    def __init__(
        self,
        loading: Loading,
        adapter: Path,
        tokenizer: PreTrainedTokenizerBase,
        *,
        dequantises: bool,
    ) -> None:
        """Look at the base's files; nothing is read but their headers.

        Args:
            loading: The base as the run held it.
            adapter: The adapter's folder.
            tokenizer: The run's.
            dequantises: Whether to add to what quantisation left of the base's weights.

        Raises:
            ModelError: The base's files are missing, damaged, or of a kind that is not merged into.
            RunError: They hold quantised weights alone, and others are wished for.
        """
        self._loading, self._adapter, self._tokenizer = loading, adapter, tokenizer
        self._dequantises = dequantises
        self._folder = fetch(loading.model, weights=True)
        self._config = read_config(loading.model)
        is_quantised = self._is_quantised()
        if not has_weights(self._folder, loading.model):
            raise ModelError(f"{loading.model.name} has a {CONFIG} but no weights.")
        self._shards = Shards(self._folder)
        if is_quantised and not dequantises:
            raise RunError(
                f"The files of {loading.model.name} hold quantised weights; there are no others to merge into.",
                advice="Merge with --base dequantised.",
            )
        self._skeleton = self._make_skeleton()
        self._source = open_source(self._shards, self._skeleton, loading)
        self.size = self._shards.size * (4 if is_quantised else 1)
        """Bytes that the merged weights take at most, but for new tokens."""

    def write(self, aside: Path, progress: Progress | None = None) -> None:
        """Write the merged folder.

        Raises:
            ModelError: The adapter does not fit the base.
        """
        adapted = attach_adapter(self._make_skeleton(), self._adapter)
        addition = Addition(self._skeleton, adapted, self._source, quantised=self._dequantises)
        self._write_small(aside, addition)
        keys = self._source.keys()
        places: dict[str, Planned] = {}
        files: dict[str, str] = {}
        for name, entries in self._shards.files.items():
            kept = [each for each in entries if each.name in keys]
            plan = self._plan(kept, addition)
            for written in _write_file(aside / name, kept, plan, addition):
                if progress is not None:
                    progress(len(places) + written, len(keys))
            places |= plan
            files |= dict.fromkeys(plan, name)
        addition.check_used()
        if self._shards.index is not None:
            total = sum(each.size for each in places.values())
            index = {**self._shards.index, "metadata": {"total_size": total}, "weight_map": files}
            write_json(aside / WEIGHTS_INDEX, index)

    def compare(self, aside: Path, probe: Probe) -> tuple[Difference, Difference]:
        """Compare a written folder with base and adapter.

        Returns:
            The difference from the adapter beside the weights that it was added to, and from the adapter beside
            those that it was trained with.

        Raises:
            ModelError: The merged model does not say what base and adapter say.
        """
        adapted = attach_adapter(self._make_skeleton(), self._adapter)

        def beside(*, quantised: bool) -> Any:
            def read(key: str) -> Any:
                return self._source.read(key, quantised=quantised)

            return streamed_logits(self._skeleton, read, probe, adapted=adapted)

        shards = Shards(aside)
        model = self._loading.model.model_copy(update={"name": str(aside), "revision": None})
        loading = replace(self._loading, model=model, quantization=None)
        skeleton = build_skeleton(loading, aside, list(shards.tensors))
        source = Source(shards=shards, loading=loading, rounded={})
        merged = streamed_logits(skeleton, lambda key: source.read(key, quantised=False), probe)
        written = difference(merged, beside(quantised=self._dequantises))
        kinds = {each.kind for each in shards.tensors.values()}
        routed = any(part in name for name in shards.tensors for part in (".experts.", "_moe."))
        check_sound(written, kinds, routed=routed)
        trained_quantised = self._loading.quantization is not None
        if trained_quantised == self._dequantises:
            return written, written
        return written, difference(merged, beside(quantised=trained_quantised))

    def _is_quantised(self) -> bool:
        """Whether the base's files hold quantised weights.

        Raises:
            ModelError: Of a kind that is not expanded here.
        """
        stored = self._config.get("quantization_config") or {}
        kind = stored.get("quant_method")
        if kind not in {None, "bitsandbytes"}:
            raise ModelError(
                f"The weights of {self._loading.model.name} are stored quantised ({kind}).",
                advice="Give the unquantised model.",
            )
        return kind is not None

    def _make_skeleton(self) -> Skeleton:
        source = Source(shards=self._shards, loading=self._loading, rounded={})
        skeleton = build_skeleton(self._loading, self._folder, source.keys())
        grow(skeleton, len(self._tokenizer))
        return skeleton

    def _plan(self, entries: list[Entry], addition: Addition) -> dict[str, Planned]:
        """The tensors of a merged file, those behind that the base's file has not."""
        plan = {}
        for entry in entries:
            key = entry.name
            stored = self._source.is_stored_quantised(key)
            kind = NAMES[self._source.dtype(key)] if stored else entry.kind
            plan[key] = Planned(name=key, kind=kind, shape=addition.shape(key))
        for tensor, key in addition.untied.items():
            if key in plan:
                plan[tensor] = replace(plan[key], name=tensor)
        return plan

    def _write_small(self, aside: Path, addition: Addition) -> None:
        """Configuration, tokenizer with template, generation config; the Python code that some models bring."""
        config = dict(self._config)
        config.pop("quantization_config", None)
        rows = getattr(self._skeleton.model.get_input_embeddings(), "weight").shape[0]  # noqa: B009
        for part in (config, config.get("text_config")):
            if isinstance(part, dict):
                _adjust(part, rows, untied=bool(addition.untied))
        (aside / CONFIG).write_text(
            json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        held: Any = self._skeleton.model
        with quiet():
            if (self._folder / GENERATION).is_file():
                held.generation_config = GenerationConfig.from_pretrained(self._folder)
            generation_config(held, self._tokenizer).save_pretrained(aside)
            save_tokenizer(self._tokenizer, aside)
        for path in self._folder.glob("*.py"):
            copyfile(path, aside / path.name)


def _write_file(
    path: Path, entries: Sequence[Entry], plan: Mapping[str, Planned], addition: Addition
) -> Iterator[int]:
    """Write one file of the merged model.

    Args:
        path: Where it goes.
        entries: The tensors of the base's file that are kept.
        plan: The tensors of the merged file: those, and tied ones that the adapter has parted.
        addition: What the adapter adds.

    Yields:
        After each entry, how many are written.
    """
    with path.open("wb") as stream:
        writer = Writer(stream, list(plan.values()))
        for written, entry in enumerate(entries, start=1):
            if addition.changes(entry.name):
                writer.write(plan[entry.name], addition.value(entry.name))
            else:
                writer.copy(entry)
            yield written
        for tensor in addition.untied:
            if tensor in plan:
                writer.write(plan[tensor], addition.tensor(tensor))
    sync(path)


def _adjust(config: dict[str, Any], rows: int, *, untied: bool) -> None:
    """What the adapter changes of a model's configuration: the vocabulary's size, and whether the head is the embedding."""
    if isinstance(config.get("vocab_size"), int):
        config["vocab_size"] = rows
    if untied:
        config["tie_word_embeddings"] = False
