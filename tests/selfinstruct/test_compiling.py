"""Compiled code in the cache of an earlier version of the package: another version's types are no error."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")

SOURCE = """
from typing import NamedTuple
import numpy as np
from selfinstruct.novelty.compiling import compiled

class {name}(NamedTuple):
    numbers: np.ndarray

@compiled
def total(of):
    return of.numbers.sum()

print(total({name}(np.arange(5))))
"""


def test_a_cache_that_names_types_which_are_no_more_is_made_anew(tmp_path):
    for name in ("Before", "After"):
        (tmp_path / "kernels.py").write_text(SOURCE.format(name=name), encoding="utf-8")
        ended = subprocess.run(
            [sys.executable, "-c", "import kernels"],
            env={name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"},
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.stdout == "10\n", ended.stderr
    assert list(tmp_path.rglob("*.nbi"))
