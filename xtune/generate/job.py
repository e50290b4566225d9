"""A file of rows answered by a model, resumable; the same for prompts typed in. It opens no models."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from xtune.data.files import sampled_fingerprint
from xtune.data.problems import Problems
from xtune.data.stops import stop_token_ids
from xtune.errors import DataError, Interrupted, RunError, XtuneError
from xtune.generate.answers import answer_all, make_row
from xtune.generate.batcher import inner_model
from xtune.generate.journal import ENDING, Journal
from xtune.generate.options import Options
from xtune.generate.pieces import decoded
from xtune.generate.row import Row
from xtune.generate.rows import Asked, Prompter

Progress = Callable[[int, int], None]
"""Told how many rows are answered, and of how many."""


class Job:
    """Rows and the model that answers them."""

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        prompter: Prompter,
        asked: Sequence[Asked],
        options: Options,
    ) -> None:
        """Make the prompts.

        Args:
            model: A transformers model, with or without PEFT adapters.
            tokenizer: Its tokenizer.
            prompter: Makes the prompts.
            asked: The rows.
            options: How they are answered.

        Raises:
            DataError: Everything that is wrong with the rows.
        """
        self._model, self._tokenizer = model, tokenizer
        self._asked, self._options = asked, options
        stop = stop_token_ids(tokenizer, inner_model(model))
        problems = Problems()
        self._rows: list[Row] = []
        for answer, one in enumerate(asked):
            taken = [name for name in (options.column, FINISH) if name in one.fields]
            where = str(one.row.origin)
            if taken:
                problems.add(
                    f"The row has a column `{taken[0]}` already",
                    where=where,
                    advice="name another one for the answer with --field.",
                )
            try:
                prompt = prompter.ids(one.row)
                self._rows.append(
                    make_row(model, prompt, options.decoding, stop=stop, answer=answer)
                )
            except DataError as error:
                problems.include(error)
            except XtuneError as error:
                problems.add(error.message.rstrip("."), where=where, advice=error.advice)
        problems.raise_any()

    def answer(self, progress: Progress | None = None) -> list[dict[str, Any]]:
        """The rows with their answers, in order."""
        answers: dict[int, dict[str, Any]] = {}
        self._run(self._rows, answers.__setitem__, 0, progress)
        return [{**one.fields, **answers[row]} for row, one in enumerate(self._asked)]

    def write(self, out: Path, name: Mapping[str, Any], progress: Progress | None = None) -> int:
        """Answer the rows into a file, going on where an earlier start was stopped.

        Args:
            out: The JSON lines file to write.
            name: What the answers depend on besides rows and options: the model.
            progress: Told how many rows are answered.

        Returns:
            Rows that an earlier start had answered.

        Raises:
            RunError: The file is there already, or cannot be written, or its journal is another job's.
            Interrupted: Someone stopped it; the same again goes on.
        """
        if out.suffix != ".jsonl":
            raise RunError(f"--out is {out}; it must end in .jsonl.")
        if not out.parent.is_dir():
            raise RunError(f"There is no folder {out.parent} to write {out.name} in.")
        journal = Journal(out, {**name, "rows": self._fingerprint(), **self._named()})
        before = len(journal.answers)
        left = [row for row in self._rows if row.answer not in journal.answers]
        try:
            self._run(left, journal.add, before, progress)
            journal.finish([one.fields for one in self._asked])
        except KeyboardInterrupt:
            raise Interrupted(
                f"Stopped. {len(journal.answers):,} of {len(self._rows):,} rows are answered, in {out}{ENDING}; "
                "the same command goes on."
            ) from None
        finally:
            journal.close()
        return before

    def _run(
        self,
        rows: Sequence[Row],
        keep: Callable[[int, dict[str, Any]], None],
        done: int,
        progress: Progress | None,
    ) -> None:
        def over(row: Row) -> None:
            nonlocal done
            done += 1
            text = decoded(self._tokenizer, row.tokens)
            keep(row.answer, {self._options.column: text, FINISH: row.finish})
            if progress is not None:
                progress(done, len(self._rows))

        answer_all(self._model, rows, exact=self._options.exact, done=over)

    def _fingerprint(self) -> str:
        """SHA-256 of the prompts, which file, template, tokenizer and system prompt make, and of the rows as they are."""
        digest = hashlib.sha256()
        for one, row in zip(self._asked, self._rows, strict=True):
            fields = json.dumps(one.fields, ensure_ascii=True, default=str)
            digest.update(json.dumps([row.prompt, fields]).encode())
        return digest.hexdigest()

    def _named(self) -> dict[str, Any]:
        options = asdict(self._options)
        return {**options.pop("decoding"), "column": options["column"], "exact": options["exact"]}


FINISH = "finish_reason"
"""Column that says how an answer ended: "stop", by the model, or "length"."""


def fingerprint_of(folder: Path) -> str:
    """What tells the weights in a folder from others: SHA-256 of samples of its safetensors files."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name} {sampled_fingerprint(path)[0]}\n".encode())
    return digest.hexdigest()
