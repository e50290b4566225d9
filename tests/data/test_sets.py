"""The catalogue of known data sets: each entry is well-formed, and its rows would be read as it says."""

import re

import pytest

from xtune.data.formats import OUR_COLUMNS, SHAPES, fits
from xtune.data.sets import DataSet, catalogue, find_set, set_of
from xtune.errors import DataError

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
LICENCE = re.compile(r"(Apache-2\.0|MIT|GPL-3\.0|CC-BY(-NC)?(-SA)?-\d\.0|CC0-1\.0|ODC-By-1\.0|CDLA-Sharing-1\.0|see card)")  # fmt: skip
LANGUAGE = re.compile(r"[a-z]{2}|multi|code")
CHECKED = {"hub", "modelscope", "format", "licence", "rows", "bytes"}


@pytest.mark.parametrize("known", catalogue(), ids=lambda known: known.name)
def test_an_entry_is_well_formed(known: DataSet) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", known.name)
    assert known.title
    assert REPOSITORY.fullmatch(known.hub)
    assert known.modelscope is None or REPOSITORY.fullmatch(known.modelscope)
    assert LICENCE.fullmatch(known.licence)
    assert known.languages
    assert all(LANGUAGE.fullmatch(language) for language in known.languages)
    assert known.format == "auto" or known.format in SHAPES
    assert set(known.columns) <= set(OUR_COLUMNS)
    assert known.stage in {"sft", "pretrain"}
    assert (known.format == "text") >= (known.stage == "pretrain")
    assert known.rows is None or known.rows > 100
    assert known.bytes is None or known.bytes > 100_000
    assert set(known.confirmed) <= CHECKED
    assert all(getattr(known, fact) is not None for fact in known.confirmed)
    assert "hub" in known.confirmed or not known.confirmed


@pytest.mark.parametrize("known", [one for one in catalogue() if one.columns], ids=lambda known: known.name)  # fmt: skip
def test_mapped_columns_give_the_format_what_it_needs(known: DataSet) -> None:
    assert fits(known.format, frozenset(known.columns))
    assert known.columns.keys() <= {*SHAPES[known.format].required, *SHAPES[known.format].optional}


def test_the_mainstream_sets_are_there() -> None:
    names = {known.name for known in catalogue()}
    assert len(names) == len(catalogue()) >= 60
    assert names >= {"alpaca", "oasst1", "oasst2", "dolly-15k", "ultrachat-200k", "openorca", "slimorca", "moss-003", "belle-1m",
                     "code-alpaca", "sql-create-context", "gsm8k", "metamath", "multialpaca", "aya", "bactrian-x", "lima",
                     "wikisql", "openr1-math", "limo", "s1k", "longalpaca-12k", "toolace", "wildchat-1m", "smoltalk", "openthoughts",
                     "no-robots", "tulu-3", "openhermes-2.5", "xlam-function-calling", "fineweb-edu", "c4", "tinystories"}  # fmt: skip
    assert names >= {f"alpaca-gpt4-{code}" for code in ("ar", "de", "es", "fr", "id", "it", "ja", "ko", "pt", "zh")}  # fmt: skip
    assert names >= {f"alpaca-{code}" for code in ("ru", "th", "vi")}


def test_a_set_is_found_by_its_name_and_by_its_ids() -> None:
    known = find_set("dolly-15k")
    assert known.columns == {"instruction": "instruction", "input": "context", "output": "response"}
    assert set_of("hf:databricks/databricks-dolly-15k") == known
    assert set_of("modelscope:swift/no_robots") == find_set("no-robots")
    assert set_of("hf:nobody/nothing") is None


@pytest.mark.parametrize(
    ("name", "told"),
    [("oast1", "`set:oasst1`"), ("Alpaca", "`set:alpaca`"), ("zzzz", "`hf:owner/name`")],
)
def test_an_unknown_name_gets_near_ones(name: str, told: str) -> None:
    with pytest.raises(DataError, match=re.escape(told)):
        find_set(name)
