"""Processes that encode start without transformers and torch, and cut and render as the tokenizer does that they were given."""

import pickle
import subprocess
import sys
from typing import Any

import pytest
from chat_families import FAMILIES, make_conversation
from chat_families import make_tokenizer as make_family
from factories import make_tokenizer
from fast_kinds import KINDS, WORDS, make_kind
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from xtune.data.encode import Encoder
from xtune.data.light import LightTokenizer, light_tokenizer
from xtune.data.types import Document, Message, Origin
from xtune.data.workers import Recipient, encode_chunks, workers_for
from xtune.errors import DataError

TALK = [
    ("user", "Hi <|im_end|> e\u0301"),
    ("assistant", " yes "),
    ("user", "b"),
    ("assistant", "c"),
]


def sent(tokenizer: Any) -> LightTokenizer:
    light = light_tokenizer(tokenizer)
    assert light is not None
    again = pickle.loads(pickle.dumps(light))
    assert isinstance(again, LightTokenizer)
    return again


def encoded(tokenizer: Any, row: Any, **choices: Any) -> Any:
    try:
        result = Encoder(tokenizer, max_tokens=30_000, **choices).encode_rows([row])
    except DataError as error:
        return str(error)
    sequences = [(s.input_ids.tolist(), s.labels.tolist(), s.weights.tolist()) for s in result.sequences]  # fmt: skip
    return sequences, result.drops, {what: len(some) for what, some in result.notes.items()}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_conversations_are_encoded_as_with_the_tokenizer(family: str) -> None:
    tokenizer = make_family(FAMILIES[family], rstrip=True)
    light = sent(tokenizer)
    for turns in (TALK, [("system", "s"), *TALK], TALK[:1]):
        for choice in ("assistant", "last", "all"):
            row = make_conversation(turns)
            assert encoded(light, row, train_on=choice) == encoded(tokenizer, row, train_on=choice)


@pytest.mark.parametrize("kind", KINDS)
def test_documents_and_long_ones_are_encoded_as_with_the_tokenizer(kind: str) -> None:
    backend = Tokenizer.from_str(make_kind(kind).to_str())
    backend.post_processor = processors.TemplateProcessing(
        single="<|pad|> $A", special_tokens=[("<|pad|>", backend.token_to_id("<|pad|>"))]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    light = sent(tokenizer)
    row = Document(text=WORDS * 3, origin=Origin(source="x", row=0))
    assert encoded(light, row) == encoded(tokenizer, row)
    results = []
    for one in (tokenizer, light):
        encoder = Encoder(one, max_tokens=40, over_length="split", stage="pretrain")
        results.append([s.input_ids.tolist() for s in encoder.encode(row)])
    assert results[0] == results[1]
    assert results[0][0][0] == backend.token_to_id("<|pad|>")
    assert len(results[0]) > 2


def test_tools_and_calls_are_rendered_as_with_the_tokenizer() -> None:
    template = (
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{% if m.reasoning_content %}[{{ m.reasoning_content }}]{% endif %}"
        "{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer = make_tokenizer(template=template)
    call = {"type": "function", "function": {"name": "look", "arguments": {"at": "é"}}}
    messages = (
        Message(role="user", content="q"),
        Message(role="assistant", content="x", extra={"tool_calls": [call]}),
        Message(role="tool", content="r"),
        Message(role="assistant", content="a", extra={"reasoning_content": "because"}),
    )
    tools = ({"type": "function", "function": {"name": "look", "parameters": {}}},)
    row = make_conversation([("user", "q")], tools=tools)
    row = type(row)(messages=messages, tools=tools, origin=row.origin)
    assert encoded(sent(tokenizer), row) == encoded(tokenizer, row)
    assert "look" in tokenizer.decode(Encoder(tokenizer, max_tokens=999).encode(row)[0].input_ids)


class _Own(PreTrainedTokenizerFast):
    def apply_chat_template(self, *arguments: Any, **settings: Any) -> Any:
        return super().apply_chat_template(*arguments, **settings)


def test_tokenizers_with_ways_of_their_own_are_not_made_light() -> None:
    plain = make_tokenizer()
    assert light_tokenizer(_Own(tokenizer_object=plain.backend_tokenizer)) is None
    plain.chat_template = {"default": "a", "tool_use": "b"}
    assert light_tokenizer(plain) is None
    splitting = PreTrainedTokenizerFast(tokenizer_object=plain.backend_tokenizer, split_special_tokens=True)  # fmt: skip
    assert light_tokenizer(splitting) is None


def test_a_light_process_imports_neither_torch_nor_the_whole_of_transformers() -> None:
    code = (
        "import sys; from xtune.data.light import start_light; start_light(); import xtune.data.workers\n"
        "bad = [name for name in ('torch', 'pydantic', 'transformers.modeling_utils', 'transformers.tokenization_utils_base')"
        " if name in sys.modules]; print(bad)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_where_the_module_is_elsewhere_transformers_is_imported_as_usual() -> None:
    code = (
        "import sys, importlib; from xtune.data import light\n"
        "real = importlib.import_module\n"
        "def no(name): raise ImportError(name)\n"
        "importlib.import_module = no; light.start_light(); importlib.import_module = real\n"
        "from transformers import PreTrainedTokenizerFast; print(PreTrainedTokenizerFast is not None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True", done.stderr


def test_a_tokenizer_without_a_light_form_still_has_workers() -> None:
    from xtune.data.chunk import Chunk

    own = make_tokenizer()
    own.chat_template = {"default": str(own.chat_template)}
    rows = [make_conversation(TALK)] * 3
    chunk = Chunk(rows=rows, files=[0] * 3, first=0, characters=9)  # type: ignore[arg-type]
    recipient = Recipient(tokenizer=own, options={})
    assert recipient.light() is None
    (alone,) = encode_chunks([chunk], recipient, 1)
    (apart,) = encode_chunks([chunk], recipient, 2)
    assert alone.tokens.tolist() == apart.tokens.tolist()  # type: ignore[union-attr]


def test_small_data_have_one_process_and_large_data_one_for_each_core() -> None:
    recipient = Recipient(tokenizer=make_tokenizer(), options={})
    assert [workers_for(size, recipient, 6) for size in (0, 1 << 20, 1 << 26)] == [1, 1, 6]
    assert workers_for(1 << 26, recipient, 0) == 1
