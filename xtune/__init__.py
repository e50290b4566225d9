"""Fine-tune open language models on the hardware you have: QLoRA, LoRA and full, from readable recipes.

import xtune
run = xtune.train("quickstart")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xtune.api import Check, TrainedRun, check, evaluate, merge, read, train
    from xtune.api_data import data_check, data_sets, data_show, data_template, data_tokens
    from xtune.errors import XtuneError

__version__ = "0.1.0"

__all__ = [
    "Check",
    "TrainedRun",
    "XtuneError",
    "check",
    "data_check",
    "data_sets",
    "data_show",
    "data_template",
    "data_tokens",
    "evaluate",
    "merge",
    "read",
    "train",
]

_HOME = {
    name: "xtune.api_data" if name.startswith("data_") else "xtune.api" for name in __all__
} | {"XtuneError": "xtune.errors"}


def __getattr__(name: str) -> Any:
    # the verbs need torch and transformers: seconds that `import xtune` must not cost
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'xtune' has no attribute {name!r}")
