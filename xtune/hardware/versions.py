"""Which packages, platform and commit a run happened with; nothing is imported to find out."""

import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from xtune.hardware.host import cpu_name

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
