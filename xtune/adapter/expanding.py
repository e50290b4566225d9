"""Sees to it that a quantised base keeps its own parameters beside DoRA. Computes nothing itself."""

from typing import Any

from peft.tuners.lora import dora

_library: Any = dora  # its own imports are not exported
_expand = _library.dequantize_module_weight


def _expanded(module: Any) -> Any:
    weight = module.weight
    try:
        return _expand(module)
    finally:
        if module.weight is not weight:
            module.weight = weight


def keep_weights() -> None:
    """From now on a layer whose weights DoRA reads has the same parameter afterwards.

    DoRA expands the base's matrix in every pass. Of one in a CPU's memory PEFT 0.21 makes another parameter each time
    (`dequantize_module_weight`), which whoever streams the layer does not know of: it stays where it was made, and shows whatever
    is there next. One of 8 bits comes without its scales, so that the next pass fails.
    """
    _library.dequantize_module_weight = _expanded
