"""The shape of a corpus row: alternating turns; what the turns say is not here."""

import random
from collections.abc import Callable
from typing import Any

from xtune.demo.world import Share

Row = dict[str, Any]
Maker = Callable[[random.Random, Share], Row]


def chat(*turns: str) -> Row:
    """Return a conversation of alternating user and assistant turns."""
    roles = ("user", "assistant")
    return {
        "messages": [
            {"role": roles[index % 2], "content": text} for index, text in enumerate(turns)
        ]
    }
