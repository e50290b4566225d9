"""What this machine is: device, memory, number formats, processes. The one file of xtune that reads the environment."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from xtune.errors import HardwareError

if TYPE_CHECKING:
    from types import ModuleType

DeviceKind: TypeAlias = Literal["cpu", "cuda", "mps", "xpu"]

OPTIONAL_PACKAGES = (
    "bitsandbytes",
    "flash_attn",
    "flash_attn_interface",
    "liger_kernel",
    "modelscope",
    "wandb",
    "swanlab",
    "mlflow",
    "ipywidgets",
    "pytorch_optimizer",
    "trl",
)
"""Import names whose presence `detect` records; bitsandbytes is required but has no wheel everywhere."""

FACT_PACKAGES = (
    "xtune",
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "accelerate",
    "datasets",
    "safetensors",
    "tokenizers",
)
"""Distributions whose versions a run folder records."""

BFLOAT16_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Flags of /proc/cpuinfo that mean bfloat16 products in hardware (`bf16` is Arm's name); without one of
them torch emulates bfloat16, slower than float32."""

BFLOAT16_CAPABILITY = (8, 0)
"""First CUDA compute capability with bfloat16 units (Ampere; CUDA C++ Programming Guide, arithmetic
throughput). `torch.cuda.is_bf16_supported()` says yes on Turing as well, because it counts emulation."""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The facts that a plan depends on; made by `detect`, or written by hand for another machine."""

    device: DeviceKind
    name: str
    """Human name: "NVIDIA GeForce RTX 3060", "AMD EPYC"."""

    vram_bytes: int
    """Memory of one accelerator; 0 on a CPU. On MPS, the part of the shared memory that Metal recommends."""

    ram_bytes: int
    """Memory of the machine, or of the container where that is less."""

    cpu_count: int
    """Cores that this process may run on."""

    compute_capability: tuple[int, int] | None = None
    """CUDA compute capability: (7, 5) is Turing, (8, 0) and above have bfloat16; None elsewhere, ROCm included."""

    has_bfloat16: bool = True
    """Whether bfloat16 arithmetic runs at speed."""

    packages: frozenset[str] = frozenset()
    """Optional packages found, by import name: bitsandbytes, flash_attn, liger_kernel ..."""

    vram_free_bytes: int | None = None
    """What of `vram_bytes` no other program holds, this process's own context already taken off; None: not known."""

    is_rocm: bool = False
    """Whether `cuda` means an AMD accelerator under ROCm."""


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


def core_count() -> int:
    """Cores that this process may run on."""
    return _cpu_count()


def detect(device: str | None = None, *, index: int | None = None) -> Hardware:
    """Look at this machine: the best device that torch can use here, or the one named.

    Args:
        device: "cpu", "cuda", "mps" or "xpu"; None or "auto" takes XTUNE_DEVICE, and without it the best.
        index: Which accelerator of several; None takes this process's local rank.

    Raises:
        HardwareError: The device is unknown, or torch cannot use it here.
    """
    import torch  # noqa: PLC0415 - torch is imported late: 1.4 s

    wanted = device or "auto"
    if wanted == "auto":
        wanted = os.environ.get("XTUNE_DEVICE", "").strip() or "auto"
    kind = _choose(wanted, usable_devices())
    facts: dict[str, Any] = {
        "ram_bytes": ram_bytes(),
        "cpu_count": _cpu_count(),
        "packages": installed_packages(),
    }
    place = launch().local_rank if index is None else index
    if kind == "cuda":
        return _cuda(torch, place, facts)
    if kind == "xpu":
        return _xpu(torch, place, facts)
    if kind == "mps":
        return _mps(torch, facts)
    flags = cpu_flags()
    return Hardware(
        device="cpu",
        name=cpu_name(),
        vram_bytes=0,
        has_bfloat16=bool(flags & BFLOAT16_CPU_FLAGS),
        **facts,
    )


def usable_devices() -> tuple[DeviceKind, ...]:
    """The kinds of device that torch can use here, best first; "cpu" is always the last."""
    import torch  # noqa: PLC0415 - torch is imported late: 1.4 s

    found: list[DeviceKind] = []
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.xpu.is_available():
        found.append("xpu")
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def _choose(wanted: str, usable: tuple[DeviceKind, ...]) -> DeviceKind:
    if wanted == "auto":
        return usable[0]
    if wanted not in get_args(DeviceKind):
        raise HardwareError(
            f"There is no device `{wanted}`; allowed are auto, {', '.join(get_args(DeviceKind))}."
        )
    if wanted not in usable:
        raise HardwareError(
            f"The device `{wanted}` cannot be used here; torch finds {', '.join(usable)}.",
            advice="`xtune doctor` shows what this machine can do.",
        )
    return wanted


def _cuda(torch: "ModuleType", index: int, facts: dict[str, Any]) -> Hardware:
    count = torch.cuda.device_count()
    if index >= count:
        raise HardwareError(
            f"This process wants CUDA device {index}, but {count} can be seen.",
            advice="Start at most one process for each device (`torchrun --nproc_per_node`).",
        )
    properties = torch.cuda.get_device_properties(index)
    free, _ = torch.cuda.mem_get_info(index)
    is_rocm = torch.version.hip is not None
    capability = (int(properties.major), int(properties.minor))
    return Hardware(
        device="cuda",
        name=str(properties.name),
        vram_bytes=int(properties.total_memory),
        vram_free_bytes=int(free),
        compute_capability=None if is_rocm else capability,
        has_bfloat16=(
            bool(torch.cuda.is_bf16_supported(including_emulation=False))
            if is_rocm
            else capability >= BFLOAT16_CAPABILITY
        ),
        is_rocm=is_rocm,
        **facts,
    )


def _xpu(torch: "ModuleType", index: int, facts: dict[str, Any]) -> Hardware:
    properties = torch.xpu.get_device_properties(index)
    return Hardware(
        device="xpu",
        name=str(properties.name),
        vram_bytes=int(properties.total_memory),
        has_bfloat16=bool(torch.xpu.is_bf16_supported()),
        **facts,
    )


def _mps(torch: "ModuleType", facts: dict[str, Any]) -> Hardware:
    return Hardware(
        device="mps",
        name=cpu_name(),
        vram_bytes=int(torch.mps.recommended_max_memory()),
        # Metal has bfloat16 from macOS 14 on (Metal Shading Language 3.1).
        has_bfloat16=bool(torch.backends.mps.is_macos_or_newer(14, 0)),
        **facts,
    )


def installed_packages() -> frozenset[str]:
    """The optional packages that can be imported here, by import name; none of them is imported."""
    return frozenset(
        name for name in OPTIONAL_PACKAGES if importlib.util.find_spec(name) is not None
    )


def package_version(distribution: str) -> str | None:
    """Version of an installed distribution, or None; nothing is imported."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_flags(cpuinfo: str | None = None) -> frozenset[str]:
    """Instruction-set flags of the first core as Linux names them; empty on other systems.

    Args:
        cpuinfo: Text in the form of /proc/cpuinfo; None reads that file.
    """
    for key, value in _cpuinfo(cpuinfo):
        if key in {"flags", "Features"}:  # x86 says flags, Arm says Features
            return frozenset(value.split())
    return frozenset()


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    names = [value for key, value in _cpuinfo(None) if key == "model name"]
    return (names[0] if names else "") or platform.processor() or platform.machine() or "CPU"


def _cpuinfo(text: str | None) -> list[tuple[str, str]]:
    if text is None:
        text = _read(Path("/proc/cpuinfo")) or ""
    pairs = (line.partition(":") for line in text.splitlines())
    return [(key.strip(), value.strip()) for key, colon, value in pairs if colon]


def _cpu_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ram_bytes() -> int:
    """Memory of the machine, or of the container where that is less."""
    return min([_installed_ram_bytes(), *cgroup_limits()])


def _installed_ram_bytes() -> int:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    psutil = importlib.import_module("psutil")  # Windows has no sysconf; accelerate brings psutil
    return int(psutil.virtual_memory().total)


def cgroup_limits(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> list[int]:
    """Memory limits in bytes that Linux control groups (version 2 or 1) put on this process.

    A limit holds for all groups below, so every ancestor is looked at. Inside a container the group's
    own path is often not visible and its limit stands at the root of the mount.
    """
    limits = []
    for line in (_read(membership) or "").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            base, file = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, file = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = base / path.lstrip("/")
        for folder in (group, *group.parents):
            text = (_read(folder / file) or "").strip()
            if text.isdigit():  # "max" means no limit
                limits.append(int(text))
            if folder == base:
                break
    return limits


def environment_facts(folder: Path | None = None) -> dict[str, Any]:
    """What is written to environment.json: versions, platform and commit; no variables, names or paths.

    Args:
        folder: Where the commit is looked up; None is the working directory.
    """
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": cpu_name(),
        "packages": {name: package_version(name) for name in FACT_PACKAGES},
        "optional_packages": {
            name: package_version(name.replace("_", "-")) for name in sorted(installed_packages())
        },
        "commit": git_commit(folder or Path()),
    }


def git_commit(folder: Path) -> dict[str, Any] | None:
    """The commit that `folder` is at and whether tracked files differ from it; None outside a repository."""
    git = shutil.which("git")
    if git is None:
        return None
    commit = _git(git, folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    changed = _git(git, folder, "status", "--porcelain", "--untracked-files=no")
    return {"sha": commit, "changed": None if changed is None else bool(changed)}


def _git(git: str, folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            [git, "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
