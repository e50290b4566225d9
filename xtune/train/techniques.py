"""Puts the plan's memory techniques into a model that is ready to train, and says what could not be used."""

import logging
from pathlib import Path

from torch import nn

from xtune.kernels.frugal import FrugalSettings
from xtune.kernels.install import make_frugal
from xtune.kernels.shelf import DeviceShelf, HostShelf, Shelf, disk_shelf
from xtune.kernels.shelved import make_shelved
from xtune.plan import Plan

log = logging.getLogger("xtune")


def apply_techniques(model: nn.Module, plan: Plan, folder: Path) -> int:
    """Give the decoder layers of a model, with or without an adapter, the forward passes that the plan wants.

    A layer that cannot be frugal is computed again as a whole instead, and named in a warning.

    Args:
        model: In train mode, its adapter attached.
        plan: Says which techniques.
        folder: Where checkpoints on disk are; the run's.

    Returns:
        Tokens of a tile for the loss (`LossModule.tile_tokens`); 0: the end of the model is not cut.
    """
    shelf = _shelf(plan, folder)
    if plan.frugal_layers.value:
        settings = FrugalSettings(tile_tokens=plan.tile_tokens.value)
        installed = make_frugal(model, settings, shelf)
        for reason, count in installed.plain.items():
            layers = "layer is" if count == 1 else "layers are"
            log.warning("%d %s computed again as a whole: %s.", count, layers, reason)
        return plan.tile_tokens.value if installed.tail else 0
    if plan.shelves_layers:
        make_shelved(model, shelf)
    return 0


def _shelf(plan: Plan, folder: Path) -> Shelf:
    place = plan.checkpoints.value
    # beside a frugal layer's arithmetic the copy of one input is nothing, and room is what it was chosen for
    ahead = not plan.frugal_layers.value
    if place == "disk":
        return disk_shelf(folder, ahead=ahead)
    return HostShelf(ahead=ahead) if place == "host" else DeviceShelf()
