"""Message trees of Open Assistant, nested or as a flat table: from each tree its best-ranked path; it reads no files.

A tree holds several answers to a prompt. Trained on every path, the turns near the root would be
seen many times over; so one conversation is taken from a tree: at each turn the reply that people
ranked best (rank 0; the first one where none is ranked), until a turn has no reply. Replies that
were deleted or failed review are passed over, and so is a tree whose prompt was. What is left out
is counted.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from xtune.data.problems import described
from xtune.data.turns import ROLES, Misfit, reject, text_of
from xtune.data.types import Message, Origin, Record

MOST_MESSAGES = 2_000_000
"""Messages of one flat table, which are in memory together; the largest published one has about 160,000."""


def is_message(keys: frozenset[str]) -> bool:
    """Whether a row with these columns is a message of a tree, with its replies or without."""
    return keys >= {"message_id", "role", "text"} or keys >= {"message_tree_id", "prompt"}


def is_flat(value: object) -> bool:
    """Whether a row is a message of a flat table, in which replies name their parent."""
    return (
        isinstance(value, Mapping)
        and value.get("replies") is None
        and not isinstance(value.get("prompt"), Mapping)
        and is_message(frozenset(key for key, item in value.items() if item is not None))
    )


def tree_messages(fields: Mapping[str, Any]) -> list[Message]:
    """The best-ranked path of a tree, from the prompt to a message without replies.

    Raises:
        Misfit: A message of the path has no known role or no text.
    """
    prompt = fields.get("prompt")
    node: Mapping[str, Any] | None = prompt if isinstance(prompt, Mapping) else fields
    place = "prompt" if isinstance(prompt, Mapping) else ""
    messages = []
    while node is not None:
        messages.append(_message(node, place))
        replies = node.get("replies")
        if replies is not None and not isinstance(replies, list):
            reject(_field(place, "replies"), replies, "a list of messages")
        node, place = _best(replies or [], place)
    return messages


def _best(replies: list[Any], place: str) -> tuple[Mapping[str, Any] | None, str]:
    best = None
    for index, reply in enumerate(replies):
        at = _field(place, f"replies[{index}]")
        if not isinstance(reply, Mapping):
            reject(at, reply, "a message")
        if is_turned_down(reply):
            continue
        if best is None or _rank(reply, at) < _rank(*best):
            best = reply, at
    return best or (None, "")


def _rank(reply: Mapping[str, Any], place: str) -> float:
    rank = reply.get("rank")
    if rank is None:
        return float("inf")
    if isinstance(rank, bool) or not isinstance(rank, (int, float)):
        reject(_field(place, "rank"), rank, "a number")
    return rank


def _message(node: Mapping[str, Any], place: str) -> Message:
    role = node.get("role")
    ours = ROLES.get(role.strip().lower()) if isinstance(role, str) else None
    if ours not in {"user", "assistant"}:
        reject(_field(place, "role"), role, "`prompter` or `assistant`")
    return Message(role=str(ours), content=text_of(node.get("text"), _field(place, "text")))


def _field(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def is_turned_down(tree: Mapping[str, Any]) -> bool:
    """Whether a tree's prompt, or a reply, was deleted or failed review."""
    prompt = tree.get("prompt")
    node = prompt if isinstance(prompt, Mapping) else tree
    return node.get("deleted") is True or node.get("review_result") is False


def tree_size(tree: Mapping[str, Any]) -> int:
    """How many messages a tree has."""
    prompt = tree.get("prompt")
    size, todo = 0, [prompt if isinstance(prompt, Mapping) else tree]
    while todo:
        node = todo.pop()
        size += 1
        replies = node.get("replies")
        if isinstance(replies, list):
            todo += [reply for reply in replies if isinstance(reply, Mapping)]
    return size


class Tree(NamedTuple):
    """A tree that was put together, with the place of its prompt."""

    origin: Origin
    root: Mapping[str, Any]


class MessageTable:
    """Messages of a flat table, kept until the file ends: a reply may stand anywhere in it."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, Any]] = {}
        self._roots: list[tuple[Origin, dict[str, Any]]] = []
        self._waiting: list[tuple[Origin, str, dict[str, Any]]] = []
        self._orphans = 0

    def __bool__(self) -> bool:
        """Whether there is a message in it."""
        return bool(self._nodes)

    def add(self, record: Record) -> None:
        """Keep one message.

        Raises:
            Misfit: It has no id of its own, or there are too many.
        """
        value = record.value
        if not isinstance(value, Mapping):
            raise Misfit(f"The row is {described(value)}", "a row of a message table is an object")
        identity, parent = value.get("message_id"), value.get("parent_id")
        if not isinstance(identity, str):
            reject("message_id", identity, "a text")
        if identity in self._nodes:
            raise Misfit(f"`message_id` {identity!r} was there before", "every message has its own")
        if parent is not None and not isinstance(parent, str):
            reject("parent_id", parent, "a text, or null for a prompt")
        if len(self._nodes) == MOST_MESSAGES:
            raise Misfit(
                f"The table has more than {MOST_MESSAGES:,} messages",
                "they are in memory together",
                "split the file between two trees.",
            )
        keep = ("role", "text", "rank", "deleted", "review_result")
        node: dict[str, Any] = {key: value.get(key) for key in keep}
        self._nodes[identity] = node
        if parent:
            self._waiting.append((record.origin, parent, node))
        else:
            self._roots.append((record.origin, node))

    def trees(self) -> Iterator["Tree | tuple[Origin, Misfit]"]:
        """The trees in the order of their prompts, and what is wrong with the table."""
        for origin, parent, node in self._waiting:
            above = self._nodes.get(parent)
            if above is None:
                self._orphans += 1
                misfit = Misfit(
                    f"`parent_id` {parent!r} is the id of no message",
                    "a table holds whole trees",
                )
                yield origin, misfit
            else:
                above.setdefault("replies", []).append(node)
        reached = 0
        for origin, root in self._roots:
            reached += tree_size(root)
            yield Tree(origin, root)
        if reached < len(self._nodes) and not self._orphans:
            count = len(self._nodes) - reached
            misfit = Misfit(
                f"{count} messages reply to one another in a circle", "a tree has a root"
            )
            yield self._waiting[-1][0], misfit
