"""Rows that are no conversations and no texts, known by their columns and refused by name, with what to do; it converts nothing."""

from dataclasses import dataclass

from xtune.data.formats import SHAPES
from xtune.data.problems import listed


@dataclass(frozen=True)
class Other:
    """A kind of rows that is not trained on: what it is, why not, and what to do."""

    what: str
    allowed: str
    advice: str


PREFERENCE = Other(
    "The rows are preference pairs (a chosen and a rejected answer)",
    "stages sft and pretrain train on one answer",
    "to train on the chosen answers alone, map them: `columns: {prompt: ..., completion: chosen}`, "
    "or `columns: {messages: chosen}` where they are whole conversations.",
)
KTO = Other(
    "The rows are KTO judgements (an answer and a label true or false)",
    "stages sft and pretrain train on every answer, the bad ones too",
    "keep the rows whose label is true, or pin `format` to train on all of them.",
)
RETRIEVAL = Other(
    "The rows are for an embedding model (texts that belong together, or do not)",
    "stages sft and pretrain train on texts or answers",
    "map what is asked and what is answered: `columns: {prompt: ..., completion: ...}`.",
)
_PAIRS_OF_ANSWERS = (
    {"chosen", "rejected"},
    {"chosen_response", "rejected_response"},
    {"rejected_response"},
    {"rejected_messages"},
    {"response_0", "response_1"},
    {"response_a", "response_b"},
    {"preferred_output", "non_preferred_output"},
)
_CHOSEN = {"completion", "response", "output"}
_ANSWERS = {"messages", "conversations", "completion", "response", "output"}
_FOR_EMBEDDINGS = ({"anchor", "positive"}, {"query", "positive"}, {"query", "pos"},
                   {"query", "positive_passages"}, {"sentence1", "sentence2"}, {"sentence_A", "sentence_B"})  # fmt: skip


def other_of(keys: frozenset[str], ours: frozenset[str], *, judged: bool) -> Other | None:
    """What rows with these columns are instead; None if no kind that is known.

    `ours` are the columns that were mapped: who maps the answer has chosen one. `judged`: `label` is true or false.
    """
    if not ours & _CHOSEN and any(pair <= keys for pair in _PAIRS_OF_ANSWERS):
        return PREFERENCE
    if "kto_tag" in keys or (judged and keys & _ANSWERS):
        return KTO
    if any(pair <= keys for pair in _FOR_EMBEDDINGS):
        return RETRIEVAL
    if any(offered <= keys for offered in _OFFERED) and not keys & (_ANSWERS | {"text"}):
        return _CHOICES
    if keys >= {"text", "label"} and not keys & (_ANSWERS | {"message_id"}):
        return _LABELLED
    return None


_LABELLED = Other(
    "The rows are texts with a label each (`text` and `label`)",
    "stages sft and pretrain train on texts or answers",
    "if the labels are words, map them as answers: `columns: {prompt: text, completion: label}`; "
    "to train on the texts as they are, pin `format: text`.",
)

_CHOICES = Other(
    "The rows are questions with several answers to choose from",
    "stages sft and pretrain train on texts or answers",
    "write the right answer out, in columns such as `prompt` and `completion`.",
)
_OFFERED = (
    {"choices"},
    {"options"},
    {"choice1", "choice2"},
    {"option_a", "option_b"},
    {"endings"},
    {"sol1", "sol2"},
)

_QUESTIONS = ("instruction", "question", "prompt", "query", "input", "inputs", "problem", "source", "premise", "article",
              "document", "text", "goal", "input_text", "human", "user")  # fmt: skip
_REPLIES = ("output", "answer", "response", "completion", "outputs", "target", "targets", "solution", "sql", "summary",
            "highlights", "label", "translation", "output_text", "assistant", "bot")  # fmt: skip


def unknown(keys: set[str]) -> Other:
    """What to say of rows whose columns fit no known format."""
    known = "; ".join(f"{format}: {listed(shape.required)}" for format, shape in SHAPES.items())
    what = f"The columns {listed(sorted(keys))} fit no known format"
    return Other(what if keys else "The rows have no columns", f"known are {known}", _advice(keys))


_LISTS = (
    "chat",
    "dialog",
    "dialogue",
    "dialogs",
    "turns",
    "items",
    "interactions",
    "chats",
    "data",
)
"""What data sets call their list of messages, besides our names."""


def _advice(keys: set[str]) -> str:
    if keys >= {"query", "answers", "tools"}:
        return "if `answers` are tool calls, write `columns: {tool_calls: answers}`."
    if keys >= {"chat_history", "message"}:
        return "write them as `messages`, each with `role` and `content`."
    if keys >= {"instruction", "response"} and (
        more := next(iter(keys & {"context", "input"}), "")
    ):
        return f"write `columns: {{input: {more}, output: response}}`."
    lower = {key.lower(): key for key in keys}
    prompt = next((lower[name] for name in _QUESTIONS if name in lower), None)
    answer = next(
        (lower[name] for name in _REPLIES if name in lower and lower[name] != prompt), None
    )
    if prompt and answer:
        return f"write `columns: {{prompt: {prompt}, completion: {answer}}}`."
    if listed_in := next((name for name in _LISTS if name in keys), None):
        return (
            f"if `{listed_in}` is a list of messages, write `columns: {{conversations: {listed_in}}}`; their fields, if they are "
            "not `role` and `content`, are mapped beside it."
        )
    for text in ("content", "response", "body", "document", "code", "article", "raw_content"):
        if text in keys:
            return f"if `{text}` is text to train on as it is, write `columns: {{text: {text}}}`."
    return "name the columns with `columns: {prompt: ..., completion: ...}` or `{text: ...}`."
