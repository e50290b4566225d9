"""What this machine can do, found out here: devices, number formats, methods, packages, disk. No network, no model."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xtune.hardware import Hardware, detect, package_version

GIB = 2**30

if TYPE_CHECKING:
    from xtune.report.trials import Trial

REQUIRED = {
    "torch": "torch",
    "transformers": "transformers",
    "peft": "peft",
    "bitsandbytes": "bitsandbytes",
    "accelerate": "accelerate",
    "datasets": "datasets",
    "safetensors": "safetensors",
    "pydantic": "pydantic",
    "PyYAML": "PyYAML",
}
"""Distribution to what `pip install` is given."""

OPTIONAL = {
    "flash-attn": ("faster attention on Ampere and newer", "flash-attn --no-build-isolation"),
    "modelscope": ("models from ModelScope", "'xtune[modelscope]'"),
    "wandb": ("tracking with Weights & Biases", "'xtune[wandb]'"),
    "swanlab": ("tracking with SwanLab", "'xtune[swanlab]'"),
    "mlflow": ("tracking with MLflow", "'xtune[mlflow]'"),
    "ipywidgets": ("progress bars in notebooks", "'xtune[notebook]'"),
    "trl": ("comparison in the benchmarks", "'xtune[benchmark]'"),
}
"""Distribution to what it is for and what `pip install` is given."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package that is there, or the command that brings it."""

    name: str
    version: str | None
    purpose: str
    command: str
    is_required: bool


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Everything the doctor found."""

    hardware: Hardware | None
    """None without torch."""

    trials: "tuple[Trial, ...]"
    packages: tuple[Package, ...]
    free_disk_bytes: int

    @property
    def missing(self) -> tuple[Package, ...]:
        """Required packages that are not installed."""
        return tuple(each for each in self.packages if each.is_required and each.version is None)


def diagnose(folder: Path | None = None) -> Diagnosis:
    """Try what this machine can do; a few seconds, most of them imports.

    Args:
        folder: Whose disk is looked at; None is the working directory.
    """
    packages = tuple(find_packages())
    missing = {each.name for each in packages if each.version is None}
    hardware: Hardware | None = None
    trials: tuple[Trial, ...] = ()
    if "torch" not in missing:
        from xtune.report.trials import try_devices  # noqa: PLC0415 - needs torch, which may be missing

        hardware, trials = (
            detect(),
            tuple(try_devices(has_bitsandbytes="bitsandbytes" not in missing)),
        )
    return Diagnosis(
        hardware=hardware,
        trials=trials,
        packages=packages,
        free_disk_bytes=shutil.disk_usage(folder or Path()).free,
    )


def find_packages() -> Iterator[Package]:
    """Required packages, then optional ones, each with its version or its pip command."""
    for name, argument in REQUIRED.items():
        yield Package(
            name=name,
            version=package_version(name),
            purpose="required",
            command=f"pip install {argument}",
            is_required=True,
        )
    for name, (purpose, argument) in OPTIONAL.items():
        yield Package(
            name=name,
            version=package_version(name),
            purpose=purpose,
            command=f"pip install {argument}",
            is_required=False,
        )


def summary(found: Diagnosis) -> list[str]:
    """Device, memory, number formats and disk, in lines for people."""
    lines = []
    machine = found.hardware
    if machine is not None:
        lines.append(f"device: {machine.device}, {machine.name}")
        if machine.compute_capability:
            major, minor = machine.compute_capability
            lines.append(f"compute capability: {major}.{minor}")
        if machine.vram_bytes:
            lines.append(f"device memory: {machine.vram_bytes / GIB:.1f} GiB")
        lines.append(f"memory: {machine.ram_bytes / GIB:.1f} GiB, cores: {machine.cpu_count}")
        speed = "at speed" if machine.has_bfloat16 else "not at speed"
        lines.append(f"bfloat16: {speed}")
    lines.append(f"free disk here: {found.free_disk_bytes / GIB:.1f} GiB")
    return lines
