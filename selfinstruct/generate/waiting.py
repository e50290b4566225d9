"""What waits for a worker, by language: texts of one language behind each other take a fifth less time than a mixture.

(Two EPYC cores, replies of 4 tasks in 11 languages, 2026-11-29: 0.76 and 0.93 ms.) It starts nothing and sends nothing.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Waiting(Generic[Item]):
    """Queues of languages, which have turns."""

    def __init__(self, language_of: Callable[[Item], str]) -> None:
        self._language_of = language_of
        self._queues: dict[str, deque[Item]] = {}
        """The one whose turn is next comes first; none is empty."""

        self._count = 0

    def __len__(self) -> int:
        """Items of all languages."""
        return self._count

    def add(self, item: Item) -> None:
        """Put an item behind those of its language."""
        self._queues.setdefault(self._language_of(item), deque()).append(item)
        self._count += 1

    def put_back(self, items: Sequence[Item]) -> None:
        """Put items before those of their languages, in their order."""
        for item in reversed(items):
            self._queues.setdefault(self._language_of(item), deque()).appendleft(item)
        self._count += len(items)

    def take(self, most: int) -> list[Item]:
        """Take up to `most` items of as few languages as these have turns."""
        items: list[Item] = []
        while self._queues and len(items) < most:
            language, queue = next(iter(self._queues.items()))
            del self._queues[language]
            while queue and len(items) < most:
                items.append(queue.popleft())
            if queue:
                self._queues[language] = queue  # behind the others
        self._count -= len(items)
        return items
