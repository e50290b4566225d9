"""Counts what a set of encoded rows consists of: lengths, files, languages; it reads no files and decides nothing."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from xtune.data.store import Stored
from xtune.report.lengths import Histogram, histogram
from xtune.report.pieces import Reader
from xtune.text import detect_language

LANGUAGE_ROWS = 1000
"""Rows whose language is looked at, evenly spread: a share is known to 3 points (2 standard errors at one half)."""

UNCLEAR = "unclear"
"""Rows in no language that could be told: code, numbers, a few words."""

_ROLES = re.compile(r"\s*(system|user|assistant|tool|model|human)\b[\s:]*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class FileShare:
    """What of a set comes from one file."""

    name: str
    rows: int
    """Rows that are trained on."""

    sequences: int
    tokens: int
    trained_tokens: int


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a set consists of."""

    lengths: Histogram | None
    files: tuple[FileShare, ...]
    languages: dict[str, int]
    """Language to rows, most frequent first, of those looked at."""

    looked_at: int
    """Rows whose language was looked at: all, or some of them evenly spread."""

    def to_json(self) -> dict[str, Any]:
        """The survey as plain JSON types."""
        return {
            "histogram": self.lengths.to_json() if self.lengths is not None else [],
            "files": [vars(share) for share in self.files],
            "languages": self.languages,
            "languages_of_rows": self.looked_at,
        }


def survey(sequences: Stored, reader: Reader) -> Survey:
    """Count lengths, files and languages.

    Args:
        sequences: A set, encoded.
        reader: Turns its tokens back into text.
    """
    places = np.unique(np.linspace(0, len(sequences) - 1, LANGUAGE_ROWS).astype(int))
    found = Counter(
        detect_language(_prose(reader, sequences[int(place)].input_ids.tolist())) or UNCLEAR
        for place in (places if len(sequences) else ())
    )
    return Survey(
        lengths=histogram(sequences.lengths),
        files=tuple(_shares(sequences)),
        languages=dict(found.most_common()),
        looked_at=sum(found.values()),
    )


def _shares(sequences: Stored) -> list[FileShare]:
    files, rows = sequences.field("file"), sequences.field("row")
    lengths, trained = sequences.lengths, sequences.field("trained")
    shares = []
    for number, file in enumerate(sequences.about.files):
        mine = files == number
        if mine.any():
            shares.append(
                FileShare(
                    name=str(file["name"]),
                    rows=len(np.unique(rows[mine])),
                    sequences=int(mine.sum()),
                    tokens=int(lengths[mine].sum()),
                    trained_tokens=int(trained[mine].sum(dtype=np.int64)),
                )
            )
    return shares


def _prose(reader: Reader, ids: list[int]) -> str:
    """A row's text without what the template adds: special tokens, and the names of roles behind them."""
    return "\n".join(_ROLES.sub("", part, count=1) for part in reader.between_special(ids))
