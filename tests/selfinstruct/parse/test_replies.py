"""Replies in 209 layouts of 13 languages, written by hand with what a reader would take from each."""

from pathlib import Path

import pytest
import yaml

from selfinstruct.parse import parse_reply

REPLIES = yaml.safe_load(Path(__file__).with_name("replies.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("reply", REPLIES, ids=[reply["name"] for reply in REPLIES])
def test_a_reply_is_read_as_a_person_reads_it(reply):
    parsed = parse_reply(reply["text"], reply["finish_reason"], reply["language"])

    found = [[task.instruction, task.input, task.output] for task in parsed.tasks]
    assert found == reply["tasks"]
    assert [drop.reason for drop in parsed.dropped] == reply["dropped"]


def test_labels_of_all_languages_do_not_need_the_language_named():
    read = [
        len(parse_reply(reply["text"], reply["finish_reason"]).tasks) == len(reply["tasks"])
        for reply in REPLIES
    ]
    assert sum(read) >= 0.95 * len(read)
