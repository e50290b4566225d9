"""Chat templates in the style of the known families, each with a tokenizer and an independent oracle.

An oracle is plain Python, written from the family's layout and not from the template's Jinja: it gives
the rendering as segments of text, each with whether a model is trained on it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from xtune.data.types import Conversation, Message, Origin
from xtune.data.types import Sequence as Encoded

Turns = Sequence[tuple[str, str]]
Segments = list[tuple[str, bool]]


@dataclass(frozen=True)
class Family:
    """One family of chat templates."""

    name: str
    template: str
    specials: tuple[str, ...]
    oracle: Callable[[Turns], Segments]
    bos: str | None = None
    eos: str = "<eos>"
    system: bool = True


def make_tokenizer(family: Family, *, rstrip: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per byte and the family's special tokens: every token's bytes are known."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = dict.fromkeys(name for name in (*family.specials, family.bos, family.eos) if name)
    tokenizer.add_special_tokens([AddedToken(name, special=True, rstrip=rstrip) for name in names])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=family.eos, bos_token=family.bos
    )
    fast.chat_template = family.template
    return fast


def make_conversation(turns: Turns, **extra: object) -> Conversation:
    """A conversation of (role, content) pairs."""
    messages = tuple(Message(role=role, content=content) for role, content in turns)
    return Conversation(messages=messages, origin=Origin(source="test", row=0), **extra)  # type: ignore[arg-type]


def _chatml(turns: Turns) -> Segments:
    segments: Segments = []
    for role, content in turns:
        answer = role == "assistant"
        segments += [
            (f"<|im_start|>{role}\n", False),
            (f"{content}<|im_end|>", answer),
            ("\n", False),
        ]
    return segments


def _llama3(turns: Turns) -> Segments:
    segments: Segments = [("<|begin_of_text|>", False)]
    for role, content in turns:
        segments.append((f"<|start_header_id|>{role}<|end_header_id|>\n\n", False))
        segments.append((f"{content.strip()}<|eot_id|>", role == "assistant"))
    return segments


def _mistral(turns: Turns) -> Segments:
    segments: Segments = [("<s>", False)]
    for role, content in turns:
        if role == "assistant":
            # the generation prompt is empty, so the model writes the space as well
            segments.append((f" {content.strip()}</s>", True))
        else:
            segments.append((f"[INST] {content} [/INST]", False))
    return segments


def _gemma(turns: Turns) -> Segments:
    segments: Segments = [("<bos>", False)]
    for role, content in turns:
        answer = role == "assistant"
        name = "model" if answer else role
        segments.append((f"<start_of_turn>{name}\n", False))
        segments += [(f"{content.strip()}<end_of_turn>", answer), ("\n", False)]
    return segments


def _deepseek(turns: Turns) -> Segments:
    segments: Segments = [("<bos>", False)]
    for index, (role, content) in enumerate(turns):
        if role == "assistant":
            last = index == len(turns) - 1
            kept = content if last else content.split("</think>")[-1]
            # the generation prompt is <|Assistant|><think> and a line break: written in an answer, they are supplied
            supplied = "<think>\n" if kept.startswith("<think>\n") else ""
            segments += [
                (f"<|Assistant|>{supplied}", False),
                (f"{kept.removeprefix(supplied)}<eos>", True),
            ]
        else:
            segments.append((f"<|User|>{content}" if role == "user" else content, False))
    return segments


def _phi(turns: Turns) -> Segments:
    segments: Segments = []
    for role, content in turns:
        answer = role == "assistant"
        segments += [(f"<|{role}|>\n", False), (f"{content}<|end|>", answer), ("\n", False)]
    return segments


def _qwen3(turns: Turns) -> Segments:
    segments: Segments = []
    for index, (role, content) in enumerate(turns):
        answer = role == "assistant"
        segments.append((f"<|im_start|>{role}\n", False))
        if answer and index == len(turns) - 1:
            thought, found, reply = content.rpartition("</think>")
            thought = thought.split("<think>")[-1].strip("\n")
            text = f"<think>\n{thought if found else ''}\n</think>\n\n{reply.lstrip(chr(10))}"
        else:
            text = content.split("</think>")[-1].lstrip("\n") if answer else content
        segments += [(f"{text}<|im_end|>", answer), ("\n", False)]
    return segments


_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_CHATML_GENERATION = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content }}{{ '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% else %}"
    "{{ message.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' "
    "+ message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}{% if message.role == 'user' %}"
    "{{ '[INST] ' + message.content + ' [/INST]' }}{% else %}{{ ' ' + message.content.strip() + eos_token }}{% endif %}"
    "{% endfor %}"
)
_GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if message.role == 'assistant' %}{% set role = 'model' %}{% else %}"
    "{% set role = message.role %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message.content | trim "
    "+ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
_DEEPSEEK = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}{{ message.content }}"
    "{% elif message.role == 'user' %}{{ '<|User|>' + message.content }}{% else %}{% set content = message.content %}"
    "{% if not loop.last %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{ '<|Assistant|>' + content + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}"
)
_PHI = (
    "{% for message in messages %}{{ '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
_QWEN3 = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}{% set content = message.content %}"
    "{% set thought = '' %}{% if message.role == 'assistant' and '</think>' in content %}"
    "{% set thought = content.rpartition('</think>')[0].split('<think>')[-1] %}"
    "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{% if message.role == 'assistant' and loop.last %}"
    "{{ '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}"
    "{% elif message.role == 'assistant' %}{{ content.lstrip('\n') }}{% else %}{{ content }}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_IM = ("<|im_start|>", "<|im_end|>")
FAMILIES = {
    family.name: family
    for family in (
        Family("chatml", _CHATML, _IM, _chatml),
        Family("chatml_generation", _CHATML_GENERATION, _IM, _chatml),
        Family(
            "llama3",
            _LLAMA3,
            ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
            _llama3,
            bos="<|begin_of_text|>",
        ),
        Family("mistral", _MISTRAL, (), _mistral, bos="<s>", eos="</s>", system=False),
        Family(
            "gemma", _GEMMA, ("<start_of_turn>", "<end_of_turn>"), _gemma, bos="<bos>", system=False
        ),
        Family("deepseek", _DEEPSEEK, ("<|User|>", "<|Assistant|>"), _deepseek, bos="<bos>"),
        Family("phi", _PHI, ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"), _phi),
        Family("qwen3", _QWEN3, _IM, _qwen3),
    )
}


def byte_flags(sequence: Encoded, tokenizer: PreTrainedTokenizerFast) -> tuple[bytes, list[bool]]:
    """The bytes of a sequence and whether each is trained on, by looking up every single token."""
    letters = {letter: value for value, letter in _bytes_to_letters().items()}
    added = {
        index: token.content.encode() for index, token in tokenizer.added_tokens_decoder.items()
    }
    text, flags = b"", []
    for index, weight in zip(sequence.input_ids.tolist(), sequence.weights.tolist(), strict=True):
        token = tokenizer.convert_ids_to_tokens(index)
        piece = added.get(index) or bytes(letters[letter] for letter in token)
        text += piece
        flags += [weight > 0] * len(piece)
    return text, flags


def _bytes_to_letters() -> dict[int, str]:
    """GPT-2's table: printable bytes stand for themselves, the others for letters from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {
        byte: chr(256 + n) for n, byte in enumerate(others)
    }


def expected_flags(segments: Segments) -> tuple[bytes, list[bool]]:
    text = "".join(piece for piece, _ in segments).encode()
    return text, [trained for piece, trained in segments for _ in piece.encode()]


def trained_text(sequence: Encoded, tokenizer: PreTrainedTokenizerFast) -> str:
    return str(tokenizer.decode(sequence.input_ids[sequence.weights > 0].tolist()))
