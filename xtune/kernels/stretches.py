"""Something long a stretch at a time: tokens in tiles or chunks, heads in groups, a matrix in parts. Computes nothing."""

from collections.abc import Iterator


def stretches(count: int, size: int) -> Iterator[slice]:
    """Where so many things are cut so that at most `size` are together: all stretches but the last are as long."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
