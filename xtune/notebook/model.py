"""A model to talk to from Python, with the template it was trained with."""

import os
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from xtune.adapter.open import Opened, open_run
from xtune.data.types import Message
from xtune.evaluate.chat import Chat
from xtune.evaluate.generate import Decoding


class Reply(str):
    """An answer: a string that a notebook shows as text with its lines."""

    def _repr_html_(self) -> str:
        return f'<div dir="auto" style="white-space:pre-wrap">{escape(self)}</div>'


class LoadedModel:
    """What `xtune.load` returns."""

    def __init__(self, opened: Opened) -> None:
        """Begin with an empty conversation."""
        self.opened = opened
        self._chat = Chat(opened)

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, device: str = "auto") -> "LoadedModel":
        """Load a run, an adapter or a model.

        Raises:
            XtuneError: There is none in the folder, or its base cannot be loaded.
        """
        return cls(open_run(Path(folder), device=device))

    @property
    def history(self) -> tuple[Message, ...]:
        """The conversation so far, without the system prompt."""
        return tuple(self._chat.history)

    def chat(
        self,
        prompt: str,
        *,
        system: str | None = None,
        decoding: Decoding | None = None,
        template: Mapping[str, Any] | None = None,
    ) -> Reply:
        """The answer to the next turn of the conversation.

        Args:
            prompt: What is said.
            system: A system prompt, from this turn on.
            decoding: How tokens are chosen; greedy when left out.
            template: Values of the chat template's own variables: `{"enable_thinking": False}`.

        Raises:
            XtuneError: The conversation is longer than the model can read, or its template refuses it.
        """
        return Reply(
            "".join(self.stream(prompt, system=system, decoding=decoding, template=template))
        )

    def stream(
        self,
        prompt: str,
        *,
        system: str | None = None,
        decoding: Decoding | None = None,
        template: Mapping[str, Any] | None = None,
    ) -> Iterator[str]:
        """As `chat`, piece by piece.

        Raises:
            XtuneError: As `chat`.
        """
        chat = self._chat
        if system is not None or decoding is not None or template is not None:
            chat = Chat(
                self.opened,
                decoding=decoding,
                system=system or self._chat.system,
                arguments=template,
            )
            chat.history = self._chat.history
            if system is not None:
                self._chat.system = system
        yield from chat.reply(prompt)

    def reset(self) -> None:
        """Forget the conversation and the system prompt."""
        self._chat = Chat(self.opened)

    def __repr__(self) -> str:
        return f"LoadedModel({str(self.opened.folder)!r})"

    def _repr_html_(self) -> str:
        recipe = self.opened.recipe
        what = f"{recipe.method.type} of {recipe.model.name} on {self.opened.loading.device}"
        said = "".join(
            f'<p dir="auto" style="white-space:pre-wrap"><b>{escape(turn.role)}</b> {escape(turn.content)}</p>'
            for turn in self.history
        )
        return f"<div><b>{escape(str(self.opened.folder))}</b> {escape(what)}{said}</div>"
