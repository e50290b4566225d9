"""The verdict on a chat template: what it says of templates whose behaviour is known."""

import json

import pytest
from chat_families import FAMILIES, make_tokenizer
from odd_families import ODD_FAMILIES

from xtune.data.probe import CONVERSATIONS, Verdict, probe
from xtune.errors import DataError

ALL = FAMILIES | ODD_FAMILIES


def verdict_of(name: str) -> Verdict:
    return probe(make_tokenizer(ALL[name]))


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {trial.conversation: trial.outcome for trial in verdict.trials}


def test_the_bundled_template_states_its_masks() -> None:
    verdict = verdict_of("chatml_generation")
    assert (verdict.masks, verdict.end_tokens) == ("generation blocks", ("<|im_end|>",))
    assert verdict.prefix_stable
    trial = next(trial for trial in verdict.trials if trial.conversation == "several turns")
    assert trial.trained == ("Uno.<|im_end|>", "Due.<|im_end|>")


@pytest.mark.parametrize(
    ("name", "ends", "stable"),
    [
        ("chatml", ("<|im_end|>",), True),
        ("llama3", ("<|eot_id|>",), True),
        ("mistral", ("</s>",), True),
        ("deepseek", ("<eos>",), False),
        ("qwen3", ("<|im_end|>",), True),
        ("two_ends", ("<|return|>", "<|end|>"), True),
        ("wrapped", ("<|over|>",), True),
        ("always_asking", ("<|eot|>",), True),
        ("sealed", ("<|end|>",), True),
        ("quiet", ("<|im_end|>",), False),
    ],
)
def test_end_tokens_and_stability_are_those_of_the_layout(
    name: str, ends: tuple[str, ...], stable: bool
) -> None:
    verdict = verdict_of(name)
    assert verdict.masks == "proven"
    assert verdict.end_tokens == ends
    assert verdict.prefix_stable == stable
    assert {trial.conversation for trial in verdict.trials} == set(CONVERSATIONS)
    assert json.loads(json.dumps(verdict.to_json()))["end_tokens"] == list(ends)


def test_a_system_prompt_of_its_own_is_quoted_and_no_other_template_is_said_to_have_one() -> None:
    assert verdict_of("wrapped").system_prompt == "You are Ada, a clerk."
    assert [name for name in ALL if verdict_of(name).system_prompt] == ["wrapped"]


def test_a_rejection_is_in_the_templates_own_words() -> None:
    verdict = verdict_of("gemma")
    assert outcomes(verdict)["system"] == "rejected"
    assert "system: the template rejects it: System role not supported" in verdict.lines()


def test_todays_date_is_told() -> None:
    dated = "{{ 'Today is ' + strftime_now('%Y-%m-%d') + '.\n' }}" + FAMILIES["chatml"].template
    verdict = probe(make_tokenizer(FAMILIES["chatml"]), dated)
    assert verdict.dated
    assert "writes today's date, so every day's rendering is another" in verdict.lines()


def test_a_template_without_end_is_refused_and_says_so() -> None:
    bare = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
    verdict = probe(make_tokenizer(FAMILIES["chatml"]), bare)
    assert (verdict.masks, verdict.end_tokens) == ("refused", ())
    assert "end of an answer: none: a model would never learn to stop" in verdict.lines()


def test_a_template_that_is_no_jinja_is_rejected_with_what_is_wrong() -> None:
    verdict = probe(make_tokenizer(FAMILIES["chatml"]), "{% for m in messages %}{{ m.content }}")
    assert set(outcomes(verdict).values()) == {"rejected"}
    assert "endfor" in verdict.trials[0].reason


def test_a_template_that_drops_earlier_reasoning_is_known() -> None:
    dropping = FAMILIES["chatml"].template.replace(
        "message.content",
        "('<think>' + message.reasoning_content + '</think>' if loop.last and message.reasoning_content else '') + message.content",
    )
    assert probe(make_tokenizer(FAMILIES["chatml"]), dropping).drops_reasoning
    assert not verdict_of("chatml").drops_reasoning


def test_no_template_at_all_is_refused() -> None:
    tokenizer = make_tokenizer(FAMILIES["chatml"])
    tokenizer.chat_template = None
    with pytest.raises(DataError, match="no chat template"):
        probe(tokenizer)
