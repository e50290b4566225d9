"""Fine-tune open language models on the hardware you have: QLoRA, LoRA and full, from readable recipes.

import xtune
run = xtune.train("quickstart")
"""

import importlib
import inspect
import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xtune.api import (
        Check,
        NamedRecipe,
        check,
        evaluate,
        generate,
        merge,
        read,
        serve,
        train,
    )
    from xtune.api_data import data_check, data_sets, data_show, data_template, data_tokens
    from xtune.api_plan import Target, plan, plot_plan
    from xtune.api_results import load, report, runs, tune_lr
    from xtune.errors import XtuneError
    from xtune.notebook.model import LoadedModel
    from xtune.notebook.run import Run
    from xtune.run.observer import (
        BaseObserver,
        EndInfo,
        EvaluationMetrics,
        Observer,
        StartInfo,
        StepMetrics,
    )

__version__ = "0.1.0"

__all__ = [
    "BaseObserver",
    "Check",
    "EndInfo",
    "EvaluationMetrics",
    "LoadedModel",
    "NamedRecipe",
    "Observer",
    "Run",
    "StartInfo",
    "StepMetrics",
    "Target",
    "XtuneError",
    "check",
    "data_check",
    "data_sets",
    "data_show",
    "data_template",
    "data_tokens",
    "evaluate",
    "generate",
    "load",
    "merge",
    "plan",
    "plot_plan",
    "read",
    "report",
    "runs",
    "serve",
    "train",
    "tune_lr",
]

_MODULES = {
    "xtune.api": (
        "Check",
        "NamedRecipe",
        "check",
        "evaluate",
        "generate",
        "merge",
        "read",
        "serve",
        "train",
    ),
    "xtune.api_data": ("data_check", "data_sets", "data_show", "data_template", "data_tokens"),
    "xtune.api_plan": ("Target", "plan", "plot_plan"),
    "xtune.api_results": ("load", "report", "runs", "tune_lr"),
    "xtune.errors": ("XtuneError",),
    "xtune.notebook.model": ("LoadedModel",),
    "xtune.notebook.run": ("Run",),
    "xtune.run.observer": (
        "BaseObserver",
        "EndInfo",
        "EvaluationMetrics",
        "Observer",
        "StartInfo",
        "StepMetrics",
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

_PACKAGES = ("evaluate", "generate", "plan", "report", "serve", "train")
"""Verbs whose names are names of packages too."""


class _Verb(ModuleType):
    """A package that is also the verb it is named after: `xtune.train(...)` trains, `xtune.train.loop` is a module.

    Python puts an imported package under its name here, over a function of that name. Renaming the packages would end
    that; making them callable does so too, in one place, and the packages stay named after what they hold.
    """

    @property
    def _function(self) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(importlib.import_module(_HOME[name]), name)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        return self._function(*arguments, **settings)


class _Package(ModuleType):
    """`xtune` itself: a package that is put here under a verb's name becomes that verb."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _PACKAGES and type(value) is ModuleType:
            value.__class__ = _Verb
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

# It advises to install a kernel for 4-bit weights while PEFT imports it, whatever the weights are. Errors still speak.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def __getattr__(name: str) -> Any:
    # the verbs need torch and transformers: seconds that `import xtune` must not cost
    if name in _PACKAGES:
        return importlib.import_module(f"xtune.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'xtune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
