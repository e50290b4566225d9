"""The devices that torch can compute on here, and what a plan must know of the best of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from xtune.errors import HardwareError
from xtune.hardware.disks import Disks
from xtune.hardware.environment import launch, wanted_device
from xtune.hardware.host import core_count, cpu_flags, cpu_name, ram_bytes
from xtune.hardware.versions import installed_packages

if TYPE_CHECKING:
    from types import ModuleType

DeviceKind: TypeAlias = Literal["cpu", "cuda", "mps", "xpu"]

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

    disks: Disks | None = None
    """Room on the disks that a run writes to; None: not known, and what is put there is not judged. `detect` leaves it to whoever
    knows the run's folder."""

    is_rocm: bool = False
    """Whether `cuda` means an AMD accelerator under ROCm."""


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
        wanted = wanted_device()
    kind = _choose(wanted, usable_devices())
    facts: dict[str, Any] = {
        "ram_bytes": ram_bytes(),
        "cpu_count": core_count(),
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
