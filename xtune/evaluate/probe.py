"""A few rows of a run's data as tokens, for looking at what a model says on them. It opens no model."""

import logging
from pathlib import Path

from xtune.errors import XtuneError
from xtune.evaluate.evaluate import make_encoder
from xtune.found import Found, find_result
from xtune.generate.rows import read_asked
from xtune.models.tokenizer import open_tokenizer

log = logging.getLogger("xtune")

ROWS = 4
"""How many rows a merged model is compared on."""

CALIBRATION_ROWS = 512
"""How many rows a quantiser is shown."""


def data_rows(folder: Path, count: int = ROWS) -> list[list[int]]:
    """The first rows that a run was trained on, in tokens; none where they are gone, which is said, or there is no run.

    Raises:
        RunError: The folder holds no finished run, no adapter and no model.
    """
    return _rows(find_result(folder), count)


def data_texts(found: Found, count: int, tokens: int) -> list[str]:
    """The same joined to texts of so many tokens, with the template's own."""
    joined = [token for row in _rows(found, count) for token in row]
    tokenizer = open_tokenizer(found.tokenizer, found.weights)
    # a little more, as what is cut out may be cut up again into fewer tokens
    length = tokens + tokens // 8
    starts = range(0, len(joined) - length + 1, length)
    return [str(tokenizer.decode(joined[start : start + length])) for start in starts]


def _rows(found: Found, count: int) -> list[list[int]]:
    source = found.recipe.data.train[0]
    if source.source == "none":  # a bare folder's
        return []
    try:
        encoder = make_encoder(found.recipe, open_tokenizer(found.tokenizer, found.weights))
        rows = [asked.row for asked in read_asked(source, found.recipe, count)]
        encoded = encoder.encode_rows(rows).sequences[:count]
    except XtuneError as error:
        log.warning("The run's data cannot be read, so no row of them is looked at: %s", error)
        return []
    return [sequence.input_ids.tolist() for sequence in encoded]
