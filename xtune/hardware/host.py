"""The processor and the memory of this machine, or of the container that it is. No accelerators here."""

import importlib
import os
import platform
from pathlib import Path


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


def core_count() -> int:
    """Cores that this process may run on."""
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


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
