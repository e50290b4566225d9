"""What this machine is: device, memory, number formats, processes, packages. Decides nothing."""

from xtune.hardware.devices import (
    BFLOAT16_CAPABILITY,
    BFLOAT16_CPU_FLAGS,
    Hardware,
    detect,
    usable_devices,
)
from xtune.hardware.disks import Disks, disks_here
from xtune.hardware.environment import (
    Launch,
    cache_folder,
    hub_is_offline,
    launch,
    prepare_allocator,
    worker_environment,
)
from xtune.hardware.host import cgroup_limits, core_count, cpu_flags, cpu_name, ram_bytes
from xtune.hardware.versions import (
    environment_facts,
    git_commit,
    installed_packages,
    package_version,
)

__all__ = [
    "BFLOAT16_CAPABILITY",
    "BFLOAT16_CPU_FLAGS",
    "Disks",
    "Hardware",
    "Launch",
    "cache_folder",
    "cgroup_limits",
    "core_count",
    "cpu_flags",
    "cpu_name",
    "detect",
    "disks_here",
    "environment_facts",
    "git_commit",
    "hub_is_offline",
    "installed_packages",
    "launch",
    "package_version",
    "prepare_allocator",
    "ram_bytes",
    "usable_devices",
    "worker_environment",
]
