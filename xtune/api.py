"""The verbs as Python functions; the command line and notebooks call these and nothing below them.

Importing this module is cheap; torch and transformers come with the first verb that needs them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xtune.catalog import find_recipe
from xtune.errors import XtuneError
from xtune.found import find_result
from xtune.hardware import prepare_allocator
from xtune.recipe import Recipe
from xtune.recipe.read import dump_recipe, read_recipe
from xtune.recipe.words import Overrides, as_words
from xtune.run.folder import RECIPE
from xtune.serve.ready import Server
from xtune.shown import Shown, say

if TYPE_CHECKING:
    from xtune.adapter.merge import Merged
    from xtune.data.report import DataReport
    from xtune.evaluate.compare import Comparison
    from xtune.evaluate.evaluate import Progress
    from xtune.generate.decoding import Decoding
    from xtune.generate.options import Options
    from xtune.notebook.run import Run
    from xtune.plan import Plan
    from xtune.run.observer import Observer
    from xtune.serve.limits import Limits


@dataclass(frozen=True, kw_only=True)
class NamedRecipe(Shown):
    """A recipe and the name it goes by, after which its run folder is called."""

    name: str
    recipe: Recipe

    def __str__(self) -> str:
        return f"# {self.name}\n{dump_recipe(self.recipe)}"


@dataclass(frozen=True, kw_only=True)
class Check(Shown):
    """A recipe found fit to train here: what was decided and what becomes of the data."""

    plan: "Plan"
    report: "DataReport"

    def __str__(self) -> str:
        return "\n".join([*self.plan.lines(), "", *self.report.lines(), "", "Ready to train."])


def read(recipe: str | Path, overrides: Overrides = ()) -> NamedRecipe:
    """Read a shipped recipe by name, or a YAML file.

    Args:
        recipe: A name that `xtune recipes` lists, or a path.
        overrides: `{"train.learning_rate": 1e-4}`, or `["train.learning_rate=1e-4"]`.

    Raises:
        RecipeError: Everything that is wrong with it.
    """
    path = find_recipe(str(recipe))
    return NamedRecipe(name=path.stem, recipe=read_recipe(path, as_words(overrides)))


def check(recipe: NamedRecipe | str | Path, overrides: Overrides = ()) -> Check:
    """Check a recipe, its data and this machine, without loading weights or training.

    Raises:
        XtuneError: What would keep it from training.
    """
    named = named_recipe(recipe, overrides)
    from xtune.report.preparing import preparing  # noqa: PLC0415 - torch is imported late
    from xtune.train.ready import get_ready  # noqa: PLC0415

    ready = get_ready(named.recipe, name=named.name, listener=preparing())
    return Check(plan=ready.plan, report=ready.report)


def train(
    recipe: NamedRecipe | str | Path,
    overrides: Overrides = (),
    *,
    resume: bool = False,
    observers: "Sequence[Observer]" = (),
) -> "Run":
    """Fine-tune a model as a recipe says.

    Args:
        recipe: A name, a path, or what `read` returned.
        overrides: Changes to the recipe, as in `read`.
        resume: Continue the run in the run folder; the result is that of an uninterrupted run, bit for bit.
        observers: Told of every step, besides the progress bar and the trackers.

    Raises:
        XtuneError: What a person can mend; the run folder stays resumable.
        Interrupted: Stopped by Ctrl-C or SIGTERM, with everything saved.
    """
    # first: a mistake in the recipe must not wait for torch
    named = named_recipe(recipe, overrides)
    from xtune.run.observer import Observers, check_observers  # noqa: PLC0415

    check_observers(observers)
    prepare_allocator()
    from xtune.notebook.run import Run  # noqa: PLC0415
    from xtune.report.observers import observers_for  # noqa: PLC0415
    from xtune.report.preparing import preparing  # noqa: PLC0415
    from xtune.train.session import train_session  # noqa: PLC0415

    finished = train_session(
        named.recipe,
        name=named.name,
        resume=resume,
        observe=lambda plan: Observers([*observers_for(plan), *observers]),
        listener=preparing(),
    )
    return Run(finished.folder, end=finished.end)


def evaluate(  # noqa: PLR0913 - the choices of `xtune evaluate`, one by one
    run: str | PathLike[str],
    *,
    data: str | None = None,
    language: str | None = None,
    max_rows: int | None = None,
    max_new_tokens: int | None = None,
    seed: int = 0,
    progress: "Progress | None" = None,
) -> "Comparison":
    """Judge a run on held-out rows: loss, perplexity, exact match, with the base model beside it.

    Args:
        run: A run folder, or what `train` returned.
        data: A file of rows; default: what the recipe names as `data.evaluate`.
        language: BCP-47 code of the answers' language, for measures of words; default: found out from them.
        max_rows: Use only the first so many rows.
        max_new_tokens: Longest answer; default: a little more than the longest expected one.
        seed: Seed of the resamples that the intervals come from.
        progress: Told how many prompts are answered, and of how many.

    Raises:
        XtuneError: The run or the data cannot be read, or hold nothing to judge.
    """
    folder = find_result(run).folder
    from xtune.evaluate.compare import compare_run  # noqa: PLC0415 - torch is imported late
    from xtune.evaluate.evaluate import Options  # noqa: PLC0415
    from xtune.evaluate.generate import Decoding  # noqa: PLC0415
    from xtune.notebook.comparison import ShownComparison  # noqa: PLC0415
    from xtune.report.card import write_cards  # noqa: PLC0415

    decoding = None if max_new_tokens is None else Decoding(max_new_tokens=max_new_tokens)
    comparison = compare_run(
        folder,
        None if data is None else (data,),
        options=Options(decoding=decoding, max_rows=max_rows, language=language, seed=seed),
        progress=progress,
    )
    if (folder / RECIPE).exists():
        write_cards(folder)  # the model card tells of the evaluation
    return ShownComparison.of(comparison)


def chat(
    run: str | PathLike[str],
    *,
    prompt: str | None = None,
    system: str | None = None,
    compare: bool = False,
    decoding: "Decoding | None" = None,
    template: Mapping[str, Any] | None = None,
) -> None:
    """Talk to a fine-tuned model on the terminal, with the template it was trained with.

    Args:
        run: A run folder, an adapter folder or a model folder.
        prompt: Answer this one prompt and return; default: a conversation.
        system: The system prompt.
        compare: Show the base model's answer before each.
        decoding: How tokens are chosen; greedy when left out.
        template: Values of the chat template's own variables: `{"enable_thinking": False}`.

    Raises:
        XtuneError: The run cannot be opened.
    """
    folder = find_result(run).folder
    from xtune.adapter.open import open_run  # noqa: PLC0415 - torch is imported late
    from xtune.evaluate.chat import Chat, answer_both, base_chat, converse  # noqa: PLC0415

    opened = open_run(folder)
    conversation = Chat(opened, decoding=decoding, system=system, arguments=template)
    base = base_chat(folder, opened, conversation) if compare else None
    write = partial(say, end="")
    if prompt is None:
        converse(conversation, base=base, write=write)
    else:
        answer_both(conversation, base, prompt, write)


def generate(
    run: str | PathLike[str],
    rows: str | Path | Sequence[str | Mapping[str, Any]],
    *,
    out: str | Path | None = None,
    options: "Options | None" = None,
    progress: "Progress | None" = None,
) -> list[dict[str, Any]]:
    """Answer many rows at once, with the template of training; no answer depends on the rows beside it.

    Args:
        run: A run folder, an adapter folder or a model folder.
        rows: A file of rows in any format of training, whose answers may be left out; or prompts and rows
            themselves.
        out: A JSON lines file for rows and answers, in the same order; stopped and started again, it goes on.
        options: How to answer: `xtune.generate.options.Options`.
        progress: Told how many rows are answered, and of how many.

    Returns:
        The rows with `answer` and `finish_reason`; nothing where they went to `out`.

    Raises:
        XtuneError: The run or the rows cannot be read, or `out` cannot be written.
        Interrupted: Stopped by Ctrl-C or SIGTERM while writing to `out`.
    """
    found = find_result(run)
    from xtune.adapter.open import open_run  # noqa: PLC0415 - torch is imported late
    from xtune.generate.job import Job, fingerprint_of  # noqa: PLC0415
    from xtune.generate.options import Options as Chosen  # noqa: PLC0415
    from xtune.generate.rows import Prompter, read_asked, typed  # noqa: PLC0415

    options = options or Chosen()
    asked = (
        read_asked(str(rows), found.recipe, options.max_rows)
        if isinstance(rows, (str, Path))
        else typed(rows)
    )
    opened = open_run(found.folder, base_only=options.base_only)
    prompter = Prompter(
        opened.recipe, opened.tokenizer, system=options.system, arguments=options.template
    )
    job = Job(opened.model, opened.tokenizer, prompter, asked, options)
    if out is None:
        return job.answer(progress)
    weights = fingerprint_of(found.adapter or found.tokenizer)
    name = {"model": str(found.folder.resolve()), "weights": weights, "base": options.base_only}
    job.write(Path(out), name, progress)
    return []


def serve(  # noqa: PLR0913 - the choices of `xtune serve`, one by one
    runs: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    address: tuple[str, int] = ("127.0.0.1", 8000),
    api_key: str | None = None,
    base: bool = True,
    limits: "Limits | None" = None,
    exact: bool = True,
    template: Mapping[str, Any] | None = None,
) -> Server:
    """An OpenAI-compatible server for one model, or for adapters of one base; `run` it.

    Args:
        runs: A run, adapter or model folder, or several, each as `FOLDER` or `NAME=FOLDER`.
        address: Host and port; port 0 takes a free one.
        api_key: What clients must send; None: nothing.
        base: Serve the base under its own name, too.
        limits: What the server takes on.
        exact: Let no answer depend on those beside it.
        template: Values of the chat templates' own variables where a request gives none.

    Raises:
        XtuneError: The port is taken, or the runs cannot be opened or served together.
    """
    from xtune.serve.address import bind  # noqa: PLC0415
    from xtune.serve.names import name_runs  # noqa: PLC0415

    named = name_runs(runs)
    listener = bind(*address)
    from xtune.serve.engine import Engine  # noqa: PLC0415 - torch is imported late
    from xtune.serve.limits import Limits  # noqa: PLC0415
    from xtune.serve.models import open_models  # noqa: PLC0415

    models = open_models(named, base=base, template=template)
    engine = Engine(models, limits or Limits(), exact=exact)
    return Server(engine=engine, listener=listener, host=address[0], api_key=api_key)


def serve_with_vllm(runs: Sequence[str], *, host: str, port: int, api_key: str | None) -> None:
    """Become vLLM, serving the same runs; does not return.

    Raises:
        XtuneError: vLLM is not installed, or the runs cannot be served by it.
    """
    from xtune.serve.names import name_runs  # noqa: PLC0415
    from xtune.serve.vllm import hand_over, remarks, vllm_command, vllm_environment  # noqa: PLC0415

    named = name_runs(runs)
    command = vllm_command(named, host=host, port=port)
    for remark in remarks(named, api_key=api_key):
        logging.getLogger("xtune").warning(remark)
    hand_over(command, api_key=api_key, environment=vllm_environment(named))


def merge(
    run: str | PathLike[str],
    folder: str | PathLike[str],
    *,
    base: Literal["unquantised", "dequantised"] = "unquantised",
    progress: "Progress | None" = None,
) -> "Merged":
    """Merge an adapter into its base model: a standard transformers folder, checked against the adapter's logits.

    They are compared on fixed texts and on a few rows of the run's data, where those are still to be had.

    Args:
        run: A run folder or a PEFT adapter folder.
        folder: Where the merged model goes; must not exist.
        base: `unquantised` for the original weights; `dequantised` for those QLoRA trained against.
        progress: Told how many tensors are written, and of how many.

    Raises:
        XtuneError: The run cannot be opened, the folder is taken, or the merged model says something else.
    """
    source = find_result(run).folder
    from xtune.adapter.merge import merge as merge_adapter  # noqa: PLC0415 - torch is imported late
    from xtune.evaluate.probe import data_rows  # noqa: PLC0415

    return merge_adapter(source, Path(folder), base=base, rows=data_rows(source), progress=progress)


def named_recipe(recipe: NamedRecipe | str | Path, overrides: Overrides) -> NamedRecipe:
    """What `read` returns, or what it returned earlier.

    Raises:
        RecipeError: The recipe is wrong.
        XtuneError: There are overrides for a recipe that is read already.
    """
    if not isinstance(recipe, NamedRecipe):
        return read(recipe, overrides)
    if overrides:
        raise XtuneError(
            f"Overrides go with a recipe's name or file; `{recipe.name}` is read already.",
            advice="Give them to xtune.read.",
        )
    return recipe
