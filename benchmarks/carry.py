"""Packages that a machine without a network lacks for `benchmarks.gpu`, in a folder that only has to lie on its PYTHONPATH.

    python -m benchmarks.carry .carry                                  # here, where pip works
    PYTHONPATH=.carry:. python3 -m benchmarks.gpu --out RESULTS        # there

Fetched are wheels for that machine's Python and Linux, which need not be those of this one; the folder is thrown away first.
Of bitsandbytes' libraries only the one for that machine's CUDA stays, 4 MB of 120. What the machine has is not fetched: torch,
transformers, accelerate and what they need.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WANTED = (
    "bitsandbytes", "peft", "pydantic", "pydantic-core", "annotated-types", "typing-inspection",
    "liger-kernel", "pytorch-optimizer",
)  # fmt: skip
GLIBC = (17, 24, 27, 28, 34)
"""Of manylinux: pip takes a platform by its exact name only."""

LIBRARY = "bitsandbytes/libbitsandbytes_"


def main(arguments: list[str] | None = None) -> int:
    """Fetch and unpack; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.carry", description=__doc__.split("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="is made anew")
    parser.add_argument("--python", default="3.12", help="that machine's; default: 3.12")
    parser.add_argument(
        "--cuda", default="130", help="its torch's CUDA, without the point; default: 130"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        done = subprocess.run([*_download(options.python), "-d", name, *pinned()], check=False)
        if done.returncode:
            print("benchmarks.carry: pip could not fetch them, see above.", file=sys.stderr)
            return 2
        shutil.rmtree(options.folder, ignore_errors=True)
        for wheel in sorted(Path(name).glob("*.whl")):
            unpack(wheel, options.folder, options.cuda)
    size = sum(each.stat().st_size for each in options.folder.rglob("*") if each.is_file())
    print(f"Written: {options.folder}, {size / 2**20:.0f} MiB")
    return 0


def pinned() -> list[str]:
    """What is wanted, in the versions that are installed here, so that what was tried here is what runs there."""
    from importlib import metadata

    versions = {
        each.metadata["Name"].lower().replace("_", "-"): each.version
        for each in metadata.distributions()
    }
    return [f"{name}=={versions[name]}" if name in versions else name for name in WANTED]


def _download(python: str) -> list[str]:
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in GLIBC] + ["manylinux2014_x86_64"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]
    command += ["--python-version", python, "--implementation", "cp"]
    return [*command, *(word for each in platforms for word in ("--platform", each))]


def unpack(wheel: Path, folder: Path, cuda: str) -> None:
    """Put a wheel's files into a folder, as an installation would, less libraries for other devices."""
    with zipfile.ZipFile(wheel) as packed:
        for name in packed.namelist():
            other = name.startswith(LIBRARY) and not name.startswith(
                (f"{LIBRARY}cpu", f"{LIBRARY}cuda{cuda}.")
            )
            if not other:
                packed.extract(name, folder)


if __name__ == "__main__":
    sys.exit(main())
