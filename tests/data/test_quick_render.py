"""Rendering without transformers' detours gives what `apply_chat_template` gives, or is not used."""

from typing import Any

import pytest
from chat_families import FAMILIES, make_tokenizer
from factories import CHATML
from factories import make_tokenizer as make_plain
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from xtune.data.template import ChatTemplate, Unrenderable

TOKENIZERS = {name: make_tokenizer(family) for name, family in FAMILIES.items()}
TEMPLATES = {name: ChatTemplate(tokenizer) for name, tokenizer in TOKENIZERS.items()}
ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
TURNS = st.lists(st.fixed_dictionaries({"role": ROLES, "content": st.text(max_size=20)}, optional={"reasoning_content": st.text(max_size=5), "name": st.text(max_size=5)}), min_size=1, max_size=5)  # fmt: skip


@pytest.mark.parametrize("name", sorted(FAMILIES))
@settings(max_examples=60, deadline=None)
@given(turns=TURNS, prompt=st.booleans())
def test_any_messages_are_rendered_as_inference_does(
    name: str, turns: list[dict[str, Any]], prompt: bool
) -> None:
    tokenizer, template = TOKENIZERS[name], TEMPLATES[name]
    try:
        expected = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt)  # fmt: skip
    except Exception:  # noqa: BLE001 - templates raise many kinds
        with pytest.raises(Unrenderable):
            template.render(turns, prompt=prompt)
        return
    for _ in range(3):  # transformers' way, then compared, then the quick way
        assert template.render(turns, prompt=prompt) == expected


MARKED = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(alphabet=st.characters(exclude_characters="[]"), max_size=9), min_size=2, max_size=6)
)  # fmt: skip
def test_blocks_are_where_the_answers_are(texts: list[str]) -> None:
    tokenizer = make_plain(template=MARKED)
    tokenizer.bos_token = "<|pad|>"
    template = ChatTemplate(tokenizer)
    roles = ["user", "assistant"] * 3
    turns = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    expected = "<|pad|>" + "".join(
        f"[{turn['role']}]{turn['content']}{'<|endoftext|>' if turn['role'] == 'assistant' else ''}"
        for turn in turns
    )
    answers = [turn["content"] + "<|endoftext|>" for turn in turns if turn["role"] == "assistant"]
    for _ in range(3):
        text, blocks = template.render_marked(turns)
        assert text == expected
        assert [text[start:end] for start, end in blocks] == answers


def test_an_ending_template_refuses_in_its_own_words_every_time() -> None:
    text = "{% for m in messages %}{% if m.content == 'no' %}{{ raise_exception('not that') }}{% endif %}{{ m.content }}{% endfor %}"
    template = ChatTemplate(make_plain(template=text))
    for _ in range(3):
        assert template.render([{"role": "user", "content": "yes"}]) == "yes"
        with pytest.raises(Unrenderable, match=r"^not that$"):
            template.render([{"role": "user", "content": "no"}])


class _Own(PreTrainedTokenizerFast):
    def apply_chat_template(self, *arguments: Any, **settings: Any) -> Any:
        return "own: " + str(super().apply_chat_template(*arguments, **settings))


def test_a_tokenizer_that_renders_in_its_own_way_does_so_every_time() -> None:
    plain = make_plain()
    own = _Own(tokenizer_object=plain.backend_tokenizer, chat_template=CHATML)
    template = ChatTemplate(own)
    for _ in range(3):
        text = template.render([{"role": "user", "content": "a"}])
        assert text == "own: <|im_start|>user\na<|im_end|>\n"
