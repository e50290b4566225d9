"""Tool calls of the three families: learnt from templates in their style, read back, and streamed."""

import asyncio
import json
from typing import Any

import pytest
from chat_families import Family, make_tokenizer

from xtune.generate.decoding import Decoding
from xtune.generate.guide import Guides
from xtune.generate.pieces import Pieces
from xtune.generate.row import Row
from xtune.serve.asked import Asked
from xtune.serve.calls import CallFormat, learn_call_format
from xtune.serve.engine import News, Request
from xtune.serve.models import Served
from xtune.serve.replies import ChatReply

HERMES = (
    "{% if tools %}<|im_start|>system\nTools:{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}\n<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{% if tools and loop.last and message.role == 'user' %}{{ tools | tojson }}{% endif %}"
    "{% if message.tool_calls %}"
    '{"name": "{{ message.tool_calls[0].function.name }}", '
    '"parameters": {{ message.tool_calls[0].function.arguments | tojson }}}<|eot_id|>'
    "{% else %}{{ message.content }}<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = (
    "{% for message in messages %}{% if message.role == 'user' %}"
    "{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}[INST]{{ message.content }}[/INST]"
    "{% elif message.tool_calls %}[TOOL_CALLS][{% for call in message.tool_calls %}"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}, "id": "{{ call.id }}"}'
    "{% endfor %}]</s>{% else %}{{ message.content }}</s>{% endif %}{% endfor %}"
)
PLAIN = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHATML = ("<|im_start|>", "<|im_end|>")
FAMILIES = {
    "hermes": (HERMES, CHATML),
    "llama": (LLAMA, ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>")),
    "mistral": (MISTRAL, ("[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]")),
    "none": (PLAIN, CHATML),
}  # fmt: skip


def make(way: str) -> tuple[Any, CallFormat | None]:
    template, specials = FAMILIES[way]
    eos = {"llama": "<|eot_id|>", "mistral": "</s>"}.get(way, "<|im_end|>")
    family = Family(way, template, specials, oracle=lambda _: [], eos=eos)
    tokenizer = make_tokenizer(family)
    return tokenizer, learn_call_format(tokenizer)


@pytest.mark.parametrize("way", FAMILIES)
def test_a_template_tells_how_calls_are_written(way: str) -> None:
    _, format = make(way)
    assert (format.way if format is not None else "none") == way


OSLO = ("weather", {"town": "Oslo"})
BERN = ("weather", {"town": 'Bern "west"', "days": 2})
CASES: list[tuple[str, str, str, list[tuple[str, dict[str, Any]]]]] = [
    ("hermes", '<tool_call>\n{"name": "weather", "arguments": {"town": "Oslo"}}\n</tool_call>', "", [OSLO]),
    (
        "hermes",
        'I look.\n<tool_call>{"name": "weather", "arguments": {"town": "Oslo"}}</tool_call>\n'
        '<tool_call>\n{"arguments": {"town": "Bern \\"west\\"", "days": 2}, "name": "weather"}\n</tool_call>',
        "I look.",
        [OSLO, BERN],
    ),
    ("hermes", '<tool_call>{"name": "weather", "arguments": "{\\"town\\": \\"Oslo\\"}"}', "", [OSLO]),
    ("llama", '{"name": "weather", "parameters": {"town": "Oslo"}}', "", [OSLO]),
    ("llama", '<|python_tag|>{"type": "function", "name": "weather", "parameters": {"town": "Oslo"}}', "", [OSLO]),
    (
        "llama",
        '{"name": "weather", "parameters": {"town": "Oslo"}}; '
        '{"name": "weather", "parameters": {"town": "Bern \\"west\\"", "days": 2}}',
        "",
        [OSLO, BERN],
    ),
    ("mistral", '[TOOL_CALLS] [{"name": "weather", "arguments": {"town": "Oslo"}, "id": "abcdefghi"}]', "", [OSLO]),
    ("mistral", 'Well.[TOOL_CALLS]weather[ARGS]{"town": "Oslo"}', "Well.", [OSLO]),
    (
        "mistral",
        '[TOOL_CALLS]weather{"town": "Oslo"}[TOOL_CALLS]weather[CALL_ID]abcdefghi[ARGS]{"town": "Bern \\"west\\"", "days": 2}',
        "",
        [OSLO, BERN],
    ),
]  # fmt: skip
NO_CALLS = [
    ("hermes", "It is sunny."),
    ("hermes", "\n It is\n\nsunny. \n"),
    ("hermes", "<tool_call>\nnot json\n</tool_call>"),
    ("hermes", '<tool_call>{"arguments": {}}</tool_call>'),
    ("hermes", "5 < 6, and <tool"),
    ("llama", '{"town": "Oslo"}'),
    ("llama", '{"name": "Anna", "parameters": {}}'),
    ("llama", "It is {sunny}."),
    ("llama", '{"name": "weather", "parameters": '),
    ("mistral", "[TOOL_CALLS]"),
    ("mistral", "[TOOL_CALLS] sunny"),
    ("mistral", "Sunny [really]."),
]


@pytest.mark.parametrize(("way", "text", "content", "calls"), CASES)
def test_calls_are_read_whole_and_streamed(
    way: str, text: str, content: str, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    for size in (1, 3, 1000):
        message, finish = answered(way, text, size)
        assert message["content"] == content
        found = [
            (call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message["tool_calls"]
        ]
        assert found == calls
        assert finish == "tool_calls"
        assert len({call["id"] for call in message["tool_calls"]}) == len(calls)
        assert all(len(call["id"]) == 9 and call["id"].isalnum() for call in message["tool_calls"])


@pytest.mark.parametrize(("way", "text"), NO_CALLS)
def test_what_is_no_call_stays_text(way: str, text: str) -> None:
    for size in (1, 4, 1000):
        message, finish = answered(way, text, size)
        assert message["content"] == text
        assert not message["tool_calls"]
        assert finish == "stop"


def answered(way: str, text: str, size: int) -> tuple[dict[str, Any], str]:
    """The message that a client puts together; pieces of `size` characters, or whole beyond 999."""
    tokenizer, format = make(way)
    assert format is not None
    pieces = [text[start : start + size] for start in range(0, len(text), size)]

    async def ask() -> tuple[dict[str, Any], str]:
        served = Served(
            name="m", adapter=None, tokenizer=tokenizer, prompter=None, stop=(), vocabulary=0, guides=Guides(tokenizer, vocabulary=0, stop=()), calls=format, parent=None
        )  # type: ignore[arg-type] # fmt: skip
        request = Request(served=served, rows=[Row(prompt=[1], decoding=Decoding())])
        for piece in pieces:
            request.news.put_nowait(News(choice=0, text=piece))
        request.news.put_nowait(News(choice=0, finish="stop"))
        reply = ChatReply(Asked(request=request, prompt_tokens=1, tools=("weather",)))
        if size == 1000:
            whole: Any = await reply.whole()
            choice = whole["choices"][0]
            message = {"tool_calls": [], **choice["message"]}
            return {**message, "content": message["content"] or ""}, choice["finish_reason"]
        message, finish = {"content": "", "tool_calls": []}, ""
        async for piece in reply.pieces(with_usage=False):
            for choice in piece["choices"]:
                message["content"] += choice["delta"].get("content") or ""
                message["tool_calls"] += choice["delta"].get("tool_calls") or []
                finish = choice["finish_reason"] or finish
        return message, finish

    return asyncio.run(ask())


def test_special_tokens_of_calls_stay_in_the_text_and_others_do_not() -> None:
    tokenizer, format = make("mistral")
    assert format is not None
    text = '[INST][TOOL_CALLS][{"name": "weather"}]'
    pieces = Pieces(tokenizer, format.keep)
    written = "".join(pieces.add(token) for token in tokenizer(text)["input_ids"]) + pieces.rest()
    assert written == text.removeprefix("[INST]")
