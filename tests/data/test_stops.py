"""Where generation stops: at the tokens that training ends turns with, the tokenizer's and the model's."""

import pytest
from chat_families import FAMILIES, Family, make_conversation
from chat_families import make_tokenizer as make_family_tokenizer
from factories import CHATML, make_model, make_tokenizer
from tokenizers import AddedToken

from xtune.data.encode import Encoder
from xtune.data.stops import end_tokens, stop_token_ids

LLAMA3 = "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}<|im_start|>\n\n{{ m.content }}<|im_end|>{% endfor %}"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHATML, "<|im_end|>"),
        (LLAMA3, "<|im_end|>"),
        ("{% for m in messages %}{{ m.content }} <|endoftext|>{% endfor %}", "<|endoftext|>"),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", None),
        ("{% for m in messages %}{{ m.content | trim }}{% endfor %}", None),
        ("{{ raise_exception('no') }}", None),
        (None, None),
    ],
)
def test_the_end_of_a_turn_is_what_the_template_puts_after_a_reply(
    template: str | None, expected: str | None
) -> None:
    tokenizer = make_tokenizer(template=template)
    assert end_tokens(tokenizer) == ([] if expected is None else [expected])


def test_generation_stops_at_the_turn_the_tokenizers_end_and_the_models_end() -> None:
    tokenizer, model = make_tokenizer(), make_model()
    model.generation_config.eos_token_id = [256, 5]
    assert stop_token_ids(tokenizer, model) == [258, 256, 5]
    assert stop_token_ids(tokenizer) == [258, 256]


def test_added_tokens_do_not_confuse_the_end_of_a_turn() -> None:
    tokenizer = make_tokenizer(template="{% for m in messages %}{{ m.content }}</turn>{% endfor %}")
    tokenizer.add_tokens([AddedToken("</turn>", normalized=False)])
    assert stop_token_ids(tokenizer)[0] == len(tokenizer) - 1


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_generation_stops_at_every_end_token_that_is_trained_on(family: Family) -> None:
    tokenizer = make_family_tokenizer(family)
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    (sequence,) = Encoder(tokenizer).encode(make_conversation(turns))
    trained = sequence.labels[sequence.labels >= 0].tolist()
    special = {token for token in trained if token in tokenizer.added_tokens_decoder}
    assert special
    assert special <= set(stop_token_ids(tokenizer))


def test_a_token_between_reasoning_and_answer_does_not_stop_generation() -> None:
    """As in OpenAI's harmony format, where `<|end|>` closes the analysis and the answers before the last."""
    template = (
        "{% for m in messages %}{{ '<|start|>' + m.role }}"
        "{% if m.reasoning_content and loop.last %}{{ '<|channel|>analysis<|message|>' + m.reasoning_content + '<|end|><|start|>assistant' }}"
        "{% endif %}{{ '<|message|>' + m.content }}"
        "{{ '<|return|>' if loop.last and m.role == 'assistant' else '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
    )
    specials = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>")
    family = Family("harmony", template, specials, oracle=lambda _: [])
    assert end_tokens(make_family_tokenizer(family)) == ["<|return|>"]
