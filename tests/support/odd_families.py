"""More chat templates in the style of known families, one for each trick that makes masks hard, with oracles.

As in `chat_families` an oracle is plain Python, written from the layout: the rendering in segments, each with
whether it is trained on. The texts are invented.
"""

from chat_families import Family, Segments, Turns


def _wrapped(turns: Turns) -> Segments:
    """Answers in tokens of their own, the last of which ends the turn; a system prompt of the template's own."""
    segments: Segments = []
    if turns[0][0] != "system":
        segments.append(("<|turn|><|system|>You are Ada, a clerk.<|over|>", False))
    for role, content in turns:
        if role == "assistant":
            segments += [("<|turn|><|bot|>", False), (f"<|say|>{content}<|said|><|over|>", True)]
        else:
            segments.append((f"<|turn|><|{role}|>{content}<|over|>", False))
    return segments


_WRAPPED = (
    "{% if messages[0].role != 'system' %}{{ '<|turn|><|system|>You are Ada, a clerk.<|over|>' }}{% endif %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{{ '<|turn|><|bot|><|say|>' + m.content + '<|said|><|over|>' }}"
    "{% else %}{{ '<|turn|><|' ~ m.role ~ '|>' ~ m.content ~ '<|over|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|><|bot|>' }}{% endif %}"
)


def _two_ends(turns: Turns) -> Segments:
    """The last answer ends with another token than the ones before; earlier ones go without their channel."""
    segments: Segments = []
    for index, (role, content) in enumerate(turns):
        segments.append((f"<|start|>{role}", False))
        if role == "assistant":
            end = "<|return|>" if index == len(turns) - 1 else "<|end|>"
            segments.append((f"<|channel|>final<|message|>{content}{end}", True))
        else:
            segments.append((f"<|message|>{content}<|end|>", False))
    return segments


_TWO_ENDS = (
    "{% for m in messages %}{{ '<|start|>' + m.role }}{% if m.role == 'assistant' %}{{ '<|channel|>final' }}{% endif %}"
    "{{ '<|message|>' + m.content }}{% if loop.last and m.role == 'assistant' %}{{ '<|return|>' }}"
    "{% else %}{{ '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)


def _always_asking(turns: Turns) -> Segments:
    """The generation prompt is written whether it is asked for or not."""
    segments: Segments = [("<bos>", False)]
    for role, content in turns:
        segments.append((f"<|head|>{role}<|/head|>\n\n", False))
        segments.append((f"{content.strip()}<|eot|>", role == "assistant"))
    return [*segments, ("<|head|>assistant<|/head|>\n\n", False)]


_ALWAYS_ASKING = (
    "{{ bos_token }}{% for m in messages %}{{ '<|head|>' + m.role + '<|/head|>\n\n' + m.content | trim + '<|eot|>' }}"
    "{% endfor %}{{ '<|head|>assistant<|/head|>\n\n' }}"
)


def _merged(turns: Turns) -> Segments:
    """The system message is written inside the first question; bos and eos around every exchange."""
    segments: Segments = []
    system = turns[0][1] if turns[0][0] == "system" else None
    for role, content in turns:
        if role == "user":
            inner = f"<<SYS>>\n{system}\n<</SYS>>\n\n{content}" if system is not None else content
            system = None
            segments.append((f"<s>[INST] {inner.strip()} [/INST]", False))
        elif role == "assistant":
            segments.append((f" {content.strip()} </s>", True))
    return segments


_MERGED = (
    "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% set sys = messages[0].content %}"
    "{% else %}{% set rest = messages %}{% set sys = false %}{% endif %}{% for m in rest %}"
    "{% if loop.index0 == 0 and sys is not false %}{% set text = '<<SYS>>\n' + sys + '\n<</SYS>>\n\n' + m.content %}"
    "{% else %}{% set text = m.content %}{% endif %}{% if m.role == 'user' %}"
    "{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}{% else %}{{ ' ' + text.strip() + ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
)


def _sealed(turns: Turns) -> Segments:
    """The end of a whole conversation is sealed with one more token, which ends no answer."""
    segments: Segments = []
    for role, content in turns:
        answer = role == "assistant"
        segments += [(f"<|{role}|>\n", False), (f"{content}<|end|>", answer), ("\n", False)]
    return [*segments, ("<eos>", False)]


_SEALED = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)


def _late_rules(turns: Turns) -> Segments:
    """The system message stands before the last question, so that no beginning of a rendering is stable."""
    segments: Segments = [("<s>", False)]
    system = turns[0][1] if turns[0][0] == "system" else ""
    users = [index for index, (role, _) in enumerate(turns) if role == "user"]
    for index, (role, content) in enumerate(turns):
        if role == "user":
            rules = f"{system}\n\n" if system and index == users[-1] else ""
            segments.append((f"[INST]{rules}{content}[/INST]", False))
        elif role == "assistant":
            segments.append((f"{content}</s>", True))
    return segments


_LATE_RULES = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}"
    "{% endfor %}{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST]' }}"
    "{% if loop.index0 == ns.last and messages[0].role == 'system' and messages[0].content %}{{ messages[0].content + '\n\n' }}"
    "{% endif %}{{ m.content + '[/INST]' }}{% elif m.role == 'assistant' %}{{ m.content + eos_token }}{% endif %}{% endfor %}"
)


def _short_blocks(turns: Turns) -> Segments:
    """`{% generation %}` around the content alone, without the end token, in a macro-built template."""
    segments: Segments = []
    for role, content in turns:
        answer = role == "assistant"
        segments += [(f"<|{role}|>\n", False), (f"{content}<|end|>", answer), ("\n", False)]
    return segments


_SHORT_BLOCKS = (
    "{% macro head(role) %}{{ '<|' ~ role ~ '|>\n' }}{% endmacro %}{% for m in messages %}{{ head(m.role) }}"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}"
    "{{ '<|end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ head('assistant') }}{% endif %}"
)
_LONG_BLOCKS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ '<|assistant|>\n' + m.content + '<|end|>\n' }}"
    "{% endgeneration %}{% else %}{{ '<|' ~ m.role ~ '|>\n' ~ m.content ~ '<|end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""Blocks that hold the header before and the line break behind an answer as well: trained on is less."""


def _quiet(turns: Turns) -> Segments:
    """A generation prompt with an empty thought that the rendering writes before the last answer only."""
    segments: Segments = []
    for index, (role, content) in enumerate(turns):
        answer = role == "assistant"
        thought = "<think>\n\n</think>\n\n" if answer and index == len(turns) - 1 else ""
        segments += [(f"<|im_start|>{role}\n{thought}", False), (f"{content}<|im_end|>", answer)]
        segments.append(("\n", False))
    return segments


_QUIET = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and loop.last %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' }}{% endif %}"
)

_ROLES = ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>")
ODD_FAMILIES = {
    family.name: family
    for family in (
        Family(
            "wrapped",
            _WRAPPED,
            ("<|turn|>", "<|system|>", "<|user|>", "<|bot|>", "<|say|>", "<|said|>", "<|over|>"),
            _wrapped,
        ),
        Family(
            "two_ends",
            _TWO_ENDS,
            ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>"),
            _two_ends,
        ),
        Family(
            "always_asking",
            _ALWAYS_ASKING,
            ("<|head|>", "<|/head|>", "<|eot|>"),
            _always_asking,
            bos="<bos>",
        ),
        Family("merged", _MERGED, (), _merged, bos="<s>", eos="</s>"),
        Family("sealed", _SEALED, _ROLES, _sealed),
        Family(
            "late_rules", _LATE_RULES, ("[INST]", "[/INST]"), _late_rules, bos="<s>", eos="</s>"
        ),
        Family("short_blocks", _SHORT_BLOCKS, _ROLES, _short_blocks),
        Family("long_blocks", _LONG_BLOCKS, _ROLES, _short_blocks),
        Family("quiet", _QUIET, ("<|im_start|>", "<|im_end|>", "<think>", "</think>"), _quiet),
    )
}
