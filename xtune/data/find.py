"""Renders conversations and finds the spans of their messages: by a skeleton where that serves, else by a proof of its own."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from xtune.data.skeleton import Skeleton, fill, stand_ins, take_apart
from xtune.data.spans import Rendered, SpanProver, Unproven
from xtune.data.template import NOTHING, ChatTemplate, Unrenderable
from xtune.data.types import Conversation

_SKELETONS = 4096
"""Skeletons kept; data sets have tens of role sequences, a long tail costs only time."""


class SpanFinder:
    """Renders conversations with one template and finds the spans of their messages."""

    def __init__(self, template: ChatTemplate) -> None:
        self.template = template
        self.prover = SpanProver(template)
        self._skeletons: dict[tuple[Any, ...], Skeleton | None] = {}

    def find(self, conversation: Conversation, wanted: Sequence[int]) -> Rendered:
        """Render a conversation and prove the spans of the messages `wanted`.

        Raises:
            DataError: There is no template.
            Unrenderable: The template refuses the conversation.
            Unproven: A wanted message cannot be located beyond doubt.
        """
        messages = [message.for_template() for message in conversation.messages]
        text, blocks = self._render(messages, conversation.tools, wanted)
        skeleton = self._skeleton_of(conversation, wanted)
        filled = None if skeleton is None else fill(skeleton, conversation, text, blocks)
        return filled or self.prover.prove(conversation, messages, wanted, text, blocks)

    def _render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        wanted: Sequence[int],
    ) -> tuple[str, list[tuple[int, int]] | None]:
        if wanted and self.template.marks_generation(tools):
            return self.template.render_marked(messages, tools)
        return self.template.render(messages, tools), None

    def _skeleton_of(self, conversation: Conversation, wanted: Sequence[int]) -> Skeleton | None:
        looks_for = self.template.reactions(conversation.tools)
        for message in conversation.messages:
            if message.extra and any(not isinstance(text, str) for text in message.extra.values()):
                return None
            if looks_for.pattern != NOTHING and (
                looks_for.search(message.content)
                or any(looks_for.search(text) for text in message.extra.values())
            ):
                return None
        shape = tuple((message.role, *message.extra) for message in conversation.messages)
        tools = json.dumps(conversation.tools, sort_keys=True) if conversation.tools else ""
        key = (shape, tools, tuple(wanted))
        if key not in self._skeletons:
            if len(self._skeletons) >= _SKELETONS:
                self._skeletons.clear()
            self._skeletons[key] = self._make(conversation, wanted)
        return self._skeletons[key]

    def _make(self, conversation: Conversation, wanted: Sequence[int]) -> Skeleton | None:
        bare = stand_ins(conversation)
        if bare is None:
            return None
        messages = [message.for_template() for message in bare.messages]
        try:
            text, blocks = self._render(messages, bare.tools, wanted)
            proven = self.prover.prove(bare, messages, wanted, text, blocks)
        except (Unrenderable, Unproven):
            return None
        return take_apart(proven, blocks)
