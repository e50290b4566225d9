"""The tokens that training teaches a model to end its turns with, and so those that generation stops at; it trains nothing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xtune.data.find import SpanFinder
from xtune.data.spans import Unproven
from xtune.data.template import ChatTemplate, Unrenderable
from xtune.data.types import Conversation, Message, Origin
from xtune.data.wants import PROBE_CALL, PROBE_TOOL

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def probe_conversation(*messages: Message, tools: bool = False) -> Conversation:
    """A conversation to try a template on."""
    return Conversation(
        messages=messages,
        tools=(PROBE_TOOL,) if tools else (),
        origin=Origin(source="probe", row=0),
    )


_QUESTION = Message(role="user", content="Which river?")
_ANSWER = Message(role="assistant", content="The Oder.")
_CALLING = Message(role="assistant", content="", extra={"tool_calls": [PROBE_CALL]})
_THINKING = Message(role="assistant", content="The Oder.", extra={"reasoning_content": "Hm."})
_RESULT = Message(
    role="tool",
    content="clear",
    extra={"name": "town_weather", "tool_call_id": "abcde1234"},
)
_PROBES = (
    probe_conversation(_QUESTION, _ANSWER),
    probe_conversation(_QUESTION, _ANSWER, _QUESTION, _ANSWER),
    probe_conversation(_QUESTION, _THINKING),
    probe_conversation(_QUESTION, _CALLING, tools=True),
    probe_conversation(_QUESTION, _CALLING, _RESULT, _ANSWER, tools=True),
)


def end_tokens(tokenizer: "PreTrainedTokenizerBase", template: str | None = None) -> list[str]:
    """The special tokens that a template ends answers and tool calls with, those of plain answers first.

    A token that also stands inside what the model writes, between reasoning and answer say, does not end it:
    a model that was stopped there would never answer.
    """
    if template is None and not tokenizer.chat_template:
        return []
    finder = SpanFinder(ChatTemplate(tokenizer, template))
    found: list[str] = []
    inside: set[str] = set()
    for probe in _PROBES:
        wanted = [n for n, message in enumerate(probe.messages) if message.role == "assistant"]
        try:
            rendered = finder.find(probe, wanted)
        except (Unrenderable, Unproven):
            continue
        for span in rendered.spans:
            if span.ended:
                *within, end = finder.prover.special.findall(rendered.text[span.start : span.end])
                found.append(end)
                inside.update(within)
    ends = list(dict.fromkeys(found))
    return [token for token in ends if token not in inside] or ends


def stop_token_ids(
    tokenizer: "PreTrainedTokenizerBase", model: "PreTrainedModel | None" = None
) -> list[int]:
    """Every token that ends a reply: those that the template ends turns with first, then the tokenizer's and the model's."""
    vocabulary: Any = tokenizer
    found = [int(vocabulary.convert_tokens_to_ids(token)) for token in end_tokens(tokenizer)]
    if isinstance(tokenizer.eos_token_id, int):
        found.append(tokenizer.eos_token_id)
    return list(dict.fromkeys([*found, *model_stops(model)]))


def model_stops(model: Any) -> Sequence[int]:
    """The tokens that a model's generation_config stops at."""
    eos = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    if isinstance(eos, (list, tuple)):
        return [int(token) for token in eos]
    return [int(eos)] if isinstance(eos, int) else []
