"""Likelihoods in batches against one forward pass per text with plain transformers; cuts against the tokenizer."""

from typing import Any

import pytest
import torch

from xtune.demo.bundled import bundled_path
from xtune.evaluate.asking import Asking
from xtune.evaluate.likelihood import Ending, cut_endings, log_likelihoods
from xtune.evaluate.suite import judge_choices
from xtune.evaluate.tasks.items import Item


@pytest.fixture(scope="module")
def demo() -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = bundled_path("bundled:demo")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def alone(model: Any, given: list[int], ids: list[int]) -> float:
    """The logarithm of the probability, token by token, of one text."""
    logits = model(input_ids=torch.tensor([[*given, *ids]])).logits[0].double()
    scores = torch.log_softmax(logits, dim=-1)
    return sum(float(scores[len(given) - 1 + place, token]) for place, token in enumerate(ids))


def test_likelihoods_in_batches_are_those_of_single_texts(demo: tuple[Any, Any]) -> None:
    model, tokenizer = demo
    contexts = ["The lamp fell, so", "Yesterday it rained in Oslo and", "Three boats"]
    endings = []
    for context in contexts:
        given = tokenizer(context)["input_ids"]
        endings += [
            Ending(tuple(given), tuple(tokenizer(text, add_special_tokens=False)["input_ids"]))
            for text in (" it broke.", " the", " a", " we stayed at home and read for hours.")
        ]
    told: list[int] = []
    found = log_likelihoods(model, endings, pad_token_id=0, progress=told.append)
    expected = [alone(model, list(each.given), list(each.ids)) for each in endings]
    assert found == pytest.approx(expected, abs=1e-3)
    assert sum(told) == len(endings)


def test_endings_are_compared_behind_the_tokens_that_all_begin_with() -> None:
    # the context's last token became part of a longer one in the second text only
    cut = cut_endings([1, 2, 3], [[1, 2, 3, 4], [1, 2, 34]])
    assert cut == [Ending((1, 2), (3, 4)), Ending((1, 2), (34,))]
    assert cut_endings([1, 2, 3], [[1, 2, 3, 4, 5], [1, 2, 3, 6]]) == [
        Ending((1, 2, 3), (4, 5)),
        Ending((1, 2, 3), (6,)),
    ]
    # an ending of nothing leaves the context's last token to be asked for
    assert cut_endings([1, 2], [[1, 2], [1, 2, 3]]) == [Ending((1,), (2,)), Ending((1,), (2, 3))]


def test_a_winograd_sentence_is_judged_by_its_ending(demo: tuple[Any, Any]) -> None:
    model, tokenizer = demo
    item = Item(
        prompt=" was too big.",
        join="",
        contexts=("The cup and the box: the cup", "The cup and the box: the box"),
        right=1,
    )
    endings = Asking(tokenizer, [], encoder=None, longest=512).endings(item)
    for ending, context in zip(endings, item.contexts, strict=True):
        assert tokenizer.decode([*ending.given, *ending.ids]) == context + item.prompt
        assert tokenizer.decode(ending.given) == context
    found = log_likelihoods(model, endings, pad_token_id=0)
    expected = [alone(model, list(each.given), list(each.ids)) for each in endings]
    assert found == pytest.approx(expected, abs=1e-3)


def test_what_is_longer_than_the_model_reads_loses_its_beginning(demo: tuple[Any, Any]) -> None:
    _, tokenizer = demo
    item = Item(prompt="one two three four five six seven", join=" ", choices=("a", "b c"), right=0)
    asking = Asking(tokenizer, [item], encoder=None, longest=6)
    for ending in asking.endings(item):
        assert len(ending.read) <= 6
        assert ending.given
    assert asking.cut == 2
    assert len(asking.prompt(item, answer_tokens=2)) == 4


def test_accuracy_and_its_norm_are_counted_by_hand() -> None:
    items = [
        Item(prompt="", join=" ", choices=("yes", "certainly so"), right=1),
        Item(prompt="", join=" ", choices=("a", "b"), right=0),
        Item(prompt="", join=" ", choices=("a", "b"), right=1),
    ]
    # -6 > -8, but -6 / 3 = -2 and -8 / 12 = -0.67; of equals the first
    measures, answers = judge_choices(
        items, [[-6.0, -8.0], [-1.0, -1.0], [-3.0, -2.0]], ["accuracy", "accuracy_norm"]
    )
    assert [measure.value for measure in measures] == pytest.approx([2 / 3, 1.0])
    assert [(answer["answer"], answer["answer_norm"]) for answer in answers] == [
        (0, 1),
        (0, 0),
        (1, 1),
    ]
