"""Tries a chat template on invented conversations and says what would be trained on; it trains nothing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from xtune.data.encode import Encoder
from xtune.data.find import SpanFinder
from xtune.data.remarks import find_additions
from xtune.data.spans import Unproven
from xtune.data.stops import end_tokens, probe_conversation
from xtune.data.template import ChatTemplate, Unrenderable
from xtune.data.types import Conversation, Message
from xtune.data.wants import PROBE_CALL
from xtune.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Outcome: TypeAlias = Literal["trained", "rejected", "refused"]
"""Trained on as shown; rejected by the template; or refused because its mask cannot be proven."""

_UNLIMITED = 1 << 30


def _user(content: str) -> Message:
    return Message(role="user", content=content)


def _assistant(content: str, **extra: Any) -> Message:
    return Message(role="assistant", content=content, extra=extra)


def _system(content: str) -> Message:
    return Message(role="system", content=content)


_RESULT = Message(
    role="tool",
    content='{"sky": "clear"}',
    extra={"name": "town_weather", "tool_call_id": "abcde1234"},
)
_CALL = _assistant("", tool_calls=[PROBE_CALL])
_SUM = _assistant("Four.", reasoning_content="Two and two.")

CONVERSATIONS: Mapping[str, Conversation] = {
    "plain": probe_conversation(_user("Which river?"), _assistant("The Oder.")),
    "system": probe_conversation(_system("Be terse."), _user("Hi"), _assistant("Yo")),
    "empty system": probe_conversation(_system(""), _user("Hi"), _assistant("Yo")),
    "several turns": probe_conversation(
        _user("One?"), _assistant("Uno."), _user("Two?"), _assistant("Due.")
    ),
    "user last": probe_conversation(_user("Hi"), _assistant("Yo"), _user("Bye")),
    "tools": probe_conversation(_user("Weather?"), _assistant("In which town?"), tools=True),
    "tool call": probe_conversation(_user("Weather in Oslo?"), _CALL, tools=True),
    "tool result": probe_conversation(
        _user("Weather in Oslo?"), _CALL, _RESULT, _assistant("Clear."), tools=True
    ),
    "reasoning": probe_conversation(_user("2+2?"), _SUM),
    "earlier reasoning": probe_conversation(
        _user("2+2?"), _SUM, _user("Sure?"), _assistant("Yes.")
    ),
    "inline reasoning": probe_conversation(
        _user("2+2?"), _assistant("<think>\nTwo and two.\n</think>\n\nFour.")
    ),
    "white space": probe_conversation(_user(" Hi\n"), _assistant("\n Yo \n")),
    "empty answer": probe_conversation(
        _user("Hi"), _assistant(""), _user("Well?"), _assistant("Yo")
    ),
}
"""Invented conversations, one for each thing that templates treat differently."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What became of one conversation."""

    conversation: str
    outcome: Outcome
    reason: str = ""
    """Why the template rejects it, or why its mask is refused."""

    advice: str = ""
    """What to do about a refusal, where there is something to do."""

    text: str = ""
    """The rendering; empty if the template rejects the conversation."""

    trained: tuple[str, ...] = ()
    """What is trained on of each assistant's message, its end token included."""

    prefix_stable: bool | None = None
    """Whether what inference sends before each answer begins the rendering; None where it cannot be asked."""

    notes: tuple[str, ...] = ()
    """What is left out, or taken for something else."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What there is to know about a chat template before training with it."""

    template: str
    """Whose it is."""

    masks: Literal["generation blocks", "proven", "refused"]
    """How what is trained on is found: stated by the template and checked, proven, or not at all."""

    end_tokens: tuple[str, ...]
    """Special tokens that end an assistant's message; all of them are trained on and stopped at."""

    own_end: str
    """The one of them that the tokenizer brings (`eos_token`), where the template does not name it itself; empty without."""

    parts: bool
    """Whether it takes a content only as a list of parts, and so gets it as one."""

    json_arguments: bool
    """Whether it takes the arguments of a call only as JSON text, and so gets them as that."""

    prefix_stable: bool
    """Whether it is in all conversations that it takes."""

    drops_reasoning: bool
    """Whether it leaves out the reasoning of earlier answers."""

    system_prompt: str
    """What it tells the model of its own accord, without a system message; empty for nothing."""

    dated: bool
    """Whether it writes today's date."""

    trials: tuple[Trial, ...]

    def to_json(self) -> dict[str, Any]:
        """The verdict as plain JSON types."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The verdict for people."""
        named = [
            f"{token} (the tokenizer's eos_token)" if token == self.own_end else token
            for token in self.end_tokens
        ]
        ends = ", ".join(named) or "none: a model would never learn to stop"
        lines = [
            f"template: {self.template}",
            f"masks: {self.masks}",
            f"end of an answer: {ends}",
            f"prefix-stable: {'yes' if self.prefix_stable else 'no'}",
        ]
        if self.parts:
            lines.append("takes a content as a list of parts: texts are given to it as one part")
        if self.json_arguments:
            lines.append("takes the arguments of a tool call as JSON text: they are given to it so")
        if self.drops_reasoning:
            lines.append("reasoning: left out of earlier answers")
        if self.system_prompt:
            lines.append(f"adds a system prompt: '{' '.join(self.system_prompt.split())}'")
        if self.dated:
            lines.append("writes today's date, so every day's rendering is another")
        for trial in self.trials:
            lines += _trial_lines(trial)
        return lines


def probe(tokenizer: "PreTrainedTokenizerBase", template: str | None = None) -> Verdict:
    """Try a template on all `CONVERSATIONS`.

    Args:
        tokenizer: A fast tokenizer.
        template: Text of a Jinja template that replaces the tokenizer's own.

    Raises:
        DataError: There is no template, or the tokenizer is slow.
    """
    encoder = Encoder(tokenizer, template=template, max_tokens=_UNLIMITED)
    finder = SpanFinder(encoder.template)
    marked = encoder.template.marks_generation()
    trials = tuple(_try(name, row, encoder, finder) for name, row in CONVERSATIONS.items())
    named = {trial.conversation: trial for trial in trials}
    additions = find_additions(encoder.template, finder.prover.special)
    worked = any(trial.outcome == "trained" for trial in trials)
    earlier = named["earlier reasoning"]
    wants = encoder.template.wants()
    ends = tuple(end_tokens(tokenizer, template))
    eos = str(tokenizer.eos_token or "")
    return Verdict(
        template=encoder.template.name,
        masks="refused" if not worked else "generation blocks" if marked else "proven",
        end_tokens=ends,
        own_end=eos if eos in ends and eos not in encoder.template.text() else "",
        parts=wants.parts,
        json_arguments=wants.json_arguments,
        prefix_stable=all(trial.prefix_stable is not False for trial in trials),
        drops_reasoning=bool(earlier.text)
        and "Two and two." not in earlier.text
        and "Two and two." in named["reasoning"].text,
        system_prompt=additions.system_prompt,
        dated=additions.dated,
        trials=trials,
    )


def _try(name: str, row: Conversation, encoder: Encoder, finder: SpanFinder) -> Trial:
    wanted = [n for n, message in enumerate(row.messages) if message.role == "assistant"]
    messages = [message.for_template() for message in row.messages]
    try:
        text = finder.template.render(messages, row.tools)
    except Unrenderable as error:
        return Trial(conversation=name, outcome="rejected", reason=str(error))
    stable = _is_prefix_stable(finder.template, messages, row, text, wanted)
    try:
        rendered = finder.find(row, wanted)
        encoded = encoder.encode_rows([row])
    except (Unrenderable, Unproven) as error:
        return Trial(
            conversation=name, outcome="refused", reason=str(error), text=text, prefix_stable=stable
        )
    except DataError as error:
        problem = error.problems[0]
        return Trial(
            conversation=name,
            outcome="refused",
            reason=problem.what,
            advice=problem.advice,
            text=text,
            prefix_stable=stable,
        )
    return Trial(
        conversation=name,
        outcome="trained",
        text=text,
        trained=tuple(
            "".join(text[start:end] for start, end in span.parts()) for span in rendered.spans
        ),
        prefix_stable=stable,
        notes=tuple(encoded.notes),
    )


def _is_prefix_stable(
    template: ChatTemplate,
    messages: list[dict[str, Any]],
    row: Conversation,
    text: str,
    wanted: list[int],
) -> bool | None:
    found = None
    for index in wanted:
        try:
            prompt = template.render(messages[:index], row.tools, prompt=True)
        except Unrenderable:
            continue
        if not text.startswith(prompt):
            return False
        found = True
    return found


def _trial_lines(trial: Trial) -> list[str]:
    if trial.outcome == "rejected":
        return [f"{trial.conversation}: the template rejects it: {trial.reason}"]
    if trial.outcome == "refused":
        return [f"{trial.conversation}: refused: {trial.reason}"]
    shown = " | ".join(repr(text) for text in trial.trained)
    return [
        f"{trial.conversation}: trained on {shown}",
        *(f"  note: {note}" for note in trial.notes),
    ]
