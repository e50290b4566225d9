"""Renders plain conversations with the very template that transformers compiles, without what it does around it for others.

Plain are messages of texts alone, without reasoning or tools: of them transformers makes copies, a table of
all global names and of the special tokens, and a search for `{% generation %}`, anew for each; the template
sees the same here, which is checked on the first conversation of every sequence of roles.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers.utils.chat_template_utils import _compile_jinja_template

from xtune.data.light import RENDERS, has_own_way

_compile: Any = _compile_jinja_template
_REASONING = frozenset({"reasoning_content", "reasoning", "thinking"})
"""Names of one thing, which transformers gives templates under several of them."""


class QuickTemplate:
    """A compiled template with the names that it sees."""

    def __init__(self, text: str, special: Mapping[str, Any]) -> None:
        """Compile a template.

        Args:
            text: The template.
            special: The tokenizer's special tokens by their names in templates.

        Raises:
            TemplateSyntaxError: It is malformed.
        """
        self._compiled = _compile(text)
        self._names = {**self._compiled.globals, "tools": None, "documents": None, **special}

    def render(self, messages: Sequence[Mapping[str, Any]], *, prompt: bool) -> str:
        """The text of plain messages; raises what the template raises."""
        return "".join(self._pieces(messages, prompt=prompt))

    def render_marked(
        self, messages: Sequence[Mapping[str, Any]]
    ) -> tuple[str, list[tuple[int, int]]]:
        """The text of plain messages, and the first and behind-last letters of its `{% generation %}` blocks."""
        pieces: list[str] = []
        blocks: list[tuple[int, int]] = []
        with self._compiled.environment.activate_tracker(pieces, blocks):
            for piece in self._pieces(messages, prompt=False):
                pieces.append(piece)  # noqa: PERF402 - the tracker looks at them while they come
        return "".join(pieces), blocks

    def _pieces(self, messages: Sequence[Mapping[str, Any]], *, prompt: bool) -> Any:
        names = {
            **self._names,
            "messages": [dict(message) for message in messages],
            "add_generation_prompt": prompt,
        }
        return self._compiled.root_render_func(self._compiled.new_context(names, shared=True))


class QuickTemplates:
    """Templates of one tokenizer; each serves for a sequence of roles once it gave there what transformers gave."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._made: dict[str, QuickTemplate | None] = {}
        self._proven: set[tuple[Any, ...]] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"_tokenizer": self._tokenizer, "_made": {}, "_proven": set()}

    def find(
        self, text: str, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any], how: str
    ) -> QuickTemplate | None:
        """What may render messages; None where transformers' own way is needed.

        Args:
            text: The template.
            messages: Messages as templates expect them.
            tools: Tool descriptions.
            how: "whole", "prompt" or "marked".
        """
        if not is_plain(messages, tools) or (text, how, *_shape(messages)) not in self._proven:
            return None
        return self._made[text]

    def learn(
        self, text: str, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any], how: str, result: Any
    ) -> None:  # fmt: skip
        """Compare with what transformers made of messages; the arguments are those of `find`."""
        if not is_plain(messages, tools):
            return
        if text not in self._made:
            self._made[text] = _made(self._tokenizer, text)
        quick = self._made[text]
        if quick is None:
            return
        if (quick.render_marked(messages) if how == "marked" else quick.render(messages, prompt=how == "prompt")) != result:  # fmt: skip
            self._made[text] = None
            self._proven.clear()
            return
        if len(self._proven) >= _SHAPES:
            self._proven.clear()
        self._proven.add((text, how, *_shape(messages)))


_SHAPES = 4096
"""Sequences of roles that are remembered; data sets have tens."""


def _shape(messages: Sequence[Mapping[str, Any]]) -> list[Any]:
    return [(message["role"], *message) for message in messages]


def _made(tokenizer: Any, text: str) -> QuickTemplate | None:
    special = tokenizer.special_tokens_map
    if has_own_way(tokenizer, RENDERS) or not all(type(token) is str for token in special.values()):
        return None
    return QuickTemplate(text, special)


def is_plain(messages: Sequence[Any], tools: Sequence[Any]) -> bool:
    """Whether transformers would change nothing of the messages."""
    return (
        bool(messages)
        and not tools
        and all(
            type(text) is str and key not in _REASONING
            for message in messages
            for key, text in message.items()
        )
    )
