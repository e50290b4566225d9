"""`plan` as a Python function: will a recipe or a model fit on a machine, with no GPU, no weights and no torch where none is needed."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.api import NamedRecipe, named_recipe, read
from xtune.catalog import list_recipes, recorded_config, recorded_ids
from xtune.errors import ModelError, RecipeError, XtuneError
from xtune.hardware import Disks, Hardware, detect, disks_here, ram_bytes
from xtune.memory import GIB, ModelShape
from xtune.models.source import read_config, read_json_object
from xtune.models.stored import follow_stored
from xtune.plan import run_folder
from xtune.plan.assess import Assessment, assess, step_words
from xtune.plan.cards import find_card, machine, read_size, read_tokens
from xtune.recipe import Recipe
from xtune.recipe.models import Model
from xtune.recipe.read import parse_recipe
from xtune.recipe.words import Overrides, as_words
from xtune.shown import Shown

if TYPE_CHECKING:
    from xtune.notebook.run import Picture

METHODS = ("full", "lora", "qlora")
"""In the order in which they are advised, if they fit."""

WEIGHTS = (".gguf", ".safetensors", ".bin", ".pt", ".pth")
"""How files of weights end."""

DEFAULT_TOKENS = 2048
DEFAULT_RANK = 16


_LEGEND = (
    "peak      on the device at one time, computed",
    "host      the program and what waits for the device, computed",
    "longest   tokens of the longest sequence that fits by any techniques, computed",
    "tokens/s  estimated from the card's figures; without --gpu NAME there are none",
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The machine that is planned for; nothing named: this one."""

    vram: str | None = None
    gpu: str | None = None
    ram: str | None = None
    disk: str | None = None
    """What is free on its disk; of another machine nothing is known without it, and what the plan puts there is not judged."""

    @property
    def is_here(self) -> bool:
        """Whether it is this machine."""
        return (self.vram, self.gpu, self.disk) == (None, None, None)

    def hardware(self) -> Hardware:
        """What the plan depends on.

        Raises:
            HardwareError: A size cannot be read, or a card is not known.
        """
        ram = read_size(self.ram, "--ram") if self.ram is not None else ram_bytes()
        disks = Disks.of_size(read_size(self.disk, "--disk")) if self.disk is not None else None
        if self.vram is None and self.gpu is None:
            return replace(detect(), ram_bytes=ram, disks=disks)
        vram_bytes = read_size(self.vram, "--vram") if self.vram is not None else None
        found = machine(
            card=find_card(self.gpu, vram_bytes) if self.gpu is not None else None,
            vram_bytes=vram_bytes,
            ram_bytes=ram,
            cpu_count=os.cpu_count() or 1,
        )
        return replace(found, disks=disks)


@dataclass(frozen=True, kw_only=True)
class ModelPlans(Shown):
    """A model on a machine by every method that was asked about."""

    model: str
    plans: Mapping[str, Assessment]
    refused: Mapping[str, str]
    """Methods that cannot be planned here, and why."""

    @property
    def advised(self) -> Assessment:
        """The first that fits: everything trained, LoRA, QLoRA, with the base on the device; then QLoRA, LoRA, everything.

        Everything not where LoRA would take less than half its time. The last method if none fits.
        """
        every = list(self.plans.values())
        resident = [each for each in every if not (_streams(each) or self._is_dear(each))]
        for each in (*resident, *reversed(every)):
            if each.fits:
                return each
        return every[-1]

    def _is_dear(self, full: Assessment) -> bool:
        """Whether everything is trained at less than half of LoRA's speed; where speeds are not known, with steps in the backward pass."""
        lora = self.plans.get("lora")
        if full.plan.recipe.method.type != "full" or lora is None:
            return False
        if not lora.fits or _streams(lora):
            return False
        if full.tokens_per_s and lora.tokens_per_s:
            return 2 * full.tokens_per_s < lora.tokens_per_s
        return bool(full.plan.fused_step.value)

    def _why_lora(self) -> str:
        lora, full, qlora = (self.plans.get(name) for name in ("lora", "full", "qlora"))
        speed = 0.0 if lora is None else lora.tokens_per_s or 0.0
        other = 0.0 if qlora is None else qlora.tokens_per_s or 0.0
        why = "the base fits unquantised, and nothing of it is rounded to 4 bits"
        if 0 < other < speed:
            why = "the base fits unquantised, which is faster than QLoRA and as good as it gets"
        elif other > speed:
            why += "; QLoRA leaves more room, and is faster here for it"
        if full is not None and full.fits and not _streams(full):
            slower = "at less than half the speed" if speed else "more slowly"
            why += f"; all weights can be trained too, {slower}"
        return why

    def advice(self) -> str:
        """One sentence on which method to take."""
        best = self.advised
        method = best.plan.recipe.method.type
        if not best.fits:
            return f"Nothing fits at {best.plan.recipe.data.max_tokens:,} tokens. {best.advice}"
        why = {
            "full": "all weights can be trained here; LoRA is faster, and enough for most tasks",
            "lora": "the base fits unquantised",
            "qlora": "a 4-bit base fits on the device, an unquantised one does not",
        }[method]
        if method == "lora":
            why = self._why_lora()
        if method == "qlora" and "lora" in self.refused:
            why = "the others cannot be had here"
        if _streams(best):
            place = "disk" if best.plan.base.value == "disk" else "host memory"
            why = f"the base fits in no form on the device, and this one takes the least time from {place}"
        return f"Take {method}: {why}."

    def to_json(self) -> dict[str, Any]:
        """The advised plan's fields, and every method's under `methods`."""
        every = {name: each.to_json() for name, each in self.plans.items()}
        return {
            **self.advised.to_json(),
            "model": self.model,
            "methods": every,
            "refused": dict(self.refused),
        }

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """A table over the methods, and the advice; of one method alone its whole plan."""
        if len(self.plans) == 1 and not self.refused:
            yield from self.advised.lines()
            return
        first = next(iter(self.plans.values()))
        yield f"{self.model}, {step_words(first.plan.recipe)}"
        yield f"{first.budget_bytes / GIB:.2f} GiB on {first.hardware.name}, {first.hardware.ram_bytes / GIB:.1f} GiB of host memory"
        yield ""
        yield f"{'method':8} {'fits':5} {'peak GiB':>9} {'host GiB':>9} {'longest':>9} {'tokens/s':>9}"
        for name, each in self.plans.items():
            speed = f"{each.tokens_per_s:,.0f}" if each.tokens_per_s else "-"
            yield (
                f"{name:8} {'yes' if each.fits else 'no':5} {each.peak_bytes / GIB:9.2f} {each.host_bytes / GIB:9.1f}"
                f" {each.longest_tokens:9,} {speed:>9}"
            )
        yield ""
        for name, each in self.plans.items():
            if each.fits:
                yield f"{name:8} {each.plan.techniques()}"
        for name, each in self.plans.items():
            if each.shortage:
                yield f"{name} does not fit: {each.shortage}."
        for name, why in self.refused.items():
            yield f"{name}: {why}"
        yield ""
        yield self.advice()
        yield f"What takes the memory, and why so: add `method={self.advised.plan.recipe.method.type}`."
        yield from self._remarks()
        yield ""
        yield from _LEGEND

    def _remarks(self) -> Iterator[str]:
        """What is to be said once, though it holds for several methods."""
        notes = [note for each in self.plans.values() for note in each.plan.notes]
        yield from (f"Note: {note}" for note in dict.fromkeys(notes))
        best = self.advised
        if best.beyond() and best.plan.recipe.data.max_tokens <= (best.max_positions or 0):
            yield f"Note: {best.longest_tokens:,} tokens fit in memory{best.beyond()}."


def plan(
    target: NamedRecipe | str | Path,
    overrides: Overrides = (),
    *,
    on: Target = Target(),
    tokens: int | str | None = None,
) -> Assessment | ModelPlans:
    """Plan a recipe, or a model by every method, for a machine.

    Args:
        target: A shipped recipe's name, a YAML file, what `read` returned, a model's folder or id, or a bare config.json.
        overrides: As for `train`. With a model, `method=qlora` asks about one method alone.
        on: The machine.
        tokens: Length of a sequence, as a number or like "32k"; default: the recipe's, and 2,048 for a model, which is asked with one sequence a
            step unless `train.batch_size` says otherwise.

    Raises:
        RecipeError: The recipe is wrong, or asks for what the machine cannot do.
        ModelError: The model's config.json cannot be found.
        HardwareError: The machine's description cannot be read.
    """
    if isinstance(target, NamedRecipe):
        named_recipe(target, overrides)
    elif not str(target).strip():
        raise ModelError(
            "No recipe and no model is named.",
            advice="Give a recipe's name or file, a model's id or folder, or a config.json.",
        )
    words = list(as_words(overrides))
    tokens = read_tokens(tokens) if isinstance(tokens, str) else tokens
    if tokens is not None:
        words.append(f"data.max_tokens={tokens}")
    hardware = on.hardware()
    if isinstance(target, NamedRecipe) or _is_recipe(str(target)):
        named = _named(target, words, tokens)
        hardware = _with_disks(hardware, on, named.recipe, named.name)
        return _assess(named.recipe, _config(named.recipe.model), hardware, named.name)
    return _plans(str(target), words, hardware, on)


def _with_disks(hardware: Hardware, on: Target, recipe: Recipe, name: str) -> Hardware:
    """This machine with the room on its disks for a run of this recipe; another one as it is."""
    if not on.is_here:
        return hardware
    return replace(hardware, disks=disks_here(Path(run_folder(recipe, name).value)))


def plot_plan(answer: Assessment | ModelPlans) -> "Picture":
    """Draw a plan: over lengths, what fills the device at the peak and which techniques are used; of several methods the advised."""
    from xtune.notebook.run import Picture  # noqa: PLC0415 - imported late: most plans are read
    from xtune.report.plan_picture import plan_png  # noqa: PLC0415 - as above

    return Picture(plan_png(answer.advised if isinstance(answer, ModelPlans) else answer))


def _named(
    target: NamedRecipe | str | Path, words: Sequence[str], tokens: int | None
) -> NamedRecipe:
    if not isinstance(target, NamedRecipe):
        _refuse_bare_name(str(target))
        return read(target, words)
    if tokens is None:
        return target
    data = target.recipe.data.model_copy(update={"max_tokens": tokens})
    return replace(target, recipe=target.recipe.model_copy(update={"data": data}))


def _is_recipe(target: str) -> bool:
    return (
        target.endswith((".yaml", ".yml"))
        or any(entry.name == target for entry in list_recipes())
        or not _is_model(target)
    )


def _refuse_bare_name(target: str) -> None:
    """Refuse a file of weights, and what is no recipe's name and very like a well-known model's without its owner.

    Raises:
        ModelError: It is.
    """
    if target.endswith((".yaml", ".yml")):
        return
    if target.endswith(WEIGHTS):
        raise ModelError(
            f"{target} is a file of weights, which says too little of a model.",
            advice="Give the folder of its safetensors and config.json, its id, or a bare config.json.",
        )
    if Path(target).expanduser().exists():
        return
    if target.startswith(("/", "./", "../", "~")):
        raise ModelError(
            f"There is no file and no folder {target}.",
            advice="Give a recipe's name or file, a model's id or folder, or a config.json.",
        )
    names = {name.rpartition("/")[2].casefold(): name for name in recorded_ids()}
    near = get_close_matches(target.rpartition("/")[2].casefold(), names, n=1, cutoff=0.85)
    if near and all(entry.name != target for entry in list_recipes()):
        raise ModelError(
            f"There is no recipe `{target}`, and a model is named with its owner.",
            advice=f"Did you mean the model `{names[near[0]]}`? `xtune recipes` lists the recipes.",
        )


def _is_model(target: str) -> bool:
    path = Path(target).expanduser()
    if path.is_dir() or target.endswith(".json") or target.startswith("bundled:"):
        return True
    return target.count("/") == 1 and not path.exists()


def _plans(target: str, words: Sequence[str], hardware: Hardware, on: Target) -> ModelPlans:
    config = _config_of(target)
    methods: Sequence[str] = METHODS
    asked = [word for word in words if word.startswith(("method=", "method."))]
    if asked:
        methods = (_recipe("lora", words).method.type,)
    plans: dict[str, Assessment] = {}
    wrong: dict[str, XtuneError] = {}
    kind = str(config.get("model_type") or "model")
    for method in methods:
        try:
            recipe = _recipe(method, words)
            known = _with_disks(hardware, on, recipe, kind)
            plans[method] = _assess(recipe, config, known, kind, target)
        except (RecipeError, ModelError) as error:
            # a method that this machine has no package or unit for, or stored weights cannot be trained by
            wrong[method] = error
    if not plans:
        raise next(reversed(wrong.values()))
    refused = {method: str(error) for method, error in wrong.items()}
    return ModelPlans(model=target, plans=plans, refused=refused)


def _assess(
    recipe: Recipe,
    config: Mapping[str, Any],
    hardware: Hardware,
    name: str,
    model: str | None = None,
) -> Assessment:
    """The answer about one recipe, of whose model the config.json is known.

    Raises:
        ModelError: The model writes no text, or its weights are stored in a form that this method cannot train.
    """
    if model is not None:
        recipe = recipe.model_copy(
            update={"model": recipe.model.model_copy(update={"name": model})}
        )
    shape = ModelShape.from_config(config)
    if not shape.known:
        _refuse_readers(config, recipe.model)
    recipe, notes = follow_stored(recipe, config)
    found = assess(recipe, hardware, shape, name=name)
    return replace(found, plan=replace(found.plan, notes=(*found.plan.notes, *notes)))


def _refuse_readers(config: Mapping[str, Any], model: Model) -> None:
    """Refuse what transformers knows as a model that does not write from left to right; of a type new to it nothing is known.

    Raises:
        ModelError: It is one.
    """
    from xtune.models.architecture import check_architecture, is_known  # noqa: PLC0415 - transformers' lists take a second

    if is_known(config):
        check_architecture(dict(config), model)


def _recipe(method: str, words: Sequence[str]) -> Recipe:
    """A recipe that asks for nothing but a method and a length: one sequence a step, as published lengths are told."""
    text = (
        "model: {name: 'bundled:demo'}\n"
        f"method: {{type: {method}{'' if method == 'full' else f', rank: {DEFAULT_RANK}'}}}\n"
        f"data: {{train: rows.jsonl, max_tokens: {DEFAULT_TOKENS}}}\n"
        "train: {learning_rate: 1e-4, max_steps: 1000, batch_size: 1}\n"
    )
    return parse_recipe(text, words, source="the question")


def _config_of(target: str) -> dict[str, Any]:
    path = Path(target).expanduser()
    if target.endswith(".json"):
        if not path.is_file():
            raise ModelError(
                f"There is no file {target}.", advice="Give a config.json, a folder or an id."
            )
        return read_json_object(path)
    return _config(Model(name=target))


def _config(model: Model) -> dict[str, Any]:
    recorded = recorded_config(model.name)
    return recorded if recorded is not None else read_config(model)


def _streams(assessment: Assessment) -> bool:
    return bool(assessment.plan.base.value != "device")
