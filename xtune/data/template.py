"""Renders conversations with a chat template, exactly as inference does; it does not know what is trained on."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import meta, nodes
from jinja2.exceptions import TemplateError, TemplateSyntaxError
from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

from xtune.data.problems import refuse
from xtune.data.quick_render import QuickTemplates
from xtune.data.wants import Wants, learn_wants

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_render: Any = render_jinja_template  # its annotations are narrower than what it accepts
_compiled: Any = _compile_jinja_template
_GENERATION = re.compile(r"\{%-?\+?\s*generation\s*-?%\}")
NOTHING = "(?!)"
"""A pattern that never matches."""

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


_NAMES = frozenset({
    "role", "content", "user", "assistant", "system", "developer", "tool", "function", "ipython", "model",
    "name", "type", "text", "string", "object", "array", "tool_calls", "arguments", "parameters",
    "reasoning_content", "thinking", "reasoning", "image", "video",
})  # fmt: skip
"""Words that templates compare roles, types and keys with; texts hold them by chance."""


_GIVEN = frozenset(
    {"messages", "tools", "add_generation_prompt", "raise_exception", "strftime_now"}
)
"""Names that transformers gives templates (`render_jinja_template`, 5.23)."""


class Unrenderable(Exception):  # noqa: N818 - becomes a DataError with the row's place where that is known
    """The template refuses a conversation; the text says why."""


def read_template(path: str) -> str:
    """The text of a Jinja template file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except FileNotFoundError:
        refuse(f"`{path}` does not exist", where="chat template")
    except UnicodeDecodeError as error:
        refuse(f"The chat template is not UTF-8: {error}", where=path)
    except OSError as error:
        refuse(f"The chat template cannot be read: {error.strerror or error}", where=path)
    if not text.strip():
        refuse("The chat template is empty", where=path)
    return text


class ChatTemplate:
    """A tokenizer's own chat template, or another one in its place."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", source: str | None = None) -> None:
        self._tokenizer: Any = tokenizer
        self._source = source
        self.name = "the given chat template" if source else "the tokenizer's chat template"
        self._marks: dict[str, bool] = {}
        self._reactions: dict[str, re.Pattern[str]] = {}
        self._quick = QuickTemplates(tokenizer)
        self._wants: dict[str, Wants] = {}
        self._variables: dict[str, frozenset[str]] = {}

    @property
    def tokenizer(self) -> Any:
        """The tokenizer whose special tokens the template uses."""
        return self._tokenizer

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
        text = self.text(tools)
        if text not in self._marks:
            self._marks[text] = _GENERATION.search(text) is not None
        return self._marks[text]

    def reactions(self, tools: Sequence[Mapping[str, Any]] = ()) -> "re.Pattern[str]":
        """Matches what the template may look for in a message's text: `</think>`, say, or `/no_think`.

        Raises:
            DataError: There is no template.
        """
        text = self.text(tools)
        if text not in self._reactions:
            found = sorted(_looked_for(text), key=lambda name: (-len(name), name))
            self._reactions[text] = re.compile("|".join(map(re.escape, found)) or NOTHING)
        return self._reactions[text]

    @property
    def _key(self) -> str | None:
        """The template of conversations without tools; None where it is one of several, or there is none."""
        own = self._tokenizer.chat_template
        return self._source or (own if isinstance(own, str) else None)

    def wants(self, tools: Sequence[Mapping[str, Any]] = ()) -> Wants:
        """In which shape the template takes messages, learned once.

        Raises:
            DataError: There is no template.
        """
        text = self.text(tools)
        if text not in self._wants:
            self._wants[text] = Wants()
            self._wants[text] = learn_wants(self._tried)
        return self._wants[text]

    def _tried(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> str | None:
        try:
            return self.render(messages, tools)
        except Unrenderable:
            return None

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        prompt: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> str:
        """The text of a conversation; with `prompt`, followed by what makes the assistant speak.

        Args:
            messages: As templates take them.
            tools: Tools that the model is told of.
            prompt: As said.
            arguments: Values of the template's own variables: `enable_thinking`, say.

        Raises:
            Unrenderable: The template refuses it, or has no such variable.
        """
        how = "prompt" if prompt else "whole"
        shaped = self.wants(tools).shaped(messages)
        if arguments:
            self._check_arguments(arguments, tools)
            how = ""
        try:
            if how and (quick := self._quick.find(self._key or "", shaped, tools, how)) is not None:
                return quick.render(shaped, prompt=prompt)
            text: str = self._tokenizer.apply_chat_template(
                shaped,
                tools=list(tools) or None,
                chat_template=self._source,
                tokenize=False,
                add_generation_prompt=prompt,
                **(arguments or {}),
            )
        except _RENDER_FAULTS as error:
            raise Unrenderable(_fault(error)) from error
        if how and self._key is not None:
            self._quick.learn(self._key, shaped, tools, how, text)
        return text

    def variables(self, tools: Sequence[Mapping[str, Any]] = ()) -> frozenset[str]:
        """Names that the template reads and a person may give values for.

        Raises:
            DataError: There is no template.
        """
        text = self.text(tools)
        if text not in self._variables:
            try:
                found = meta.find_undeclared_variables(_compiled(text).environment.parse(text))
            except TemplateError:
                found = set()
            self._variables[text] = frozenset(
                found - _GIVEN - set(self._tokenizer.special_tokens_map)
            )
        return self._variables[text]

    def _check_arguments(
        self, arguments: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]
    ) -> None:
        known = self.variables(tools)
        strange = next((name for name in arguments if name not in known), None)
        if strange is None:
            return
        near = difflib.get_close_matches(strange, known, n=1)
        has = (
            f"it has {', '.join(f'`{name}`' for name in sorted(known))}" if known else "it has none"
        )
        hint = f"; did you mean `{near[0]}`?" if near else ""
        raise Unrenderable(f"there is no variable `{strange}` to set in it ({has}){hint}")

    def render_marked(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[str, list[tuple[int, int]]]:
        """The text of a conversation and the character spans of its `{% generation %}` blocks.

        Raises:
            Unrenderable: The template refuses it.
        """
        shaped = self.wants(tools).shaped(messages)
        try:
            if (quick := self._quick.find(self._key or "", shaped, tools, "marked")) is not None:
                return quick.render_marked(shaped)
            rendered: Any = _render(
                conversations=[shaped],
                tools=list(tools) or None,
                chat_template=self.text(tools),
                return_assistant_tokens_mask=True,
                add_generation_prompt=False,
                **self._tokenizer.special_tokens_map,
            )
        except _RENDER_FAULTS as error:
            raise Unrenderable(_fault(error)) from error
        texts, found = rendered
        blocks = [(int(start), int(end)) for start, end in found[0]]
        if self._key is not None:
            self._quick.learn(self._key, shaped, tools, "marked", (texts[0], blocks))
        return texts[0], blocks


def _looked_for(template: str) -> set[str]:
    """Constants that a template compares, splits or replaces with, rather than only writes."""
    try:
        tree = _compiled(template).environment.parse(template)
    except TemplateError:
        return set()
    users = (
        nodes.Compare,
        nodes.Operand,
        nodes.Call,
        nodes.Filter,
        nodes.Test,
        nodes.Assign,
        nodes.List,
        nodes.Tuple,
    )
    found = {
        constant.value
        for user in tree.find_all(users)
        for constant in _constants(user)
        if isinstance(constant.value, str)
    }
    return {name for name in found if name.strip() and name not in _NAMES}


def _constants(node: nodes.Node) -> Iterator[nodes.Const]:
    """Constants in a node that are not merely written as part of a longer text."""
    for child in node.iter_child_nodes():
        if isinstance(child, nodes.Const):
            yield child
        elif isinstance(child, nodes.CondExpr):
            yield from _constants(child)


def _fault(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    if isinstance(error, TemplateSyntaxError):
        return f"{error.message} in its line {error.lineno}"
    return text if isinstance(error, TemplateError) else f"{type(error).__name__}: {text}"
