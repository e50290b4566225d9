"""The rule on loops: a text that says the same letters again and again."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from selfinstruct.rules.batch import Batch
from selfinstruct.rules.forms import letters_of
from selfinstruct.rules.settings import RuleSettings
from selfinstruct.types import Task

_LONGEST_PERIOD = 200
_FEWEST_LETTERS_OF_A_LOOP = 40
_TIMES = 5
"""A loop says a run of at most 200 letters six times over, 40 letters or more: songs and tables stay below."""

_WINDOW = 16
"""Letters; every loop that counts agrees with itself over more than these, one period on."""

_MOST_LETTERS = 20_000
_MOST_FOLDED = 3
"""Letters that one becomes at most without regard to case (Unicode, CaseFolding.txt)."""


def repetition(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001 - a rule's signature
    """A text that says the same letters again and again, in any script; digits and punctuation do not break a loop."""
    for name in ("instruction", "input", "output"):
        found = _loop(getattr(task, name))
        if found:
            return f"{name} repeats {found!r}"
    return None


def _loop(text: str) -> str | None:
    if _MOST_FOLDED * len(text) < _FEWEST_LETTERS_OF_A_LOOP:
        return None
    letters = letters_of(text[:_MOST_LETTERS])
    if len(letters) < _FEWEST_LETTERS_OF_A_LOOP:
        return None
    if not _may_loop(letters):
        return None
    # one number a letter
    codes = np.frombuffer(letters.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    for period in _periods(letters):
        least = max(_TIMES * period, _FEWEST_LETTERS_OF_A_LOOP - period)
        differs = np.flatnonzero(codes[period:] != codes[:-period])
        edges = np.concatenate(([-1], differs, [len(codes) - period]))
        # lengths of the runs in which each letter equals the one a period before
        gaps = np.diff(edges) - 1
        longest = int(gaps.argmax())
        if gaps[longest] >= least:
            start = int(edges[longest]) + 1
            return letters[start : start + period]
    return None


def _may_loop(letters: str) -> bool:
    """Whether there may be a loop in letters."""
    longest = min(_LONGEST_PERIOD, len(letters) // (_TIMES + 1))
    return any(True for _ in _windows_again(letters, longest))


def _windows_again(letters: str, longest: int) -> Iterator[int]:
    """Where those of some windows begin that come again soon: a loop agrees with itself over 34 letters, which hold one of them."""
    find = letters.find
    for at in range(0, len(letters) - _WINDOW + 1, _WINDOW):
        end = at + _WINDOW
        if find(letters[at:end], at + 1, end + longest) >= 0:
            yield at


def _periods(letters: str) -> list[int]:
    """The distances at which a window of letters comes again: a loop has its own among them."""
    seen: dict[str, int] = {}
    found: set[int] = set()
    for position in range(len(letters) - _WINDOW + 1):
        window = letters[position : position + _WINDOW]
        before = seen.get(window)
        if before is not None and position - before <= _LONGEST_PERIOD:
            found.add(position - before)
        seen[window] = position
    return sorted(found)


def may_repeat(batch: Batch) -> list[bool]:
    """In which tasks `repetition` may find a loop, by one look at all their letters."""
    letters, places, ends = _letters_in([text[:_MOST_LETTERS] for text in batch.texts])
    found = np.zeros(len(batch.tasks), np.bool_)
    for at in _windows_again_in(letters):
        found[ends.searchsorted(places[at], side="right") // 3] = True
    may: list[bool] = found.tolist()
    return may


_letters = np.zeros(0x110000, np.uint8)
"""What each character is: 0 was not met yet, 1 no letter, 2 a letter that is several without regard to case, or a number that
says little of which other letter it is, the same for both cases."""

_SEVERAL = 2
_NUMBERS = 256 - _SEVERAL - 1


def _letter(character: str) -> int:
    folded = character.casefold()
    if len(folded) > 1:
        return _SEVERAL
    return _SEVERAL + 1 + ord(folded) % _NUMBERS if folded.isalpha() else 1


def _letters_in(
    texts: Sequence[str],
) -> tuple[NDArray[np.uint8], NDArray[np.intp], NDArray[np.intp]]:
    """The letters of texts as `_letters` has them, their places in the texts behind each other, and where each text ends."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds = _letters.take(codes)
    if not kinds.all():
        for code in np.unique(codes[kinds == 0]).tolist():
            _letters[code] = _letter(chr(code))
        kinds = _letters.take(codes)
    if (kinds == _SEVERAL).any():
        return _letters_in([text.casefold() for text in texts])
    ends = np.cumsum(np.fromiter(map(len, texts), np.intp, len(texts)))
    places = np.flatnonzero(kinds > 1)
    return kinds[places], places, ends


_PERIODS = ((1, 16, 16), (17, 39, 64), (40, _LONGEST_PERIOD, 176))
"""The least and the most, and how far apart windows lie that are looked for one period on: a loop agrees with itself there over
34 letters at least, and over 85 and 200 if its period is 17 and 40, which holds a whole one of these windows."""

_MIXER = np.uint64(0x9E3779B97F4A7C15)


def _windows_again_in(letters: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Where those of some windows begin that come again soon."""
    half = _WINDOW // 2
    count = len(letters) - _WINDOW + 1
    if count < 1:
        return np.zeros(0, np.intp)
    # eight letters are a number, at each letter
    eights = np.ndarray(count + half, np.uint64, letters.tobytes(), 0, (1,)).copy()
    windows = eights[:-half] * _MIXER + eights[half:]
    found = []
    # behind the last there are zeros, which hardly any window is
    behind = np.append(windows, np.zeros(_LONGEST_PERIOD, np.uint64))
    for least, most, apart in _PERIODS:
        after = np.lib.stride_tricks.sliding_window_view(behind, most + 1)[:count:apart]
        again = np.flatnonzero(after[:, least:] == after[:, :1])
        found.append(again // (most + 1 - least) * apart)
    return np.concatenate(found)
