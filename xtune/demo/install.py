"""Puts a pretrained demo model into the package: `python -m xtune.demo.install RUN/model`, in bfloat16 to be small."""

import argparse
import shutil
from pathlib import Path

from xtune.demo.bundled import bundled_path

LIMIT_BYTES = 12 * 2**20
"""Most that the bundled model may weigh: it travels in every wheel."""


def install(source: Path, target: Path) -> int:
    """Copy a transformers folder, its weights as bfloat16; returns the bytes written.

    Raises:
        SystemExit: The model is too large to be bundled.
    """
    import torch  # noqa: PLC0415 - seconds that only this command needs
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.suffix == ".safetensors":
            tensors = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}
            save_file(tensors, target / file.name, metadata={"format": "pt"})
        elif file.is_file() and file.name != "README.md":  # the package's card is written by hand
            shutil.copyfile(file, target / file.name)
    size = sum(file.stat().st_size for file in target.iterdir())
    if size > LIMIT_BYTES:
        raise SystemExit(f"The model has {size:,} bytes; at most {LIMIT_BYTES:,} may be bundled.")
    return size


def main() -> None:
    """Parse the command line and install."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("source", type=Path, help="the model folder of a finished run")
    target = bundled_path("bundled:demo")
    print(f"{install(parser.parse_args().source, target):,} bytes in {target}")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
