"""Names of bundled things."""

import pytest

from xtune.demo.bundled import bundled_path, is_bundled
from xtune.errors import XtuneError


def test_bundled_names_lie_inside_the_package():
    assert bundled_path("bundled:demo").parts[-3:] == ("xtune", "demo", "model")
    assert bundled_path("bundled:orders/test.jsonl").parts[-3:] == ("demo", "data", "test.jsonl")


@pytest.mark.parametrize("name", ["bundled:", "bundled:nothing", "bundled:../errors.py", "demo"])
def test_an_unknown_name_is_told_with_what_exists(name):
    with pytest.raises(XtuneError, match=r"`bundled:demo`.*`bundled:orders/train\.jsonl`"):
        bundled_path(name)


def test_only_names_with_the_prefix_are_bundled():
    assert is_bundled("bundled:x")
    assert not is_bundled("Qwen/Qwen3-8B")
