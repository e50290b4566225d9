"""A conversation with a model in a terminal: history, commands, answers as they come. The command line is in `xtune.cli`."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace

from xtune.adapter.open import Opened
from xtune.data.types import Conversation, Message, Origin
from xtune.errors import Terminated, XtuneError
from xtune.evaluate.evaluate import make_encoder
from xtune.evaluate.generate import Decoding, positions_left, stream

HELP = "Commands: /reset forgets the conversation, /system TEXT sets the system prompt, /exit ends."

HERE = Origin(source="chat", row=0)

ANSWER_TOKENS = 1024
"""Longest answer unless a decoding says otherwise."""


class Chat:
    """A conversation with an opened run.

    A model that was trained on plain texts goes on with what it is given; it has no turns, and so
    no history.
    """

    def __init__(
        self, opened: Opened, *, decoding: Decoding | None = None, system: str | None = None
    ) -> None:
        """Begin.

        Args:
            opened: The model with its tokenizer and recipe.
            decoding: How answers are chosen; greedy when left out, so that they can be repeated.
            system: The system prompt, if there is to be one.
        """
        self._opened = opened
        self._decoding = decoding or Decoding(max_new_tokens=ANSWER_TOKENS)
        self._continues = opened.recipe.stage == "pretrain"
        self._encoder = make_encoder(opened.recipe, opened.tokenizer)
        self.system = system or None
        self.history: list[Message] = []

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
        decoding = replace(self._decoding, max_new_tokens=self._room(len(prompt)))
        pieces: list[str] = []
        try:
            for piece in stream(self._opened.model, self._opened.tokenizer, prompt, decoding):
                pieces.append(piece)
                yield piece
        finally:
            if pieces and not self._continues:
                answer = Message(role="assistant", content="".join(pieces))
                self.history += [question, answer]

    def reset(self) -> None:
        """Forget the conversation; the system prompt stays."""
        self.history.clear()

    def _prompt(self, question: Message) -> list[int]:
        if self._continues:
            # no end-of-text token at the end, which some tokenizers would add
            tokenizer = self._opened.tokenizer
            ids: list[int] = tokenizer(question.content)["input_ids"]
            return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids
        system = [Message(role="system", content=self.system)] if self.system else []
        # an answer to come: what precedes it is the prompt
        messages = (*system, *self.history, question, Message(role="assistant", content=""))
        return self._encoder.prompt(Conversation(messages=messages, origin=HERE))

    def _room(self, prompt_tokens: int) -> int:
        wanted = self._decoding.max_new_tokens
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


def converse(
    chat: Chat,
    *,
    read: Callable[[str], str] = input,
    write: Callable[[str], object],
) -> None:
    """Read and answer until /exit, the end of the input, or Ctrl-C at the prompt.

    Ctrl-C while an answer comes stops that answer; SIGTERM ends everything.

    Args:
        chat: The conversation.
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
            write(f"{_obey(chat, line)}\n")
        elif line:
            _answer(chat, line, write)


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
    return HELP


def _answer(chat: Chat, line: str, write: Callable[[str], object]) -> None:
    try:
        # closed at once when interrupted, so that the model stops
        with closing(chat.reply(line)) as pieces:
            for piece in pieces:
                write(piece)
    except Terminated:
        raise
    except KeyboardInterrupt:
        write(" [stopped]")
    except XtuneError as error:
        write(str(error))
    write("\n")
