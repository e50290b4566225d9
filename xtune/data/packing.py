"""Groups rows by length alone: best-fit packing and length-sorted groups; it never sees a token."""

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]

WINDOW_ROWS = 100_000
"""Rows packed together. Larger windows pack no better (above 99.9 % from some thousand rows on, measured
with log-normal lengths, 2026-11) but lose the locality that a later streaming reader needs."""


def pack(lengths: Indices, capacity: int, generator: np.random.Generator) -> list[Indices]:
    """Pack rows into bins of at most `capacity` tokens by best fit, longest first, in shuffled windows.

    Args:
        lengths: (rows,) tokens of each row, each between 1 and `capacity`.
        capacity: Tokens in a bin.
        generator: Decides which rows share a window and the order of equal lengths.

    Returns:
        The row indices of each bin; every row is in exactly one.
    """
    order = generator.permutation(len(lengths))
    bins: list[Indices] = []
    for start in range(0, len(order), WINDOW_ROWS):
        window = order[start : start + WINDOW_ROWS]
        window = window[np.argsort(-lengths[window], kind="stable")]
        bins += _best_fit(window, lengths[window].tolist(), capacity)
    return bins


def _best_fit(rows: Indices, lengths: list[int], capacity: int) -> list[Indices]:
    """Put each row into the fullest bin that still has room for it."""
    room: list[list[int]] = [[] for _ in range(capacity + 1)]  # bins by the room they have left
    occupied = 0  # bit r is set where room[r] holds a bin: finding the best fit is one shift and one bit scan
    bin_of = np.empty(len(rows), np.int64)
    bins = 0
    for index, length in enumerate(lengths):
        fitting = occupied >> length
        if fitting:
            left = length + (fitting & -fitting).bit_length() - 1
            number = room[left].pop()
            if not room[left]:
                occupied ^= 1 << left
        else:
            left, number = capacity, bins
            bins += 1
        bin_of[index] = number
        room[left - length].append(number)
        occupied |= 1 << (left - length)
    by_bin = np.argsort(bin_of, kind="stable")
    return np.split(rows[by_bin], np.cumsum(np.bincount(bin_of, minlength=bins))[:-1])


def length_groups(
    lengths: Indices, size: int, generator: np.random.Generator, *, window_groups: int = 50
) -> list[Indices]:
    """Cut a random order into groups of `size` rows of similar length; the rest that fills none comes last.

    Rows are sorted by length only inside windows of `window_groups` groups, and the groups are
    shuffled, so that the order stays random while padding is small.

    Returns:
        The row indices of each group; every row is in exactly one.
    """
    order = generator.permutation(len(lengths))
    full = len(order) - len(order) % size
    groups: list[Indices] = []
    for start in range(0, full, size * window_groups):
        window = order[start : min(start + size * window_groups, full)]
        window = window[np.argsort(lengths[window], kind="stable")]
        groups += np.split(window, len(window) // size)
    shuffled = [groups[index] for index in generator.permutation(len(groups))]
    return [*shuffled, order[full:]] if full < len(order) else shuffled
