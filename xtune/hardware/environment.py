"""What the environment asks for: processes, device, caches, the hub. The one file of xtune that reads it."""

import os
import platform
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from xtune.errors import HardwareError


@dataclass(frozen=True, kw_only=True)
class Launch:
    """This process among the processes of one run, as torchrun or accelerate announced it."""

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1


def launch(environment: Mapping[str, str] | None = None) -> Launch:
    """Read RANK, LOCAL_RANK and WORLD_SIZE, which torchrun and accelerate set; one process when they are absent.

    Raises:
        HardwareError: A value is no number, or the rank is outside the world.
    """
    found = os.environ if environment is None else environment
    rank = _whole_number(found, "RANK", 0)
    world_size = _whole_number(found, "WORLD_SIZE", 1)
    local_rank = _whole_number(found, "LOCAL_RANK", 0)
    if world_size < 1 or rank >= world_size:
        raise HardwareError(
            f"RANK is {rank} and WORLD_SIZE is {world_size}; the rank must lie in 0 to WORLD_SIZE - 1.",
            advice="Start several processes with `torchrun --nproc_per_node N`, or unset both variables.",
        )
    return Launch(rank=rank, local_rank=local_rank, world_size=world_size)


def _whole_number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise HardwareError(
            f"The environment variable {name} is {text!r}; it must be a whole number, 0 or above.",
            advice="Start several processes with `torchrun --nproc_per_node N`, or unset it.",
        )
    return int(text)


def hub_is_offline(environment: Mapping[str, str] | None = None) -> bool:
    """Whether HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids the hub."""
    found = os.environ if environment is None else environment
    yes = {"1", "ON", "YES", "TRUE"}  # the values that huggingface_hub takes for true
    return any(
        found.get(name, "").upper() in yes for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def prepare_allocator(environment: MutableMapping[str, str] | None = None) -> None:
    """Let torch's CUDA allocator grow its segments instead of cutting up fixed ones, unless the person set it up.

    It is read when CUDA starts, so this comes before torch is imported. `PYTORCH_ALLOC_CONF` is the name from torch 2.9
    on; of the older ones, either wins over it. On Windows and Macs torch has no such segments, and would warn.
    """
    found = os.environ if environment is None else environment
    taken = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
    if platform.system() == "Linux" and not any(name in found for name in taken):
        found["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where xtune keeps what it can make again: XTUNE_CACHE, or a folder of the platform's place for caches."""
    found = os.environ if environment is None else environment
    if named := found.get("XTUNE_CACHE", "").strip():
        return Path(named).expanduser()
    if platform.system() == "Darwin":
        return Path("~/Library/Caches/xtune").expanduser()
    base = found.get("XDG_CACHE_HOME", "").strip()
    return (Path(base) if base.startswith("/") else Path("~/.cache").expanduser()) / "xtune"


def worker_environment() -> dict[str, str]:
    """The environment of a process that encodes rows: one of many, it uses one thread."""
    return {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}


def wanted_device() -> str:
    """The device that XTUNE_DEVICE names; "auto" without it."""
    return os.environ.get("XTUNE_DEVICE", "").strip() or "auto"
