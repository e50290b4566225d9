"""Renders conversations with a chat template, exactly as inference does; it does not know what is trained on."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from xtune.data.problems import refuse

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_render: Any = render_jinja_template  # its annotations are narrower than what it accepts
_GENERATION = re.compile(r"\{%-?\+?\s*generation\s*-?%\}")
_RENDER_FAULTS = (
    TemplateError,
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    RecursionError,
)
"""What templates raise: on purpose (raise_exception), or stumbling over a message they do not expect."""


class Unrenderable(Exception):  # noqa: N818 - becomes a DataError with the row's place where that is known
    """The template refuses a conversation; the text says why."""


def read_template(path: str) -> str:
    """The text of a Jinja template file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"The chat template cannot be read: {error}", where=path)
    if not text.strip():
        refuse("The chat template is empty", where=path)
    return text


class ChatTemplate:
    """A tokenizer's own chat template, or another one in its place."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", source: str | None = None) -> None:
        self._tokenizer: Any = tokenizer
        self._source = source
        self.name = "the given chat template" if source else "the tokenizer's chat template"

    def text(self, tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """The template itself; tokenizers may have another one for conversations with tools.

        Raises:
            DataError: There is none.
        """
        try:
            found: str = self._tokenizer.get_chat_template(self._source, list(tools) or None)
        except ValueError:
            refuse(
                "The tokenizer has no chat template, so conversations cannot be rendered",
                advice="name a Jinja file in `data.template`, or choose an instruction-tuned model.",
            )
        return found

    def marks_generation(self, tools: Sequence[Mapping[str, Any]] = ()) -> bool:
        """Whether the template itself says what the assistant writes, with `{% generation %}`."""
        return _GENERATION.search(self.text(tools)) is not None

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        prompt: bool = False,
    ) -> str:
        """The text of a conversation; with `prompt`, followed by what makes the assistant speak.

        Raises:
            Unrenderable: The template refuses it.
        """
        try:
            text: str = self._tokenizer.apply_chat_template(
                list(messages),
                tools=list(tools) or None,
                chat_template=self._source,
                tokenize=False,
                add_generation_prompt=prompt,
            )
        except _RENDER_FAULTS as error:
            raise Unrenderable(_fault(error)) from error
        return text

    def render_marked(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[str, list[tuple[int, int]]]:
        """The text of a conversation and the character spans of its `{% generation %}` blocks.

        Raises:
            Unrenderable: The template refuses it.
        """
        try:
            rendered: Any = _render(
                conversations=[list(messages)],
                tools=list(tools) or None,
                chat_template=self.text(tools),
                return_assistant_tokens_mask=True,
                add_generation_prompt=False,
                **self._tokenizer.special_tokens_map,
            )
        except _RENDER_FAULTS as error:
            raise Unrenderable(_fault(error)) from error
        texts, blocks = rendered
        return texts[0], [(int(start), int(end)) for start, end in blocks[0]]


def _fault(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text if isinstance(error, TemplateError) else f"{type(error).__name__}: {text}"
