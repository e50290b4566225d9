"""`benchmarks.carry`: what is unpacked of a wheel, and in which versions packages are fetched."""

import zipfile
from importlib import metadata
from pathlib import Path

from benchmarks.carry import WANTED, pinned, unpack


def test_of_bitsandbytes_only_the_libraries_for_one_cuda_and_the_processor_are_unpacked(
    tmp_path: Path,
) -> None:
    wheel = tmp_path / "bitsandbytes-0.50.2-py3-none-manylinux_2_24_x86_64.whl"
    libraries = ["cpu", "cuda128", "cuda130", "cuda1301", "rocm72", "xpu2026"]
    with zipfile.ZipFile(wheel, "w") as packed:
        for name in ["__init__.py", *(f"libbitsandbytes_{each}.so" for each in libraries)]:
            packed.writestr(f"bitsandbytes/{name}", name)
        packed.writestr("bitsandbytes-0.50.2.dist-info/METADATA", "Name: bitsandbytes")
    unpack(wheel, tmp_path / "site", "130")
    found = {
        str(each.relative_to(tmp_path / "site"))
        for each in (tmp_path / "site").rglob("*")
        if each.is_file()
    }
    assert found == {
        "bitsandbytes/__init__.py",
        "bitsandbytes/libbitsandbytes_cpu.so",
        "bitsandbytes/libbitsandbytes_cuda130.so",
        "bitsandbytes-0.50.2.dist-info/METADATA",
    }


def test_packages_are_fetched_in_the_versions_that_are_tried_here() -> None:
    found = pinned()
    assert len(found) == len(WANTED)
    assert f"bitsandbytes=={metadata.version('bitsandbytes')}" in found
