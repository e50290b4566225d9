"""What must hold before the first step: processes, disk, isolated packs. Trains nothing."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator

from xtune.adapter.state import trainable_state
from xtune.errors import HardwareError, ModelError, RunError
from xtune.hardware import Disks, Hardware, Launch
from xtune.kernels.heads import base_model
from xtune.kernels.packing import isolates_packed_rows
from xtune.plan import Plan
from xtune.plan.room import kept_checkpoints
from xtune.shown import size_text

EIGHT_BIT_STATE_BYTES = {"adamw": 2 + 2 * 4 / 256, "lion": 1 + 4 / 256}
"""Bytes of optimizer state for a parameter: one a moment, and a float32 scale for 256 of them, as the plan counts."""


def weakest(machines: Sequence[Hardware]) -> Hardware:
    """The device for which a plan is made that every one of several can follow: none may decide for itself."""
    smallest = min(machines, key=lambda machine: machine.vram_bytes)
    capabilities = [machine.compute_capability for machine in machines]
    free = [machine.vram_free_bytes for machine in machines]
    return replace(
        smallest,
        has_bfloat16=all(machine.has_bfloat16 for machine in machines),
        compute_capability=min((each for each in capabilities if each is not None), default=None),
        # of devices of one size another program may fill one
        vram_free_bytes=min((each for each in free if each is not None), default=None),
        ram_bytes=min(machine.ram_bytes for machine in machines),
        disks=_fullest([machine.disks for machine in machines]),
        packages=frozenset.intersection(*(machine.packages for machine in machines)),
    )


def _fullest(every: Sequence[Disks | None]) -> Disks | None:
    """The least room that any has; None: one does not know."""
    known = [each for each in every if each is not None]
    if len(known) < len(every):
        return None
    return Disks(
        cache_bytes=min(each.cache_bytes for each in known),
        run_bytes=min(each.run_bytes for each in known),
        together=any(each.together for each in known),
    )


def check_processes(accelerator: Accelerator, launch: Launch) -> None:
    """Refuse processes that would not share a step: each would train alone, on the rows of all.

    Raises:
        HardwareError: accelerate counts other processes than RANK and WORLD_SIZE say.
    """
    if accelerator.num_processes != launch.world_size:
        raise HardwareError(
            f"accelerate found {accelerator.num_processes} processes, and WORLD_SIZE says {launch.world_size}.",
            advice="Start them with `torchrun --nproc_per_node N -m xtune train ...`.",
        )


def check_packing(model: torch.nn.Module, plan: Plan) -> None:
    """Refuse to pack rows for an architecture in which they would see each other.

    Raises:
        ModelError: It was tried, and they do.
    """
    if not plan.packing.value:
        return
    dtype = getattr(torch, plan.compute_dtype.value)
    # as in training: flash attention refuses the float32 that autocast turns into 16 bits
    with torch.autocast(plan.device.value, dtype=dtype, enabled=plan.autocast.value):
        isolated = isolates_packed_rows(model)
    if not isolated:
        raise ModelError(
            f"Packed rows would see each other in {type(base_model(model)).__name__}: it does not tell them apart by their positions.",
            advice="Set data.packing to false.",
        )


def check_disk(path: Path, model: torch.nn.Module, plan: Plan) -> None:
    """Refuse to start what the disk cannot hold to the end.

    Raises:
        RunError: Says how much is free and how much is needed.
    """
    trained = list(trainable_state(model).values())
    weights = sum(tensor.numel() * tensor.element_size() for tensor in trained)
    checkpoint = weights + _state_bytes(plan, trained)
    kept = kept_checkpoints(plan.recipe.train) + 1  # the best one stays besides the newest
    there = sum(file.stat().st_size for file in (path / "checkpoints").glob("step-*/*"))
    # beside those that are kept, one is being written; at the end comes the result
    needed = (kept + 1) * checkpoint - min(there, kept * checkpoint) + weights
    free = shutil.disk_usage(path).free
    if free < needed:
        raise RunError(
            f"The disk under {path} has {size_text(free)} free; checkpoints and the result need up to {size_text(needed)}.",
            advice="Free some space, choose another run.folder, or lower train.keep_checkpoints.",
        )


def _state_bytes(plan: Plan, trained: list[torch.Tensor]) -> int:
    """Bytes of the optimizer's state in a checkpoint, at most: Adam has two moments in the parameters' types.

    As many as the plan has computed, if it has. On the host they are float32, and of a 16-bit parameter the lower halves of its float32
    numbers are beside them.
    """
    if plan.predicted is not None:
        return plan.predicted.stored_state_bytes
    optimizer, on_host = plan.optimizer.value, plan.optimizer_states.value == "host"
    narrow = [tensor for tensor in trained if on_host and tensor.element_size() < 4]
    halves = sum(2 * tensor.numel() for tensor in narrow)
    if optimizer.endswith("_8bit"):
        family = "lion" if "lion" in optimizer else "adamw"
        numbers = sum(tensor.numel() for tensor in trained)
        return halves + int(EIGHT_BIT_STATE_BYTES[family] * numbers)
    # bitsandbytes' are float32 always
    width = 4 if on_host or optimizer == "paged_adamw" else 0
    return halves + sum(2 * t.numel() * max(width, t.element_size()) for t in trained)
