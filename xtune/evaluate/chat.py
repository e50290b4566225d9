"""A conversation with a model in a terminal: history, commands, answers as they come. The command line is in `xtune.cli`."""

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from xtune.adapter.open import Opened, open_run
from xtune.data.types import Conversation, Message, Origin
from xtune.errors import RunError, Terminated, XtuneError
from xtune.evaluate.compare import base_only
from xtune.evaluate.evaluate import make_encoder
from xtune.evaluate.generate import Decoding, positions_left, stream
from xtune.run.folder import RECIPE

HELP = (
    "Commands: /reset forgets the conversation, /system TEXT sets the system prompt, /set NAME=VALUE changes a setting "
    "(/set shows them), /help, /exit ends. Ctrl-C stops an answer."
)

LIMITS: Mapping[str, tuple[float, float]] = {
    "temperature": (0.0, math.inf),
    "top_p": (0.0, 1.0),
    "top_k": (0, math.inf),
    "seed": (-math.inf, math.inf),
    "max_new_tokens": (1, math.inf),
}
"""What /set knows, with the least and the most of each."""

WHOLE = frozenset({"top_k", "seed", "max_new_tokens"})
"""Those that are whole numbers."""

HERE = Origin(source="chat", row=0)

ANSWER_TOKENS = 1024
"""Longest answer unless a decoding says otherwise."""


class Chat:
    """A conversation with an opened run.

    A model that was trained on plain texts goes on with what it is given; it has no turns, and so
    no history.
    """

    def __init__(
        self,
        opened: Opened,
        *,
        decoding: Decoding | None = None,
        system: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        base: bool = False,
    ) -> None:
        """Begin.

        Args:
            opened: The model with its tokenizer and recipe.
            decoding: How answers are chosen; greedy when left out, so that they can be repeated.
            system: The system prompt, if there is to be one.
            arguments: Values of the chat template's own variables: `{"enable_thinking": False}`.
            base: Talk to the model without its adapter, which stays switched on for others.
        """
        self._model = partial(base_only, opened.model) if base else nullcontext
        self._opened = opened
        self.decoding = decoding or Decoding(max_new_tokens=ANSWER_TOKENS)
        self._continues = opened.recipe.stage == "pretrain"
        self._encoder = make_encoder(opened.recipe, opened.tokenizer)
        self.system = system or None
        self.arguments = dict(arguments or {})
        self.history: list[Message] = []
        self._answers = 0

    def reply(self, text: str) -> Generator[str, None, None]:
        """The answer, piece by piece; then both turns are part of the history, the answer as far as it came.

        Raises:
            DataError: The chat template refuses the conversation.
            XtuneError: The question is no Unicode text, or the conversation longer than the model can read.
        """
        if not _is_unicode(text):
            raise XtuneError(
                "The question is not text in UTF-8.", advice="Check the terminal's encoding."
            )
        question = Message(role="user", content=text)
        prompt = self._prompt(question)
        # answers of one conversation draw other numbers: the same question twice may be answered twice
        decoding = replace(
            self.decoding,
            max_new_tokens=self._room(len(prompt)),
            seed=self.decoding.seed + self._answers,
        )
        self._answers += 1
        pieces: list[str] = []
        try:
            with self._model(), closing(self._stream(prompt, decoding)) as answer:
                for piece in answer:
                    pieces.append(piece)
                    yield piece
        finally:
            if pieces and not self._continues:
                given = Message(role="assistant", content="".join(pieces))
                self.history += [question, given]

    def _stream(self, prompt: list[int], decoding: Decoding) -> Generator[str, None, None]:
        return stream(self._opened.model, self._opened.tokenizer, prompt, decoding)

    def reset(self) -> None:
        """Forget the conversation; the system prompt and the settings stay."""
        self.history.clear()
        self._answers = 0

    def set(self, assignment: str) -> None:
        """Change how answers are chosen: `temperature=0.7`.

        Raises:
            XtuneError: There is no such setting, or it takes no such value.
        """
        name, sign, text = (part.strip() for part in assignment.partition("="))
        name = name.replace("-", "_")
        if name not in LIMITS or not sign:
            raise XtuneError(f"/set takes NAME=VALUE; the names are {', '.join(LIMITS)}.")
        whole = name in WHOLE
        least, most = LIMITS[name]
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            kind = "a whole number" if whole else "a number"
            raise XtuneError(f"{name} is {text or 'empty'}; it must be {kind}.") from None
        if not (least <= value <= most and math.isfinite(value)):
            above = f"at least {least:g}" if math.isinf(most) else f"between {least:g} and {most:g}"
            raise XtuneError(f"{name} is {text}; it must be {above}.")
        changed: dict[str, Any] = {name: value}
        self.decoding = replace(self.decoding, **changed)

    def settings(self) -> str:
        """The settings as /set takes them."""
        return " ".join(f"{name}={getattr(self.decoding, name)}" for name in LIMITS)

    def _prompt(self, question: Message) -> list[int]:
        if self._continues:
            if self.arguments:
                raise XtuneError(
                    "The model continues texts; there is no template to set variables of."
                )
            # no end-of-text token at the end, which some tokenizers would add
            tokenizer = self._opened.tokenizer
            ids: list[int] = tokenizer(question.content)["input_ids"]
            return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids
        system = [Message(role="system", content=self.system)] if self.system else []
        # an answer to come: what precedes it is the prompt
        messages = (*system, *self.history, question, Message(role="assistant", content=""))
        return self._encoder.prompt(Conversation(messages=messages, origin=HERE), self.arguments)

    def _room(self, prompt_tokens: int) -> int:
        wanted = self.decoding.max_new_tokens
        if prompt_tokens == 0:
            raise XtuneError("There is nothing to continue.", advice="Write something.")
        left = positions_left(self._opened.model, prompt_tokens)
        if left < 1:
            raise XtuneError(
                f"The conversation has {prompt_tokens} tokens; the model reads {prompt_tokens + left}.",
                advice="Start again with /reset.",
            )
        return int(min(wanted, left))


def _is_unicode(text: str) -> bool:
    """Whether nothing in the text is a byte that could not be decoded."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def base_chat(folder: Path, opened: Opened, chat: Chat) -> Chat:
    """The same talk with the base: the opened model without its adapter, or what a full fine-tune started from.

    Args:
        folder: What was opened.
        opened: The tuned model. Of a full fine-tune the base is opened beside it, and both are in memory.
        chat: The talk with the tuned model, whose settings it takes over.

    Raises:
        RunError: The folder holds a model but does not say what it was before.
    """
    same: dict[str, Any] = {
        "decoding": chat.decoding,
        "system": chat.system,
        "arguments": chat.arguments,
    }
    if hasattr(opened.model, "disable_adapter"):
        return Chat(opened, base=True, **same)
    if not (folder / RECIPE).exists():
        raise RunError(
            f"{folder} holds a model but does not say what it was before.",
            advice=f"Give the run's folder, the one with {RECIPE}.",
        )
    return Chat(open_run(folder, base_only=True), **same)


def answer_both(chat: Chat, base: Chat | None, text: str, write: Callable[[str], object]) -> None:
    """Write the answer; with a base, its answer first, both under their names."""
    for name, side in (("base model: ", base), ("tuned: " if base else "", chat)):
        if side is None:
            continue
        write(name)
        # closed at once when interrupted, so that the model stops
        with closing(side.reply(text)) as pieces:
            for piece in pieces:
                write(piece)
        write("\n")


def converse(
    chat: Chat,
    *,
    base: Chat | None = None,
    read: Callable[[str], str] = input,
    write: Callable[[str], object],
) -> None:
    """Read and answer until /exit, the end of the input, or Ctrl-C at the prompt.

    Ctrl-C while an answer comes stops that answer; SIGTERM ends everything.

    Args:
        chat: The conversation.
        base: The same one with the base model, whose answers are shown, too; each goes on from its own.
        read: Asks for a line, given the prompt to show; raises EOFError at the end of the input.
        write: Shows text at once, as it is, without a line end of its own.

    Raises:
        Terminated: SIGTERM came.
    """
    write(f"{HELP}\n")
    while True:
        try:
            line = read("> ").strip()
        except Terminated:
            raise
        except (EOFError, KeyboardInterrupt):
            write("\n")
            return
        if line == "/exit":
            return
        if line.startswith("/"):
            said = [_obey(side, line) for side in (base, chat) if side is not None]
            write(f"{said[-1]}\n")
        elif line:
            _answer(chat, base, line, write)


def _obey(chat: Chat, line: str) -> str:
    command, _, rest = line.partition(" ")
    if command == "/reset":
        chat.reset()
        return "The conversation is forgotten."
    if command == "/system":
        chat.system = rest.strip() or None
        chat.reset()
        return (
            f"System prompt {'set' if chat.system else 'removed'}; the conversation starts again."
        )
    if command == "/set":
        try:
            if rest.strip():
                chat.set(rest)
        except XtuneError as error:
            return str(error)
        return chat.settings()
    return HELP if command == "/help" else f"There is no command {command}. {HELP}"


def _answer(chat: Chat, base: Chat | None, line: str, write: Callable[[str], object]) -> None:
    try:
        answer_both(chat, base, line, write)
    except Terminated:
        raise
    except KeyboardInterrupt:
        write(" [stopped]\n")
    except XtuneError as error:
        write(f"{error}\n")
