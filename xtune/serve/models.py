"""What is served: one base in memory, its adapters by name, each with its tokenizer and template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from peft import PeftModel

from xtune.adapter.open import add_adapter, head_form, load_held, loading_for
from xtune.data.stops import stop_token_ids
from xtune.errors import RunError
from xtune.generate.batcher import inner_model
from xtune.generate.guide import Guides
from xtune.generate.rows import Prompter
from xtune.hardware import Hardware, detect
from xtune.models.load import Loading
from xtune.models.source import read_json_object
from xtune.models.tokenizer import load_tokenizer, open_tokenizer
from xtune.serve.calls import CallFormat, learn_call_format
from xtune.serve.names import Named


@dataclass(frozen=True, kw_only=True)
class Served:
    """One model as clients see it."""

    name: str
    adapter: str | None
    """Its name in the `PeftModel`; None is the base, or a whole model."""

    tokenizer: Any
    prompter: Prompter
    stop: tuple[int, ...]
    """Tokens that end an answer."""

    vocabulary: int
    """Tokens that it may choose."""

    guides: Guides
    """Keeps its answers to JSON schemas."""

    calls: CallFormat | None
    """How it writes tool calls; None if its template knows no tools, or writes calls in another way."""

    parent: str | None
    """Name of the base; None for a whole model."""


@dataclass(kw_only=True)
class Models:
    """Everything that is served, on one base."""

    model: Any
    served: dict[str, Served]
    _active: str | None = ""

    def use(self, adapter: str | None) -> None:
        """Make an adapter the active one; None: the base alone."""
        if adapter == self._active or not isinstance(self.model, PeftModel):
            return
        tuner: Any = self.model.base_model
        if adapter is None:
            tuner.disable_adapter_layers()
        else:
            tuner.enable_adapter_layers()
            self.model.set_adapter(adapter, inference_mode=True)
        self._active = adapter


def open_models(
    named: Sequence[Named],
    *,
    device: str = "auto",
    base: bool = True,
    template: Mapping[str, Any] | None = None,
) -> Models:
    """Load the base once and every adapter onto it.

    Args:
        named: What to serve.
        device: As in `open_run`.
        base: Serve the base under its own name, too.
        template: Values of the chat templates' own variables where a request gives none.

    Raises:
        RunError: They do not share a base, or cannot be served together.
        ModelError: The base or an adapter cannot be loaded.
    """
    first = named[0]
    loading = _common_loading(named, detect(None if device == "auto" else device))
    model: Any = load_held(first.found, loading)
    size = int(model.get_input_embeddings().weight.shape[0])
    served: dict[str, Served] = {}
    for number, one in enumerate(named):
        tokenizer = open_tokenizer(one.found.tokenizer, one.found.weights)
        if one.found.adapter is not None:
            if len(named) > 1:
                _check_shareable(one, len(tokenizer), size)
            model = add_adapter(model, one.found.adapter, tokenizer, name=_in_peft(number))
        served[one.name] = _served(model, one, tokenizer, number)
    if base and first.found.adapter is not None:
        alone = _base_of(first)
        if alone.name in served:
            raise RunError(
                f"The base is called {alone.name}, as one of its adapters is.",
                advice="Name the adapter: NAME=FOLDER.",
            )
        tokenizer = load_tokenizer(first.found.weights, None)
        served[alone.name] = replace(_served(model, alone, tokenizer), vocabulary=size)
    _settle([one.prompter for one in served.values()], template or {})
    model.eval()
    return Models(model=model, served=served)


def _common_loading(named: Sequence[Named], hardware: Hardware) -> Loading:
    """How the base of all is held.

    Raises:
        RunError: They do not share one.
    """
    first = named[0]
    loading = loading_for(first.found, hardware, first.found.weights)
    for other in named[1:]:
        if None in {first.found.adapter, other.found.adapter}:
            raise RunError(
                f"{first.name} and {other.name} are not both adapters.",
                advice="Serve whole models one by one.",
            )
        held = loading_for(other.found, hardware, other.found.weights)
        if (held, head_form(other.found)) != (loading, head_form(first.found)):
            raise RunError(
                f"{first.name} and {other.name} were not trained on the same base, held in the same way.",
                advice="Serve them one by one.",
            )
    return loading


def _settle(prompters: Sequence[Prompter], template: Mapping[str, Any]) -> None:
    """Give every template the values of the variables that it has.

    Raises:
        RunError: None of them has a variable of that name.
    """
    taken = set[str]().union(*(prompter.settle(template) for prompter in prompters))
    strange = [name for name in template if name not in taken]
    if strange:
        raise RunError(f"No chat template here has a variable `{strange[0]}` (--template-arg).")


def _check_shareable(one: Named, tokens: int, size: int) -> None:
    adapter = one.found.adapter
    config = read_json_object(adapter / "adapter_config.json") if adapter is not None else {}
    if tokens > size or config.get("modules_to_save") or config.get("trainable_token_indices"):
        raise RunError(
            f"{one.name} brings new tokens or whole modules of its own, which adapters beside it cannot share.",
            advice="Serve it by itself.",
        )


def _base_of(one: Named) -> Named:
    """The base that an adapter was trained on, without it."""
    found = one.found
    name = found.weights.name
    if Path(name).is_dir():
        name = Path(name).resolve().name
    recipe = found.recipe.model_copy(update={"stage": "sft"})
    return Named(name=name, found=replace(found, recipe=recipe, adapter=None))


def _in_peft(number: int) -> str:
    """Name of an adapter inside peft, where a dot would mean a module."""
    return f"adapter_{number}"


def _served(model: Any, one: Named, tokenizer: Any, number: int = 0) -> Served:
    prompter = Prompter(one.found.recipe, tokenizer)
    inner = inner_model(model)
    adapter = one.found.adapter is not None
    tokenizer(
        ""
    )  # settles its padding and truncation, which must not change while several threads use it
    stop = tuple(stop_token_ids(tokenizer, inner))
    size = int(inner.get_input_embeddings().weight.shape[0])
    return Served(
        name=one.name,
        adapter=_in_peft(number) if adapter else None,
        tokenizer=tokenizer,
        prompter=prompter,
        stop=stop,
        vocabulary=size,
        guides=Guides(tokenizer, vocabulary=size, stop=stop),
        calls=None if prompter.continues else learn_call_format(tokenizer),
        parent=_base_of(one).name if adapter else None,
    )
