"""Adds a named end token to a chat template that writes none behind the last answer; it renders nothing."""

import difflib
import json
from collections.abc import Mapping
from typing import Any

from xtune.data.ends import Ends
from xtune.data.problems import listed, refuse
from xtune.data.template import ChatTemplate, Unrenderable

_ENDING = (
    "{{%+ if messages and messages[-1]['role'] == 'assistant' and not add_generation_prompt %}}"
    "{{{{ {call} if messages[-1]['tool_calls'] else {answer} }}}}{{% endif %}}"
)
"""Nothing where the assistant is to speak, so what inference sends stays as it was."""

_NEAR = 8
_PLAIN = (
    {"role": "user", "content": "Which river?"},
    {"role": "assistant", "content": "The Oder."},
)


def end_turns(
    tokenizer: Any, answer: str, call: str | None, template: str | None = None
) -> str | None:
    """Give a tokenizer's chat template, or `template`, end tokens behind the last answer of a conversation.

    Args:
        tokenizer: Its own template is changed where none is given; saved with the model, it shows the token too.
        answer: The special token behind an answer.
        call: The one behind an answer that ends in tool calls; default: the same.
        template: Text of the template that is used in place of the tokenizer's.

    Returns:
        The template that was given, with its ending.

    Raises:
        DataError: A token is no special token of the tokenizer, or the template ends answers with it already.
    """
    for name, token in (("end_token", answer), ("call_end_token", call)):
        if token is not None:
            _check_special(tokenizer, name, token)
    ending = _ENDING.format(
        answer=json.dumps(answer, ensure_ascii=False),
        call=json.dumps(call or answer, ensure_ascii=False),
    )
    if template is not None:
        _check_needed(tokenizer, template, answer, ending)
        return _ended(template, ending)
    own = tokenizer.chat_template
    if isinstance(own, Mapping):
        tokenizer.chat_template = {name: _ended(text, ending) for name, text in own.items()}
    elif own:
        _check_needed(tokenizer, own, answer, ending)
        tokenizer.chat_template = _ended(own, ending)
    return None


def end_advice(tokenizer: Any, ends: Ends, *, last: bool) -> str:
    """What to do about an answer without an end token, the `last` message of its conversation or not."""
    own = (
        "end the answer with `{{ eos_token }}` in a template of your own (`data.template`), "
        "or add the template's token to the vocabulary (`method.new_tokens`)."
    )
    before_user = ends.next_tokens.get("user")
    token = before_user or tokenizer.eos_token
    if not last:
        return f"train on the last answers alone (`data.train_on: last`); or {own}"
    if not token:
        return own
    chosen = f"set `data.end_token: {json.dumps(token, ensure_ascii=False)}`"
    before_tool = ends.next_tokens.get("tool")
    if before_user is None:
        return f"{chosen}, the tokenizer's end token, and `train_on: last` if there are earlier answers; or {own}"
    if before_tool not in {None, before_user}:
        chosen += f" and `data.call_end_token: {json.dumps(before_tool, ensure_ascii=False)}`"
    return f"{chosen}, which the template writes behind earlier answers, if generation stops there; or {own}"


def _ended(template: str, ending: str) -> str:
    """A template with its ending, once; the last line break is one that Jinja would not write."""
    return template if template.endswith(ending) else template.removesuffix("\n") + ending


def _check_special(tokenizer: Any, name: str, token: str) -> None:
    known = {added.content for added in tokenizer.added_tokens_decoder.values()}
    known |= set(tokenizer.all_special_tokens)
    if token in known:
        return
    near = difflib.get_close_matches(token, known, n=_NEAR, cutoff=0.3) or sorted(known)
    refuse(
        f"`data.{name}` is {token!r}, which is no special token of the tokenizer",
        allowed=f"it has {listed(near, _NEAR)}",
        advice="name the token that generation stops at (see `eos_token_id` in the model's generation_config.json).",
    )


def _check_needed(tokenizer: Any, template: str, answer: str, ending: str) -> None:
    if template.endswith(ending):
        return
    try:
        text = ChatTemplate(tokenizer, template).render(_PLAIN)
    except Unrenderable:
        return  # told where a row meets it
    if text.rstrip().endswith(answer):
        refuse(
            f"`data.end_token` is {answer!r}, which the chat template writes behind the last answer of its own accord",
            advice="leave `end_token` out.",
        )
