"""A recipe made ready to train: planned for this machine, its data prepared, its tokenizer loaded. No weights yet."""

from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from xtune.data.prepare import SILENT, Listener, Prepared, prepare
from xtune.data.report import DataReport
from xtune.hardware import Hardware, Launch, detect, launch
from xtune.memory import ModelShape
from xtune.models.architecture import check_architecture
from xtune.models.source import read_config
from xtune.models.stored import follow_stored
from xtune.models.tokenizer import load_tokenizer
from xtune.plan import Plan, resolve
from xtune.recipe import Recipe
from xtune.train.started import as_started


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A recipe that has been checked against this machine and its data; nothing is written yet."""

    plan: Plan
    tokenizer: PreTrainedTokenizerBase
    prepared: Prepared
    launch: Launch
    hardware: Hardware
    shape: ModelShape

    @property
    def report(self) -> DataReport:
        """What became of the rows."""
        return self.prepared.report


def get_ready(
    recipe: Recipe,
    *,
    name: str,
    resume: bool = False,
    hardware: Hardware | None = None,
    listener: Listener = SILENT,
) -> Ready:
    """Plan the run and prepare its data; loads the tokenizer but no weights.

    Args:
        recipe: What is asked.
        name: The recipe's name, for the default run folder.
        resume: Keep to what was decided for the run in the folder, if there is one.
        hardware: What to plan for; default: what this process finds.
        listener: Hears of the preparation of the data, on the main process.

    Raises:
        XtuneError: Whatever a person has to mend before this recipe can train here.
    """
    config = read_config(recipe.model)
    check_architecture(config, recipe.model)
    recipe, notes = follow_stored(recipe, config)
    where = launch()
    shape = ModelShape.from_config(config)
    machine = hardware or detect()
    plan = resolve(recipe, machine, shape, launch=where, recipe_name=name)
    plan = replace(plan, notes=(*plan.notes, *notes))
    if resume:
        plan = as_started(plan)
    tokenizer = load_tokenizer(recipe.model, recipe.data.template)
    prepared = prepare(plan, tokenizer, listener=listener if where.rank == 0 else SILENT)
    return Ready(
        plan=plan,
        tokenizer=tokenizer,
        prepared=prepared,
        launch=where,
        hardware=machine,
        shape=shape,
    )
