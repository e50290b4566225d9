"""A few rows of a run's data as tokens, for looking at what a model says on them. It opens no model."""

import logging
from pathlib import Path

from xtune.adapter.find import Found, find_result
from xtune.errors import XtuneError
from xtune.evaluate.evaluate import make_encoder
from xtune.generate.rows import read_asked
from xtune.models.tokenizer import open_tokenizer
from xtune.recipe import Source

log = logging.getLogger("xtune")

ROWS = 4
"""How many rows are looked at."""


def data_rows(folder: Path) -> list[list[int]]:
    """The first rows that a run was trained on, in tokens; none where they are gone, which is said, or there is no run.

    Raises:
        RunError: The folder holds no finished run, no adapter and no model.
    """
    found = find_result(folder)
    source = found.recipe.data.train[0]
    if source.source == "none":  # a bare folder's
        return []
    try:
        return _encoded(found, source)
    except XtuneError as error:
        log.warning("The run's data cannot be read, so nothing is compared on them: %s", error)
        return []


def _encoded(found: Found, source: Source) -> list[list[int]]:
    tokenizer = open_tokenizer(found.tokenizer, found.weights)
    encoder = make_encoder(found.recipe, tokenizer)
    rows = [asked.row for asked in read_asked(source, found.recipe, ROWS)]
    return [sequence.input_ids.tolist() for sequence in encoder.encode_rows(rows).sequences[:ROWS]]
