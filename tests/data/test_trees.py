"""Message trees: the best-ranked path, by a brute force over all paths, nested and flat; and what is wrong with a tree."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from xtune.data.problems import Problems
from xtune.data.rows import Recogniser, RowReader
from xtune.data.sources import find_files
from xtune.data.types import Conversation, Origin, Record
from xtune.errors import DataError


def read(*values: dict[str, Any]) -> list[list[tuple[str, str]]]:
    records = [Record(value=v, origin=Origin(source="t.jsonl", row=n, line=n + 1)) for n, v in enumerate(values)]  # fmt: skip
    problems = Problems()
    reader = Recogniser(records, "t.jsonl", "auto", {})
    rows = [row for _, row in reader.convert_all(records, problems)]
    problems.raise_any()
    return [[(m.role, m.content) for m in row.messages] for row in rows if isinstance(row, Conversation)]  # fmt: skip


def grow(chance: random.Random, depth: int, counter: list[int]) -> dict[str, Any]:
    counter[0] += 1
    number = counter[0]
    count = chance.randint(0, 3) if depth < 5 else 0
    ranks = chance.sample(range(count), count)
    replies = [grow(chance, depth + 1, counter) for _ in range(count)]
    for reply, rank in zip(replies, ranks, strict=True):
        reply["rank"] = rank if chance.random() < 0.8 else None
        reply["deleted"] = chance.random() < 0.1
        reply["review_result"] = chance.random() > 0.1
    role = "assistant" if depth % 2 else "prompter"
    return {
        "message_id": str(number),
        "role": role,
        "text": f"text {number}",
        "rank": None,
        "replies": replies,
    }


def paths(node: dict[str, Any], key: tuple[Any, ...] = ()) -> list[tuple[Any, list[str]]]:
    """Every path from the root to a leaf with its ranks: the best path is the smallest key."""
    good = [r for r in node["replies"] if not r.get("deleted") and r.get("review_result") is not False]  # fmt: skip
    if not good:
        return [(key, [node["text"]])]
    found = []
    for index, reply in enumerate(good):
        rank = float("inf") if reply["rank"] is None else reply["rank"]
        found += [(k, [node["text"], *t]) for k, t in paths(reply, (*key, (rank, index)))]
    return found


def flat(node: dict[str, Any], parent: str | None = None) -> list[dict[str, Any]]:
    own = {key: value for key, value in node.items() if key != "replies"}
    below = [row for reply in node["replies"] for row in flat(reply, node["message_id"])]
    return [{**own, "parent_id": parent, "message_tree_id": "x"}, *below]


@pytest.mark.parametrize("seed", range(12))
def test_the_best_ranked_path_is_taken_from_nested_and_from_flat_trees(seed: int) -> None:
    chance = random.Random(seed)
    counter = [0]
    trees = [grow(chance, 0, counter) for _ in range(4)]
    expected = [min(paths(tree))[1] for tree in trees]
    assert [[text for _, text in row] for row in read(*trees)] == expected
    wrapped = [{"message_tree_id": "x", "tree_state": "ready", "prompt": tree} for tree in trees]
    assert [[text for _, text in row] for row in read(*wrapped)] == expected
    rows = [row for tree in trees for row in flat(tree)]
    assert [[text for _, text in row] for row in read(*rows)] == expected
    order = {tree["text"]: text for tree, text in zip(trees, expected, strict=True)}
    chance.shuffle(rows)
    shuffled = [[text for _, text in row] for row in read(*rows)]
    assert {row[0]: row for row in shuffled}.keys() == order.keys()


def test_roles_are_ours() -> None:
    answer = {"message_id": "2", "role": "assistant", "text": "A", "rank": 0, "replies": []}
    tree = {"message_id": "1", "role": "prompter", "text": "Q", "replies": [answer]}
    assert read(tree) == [[("user", "Q"), ("assistant", "A")]]


def test_what_is_left_out_of_trees_is_counted(tmp_path: Path) -> None:
    replies = [{"role": "assistant", "text": f"A{n}", "rank": n, "replies": []} for n in range(3)]
    trees = [
        {"message_id": "1", "role": "prompter", "text": "Q", "replies": replies},
        {"message_id": "2", "role": "prompter", "text": "bad", "deleted": True, "replies": replies},
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(tree) + "\n" for tree in trees))
    (file,) = find_files([str(path)])
    reader = RowReader(file, Problems())
    assert len(list(reader)) == 1
    assert reader.left_out == {
        "replies beside the best-ranked path": 2,
        "trees whose prompt was turned down": 1,
    }


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"message_id": "1", "role": "king", "text": "T", "replies": []}], "`role` is the text 'king'"),
        (
            [{"message_id": "1", "role": "prompter", "text": "T", "replies": [{"role": "assistant", "text": 5}]}],
            r"`replies\[0\].text` is the number 5",
        ),
        ([{"message_id": "1", "role": "prompter", "text": "T", "replies": 7}], "`replies` is the number 7"),
        ([{"message_id": "1", "role": "prompter", "text": "T", "replies": ["x"]}], r"`replies\[0\]` is the text"),
        ([{"message_id": "2", "parent_id": "1", "role": "assistant", "text": "T"}], "`parent_id` '1' is the id of no message"),
        ([{"message_id": "1", "role": "prompter", "text": "T"}] * 2, "`message_id` '1' was there before"),
        (
            [{"message_id": "1", "parent_id": "2", "role": "prompter", "text": "T"}, {"message_id": "2", "parent_id": "1", "role": "assistant", "text": "T"}],
            "2 messages reply to one another in a circle",
        ),
        ([{"message_id": 1, "role": "prompter", "text": "T"}], "`message_id` is the number 1"),
    ],
)  # fmt: skip
def test_a_broken_tree_is_told_with_field_and_finding(
    rows: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read(*rows)
    assert "t.jsonl:" in str(caught.value)
