"""Tests of the demo model's world, corpus, quick-start rows and tokenizer."""

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from xtune.demo.corpus import write_corpus
from xtune.demo.orders import write_orders
from xtune.demo.sentences import order, templates_of
from xtune.demo.templates import CLOSINGS, DAY_PHRASES, GOODS, OPENINGS, TEMPLATES
from xtune.demo.world import DAYS, Share, number_words

DATA = Path(__file__).parents[2] / "xtune" / "demo" / "data"
MODEL = Path(__file__).parents[2] / "xtune" / "demo" / "model"
SPLITS: tuple[Share, ...] = ("train", "develop", "test")
KEYS = ["customer", "item", "quantity", "day"]


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("orders")
    write_orders(folder, seed=0)
    return {split: read_rows(folder / f"{split}.jsonl") for split in SPLITS}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, tokens=60_000, seed=0)
    return folder


def made_up_words(rows: list[dict[str, Any]]) -> set[str]:
    """Return each word of a customer's name and each noun of an item, without a final s."""
    words: set[str] = set()
    for row in rows:
        answer = json.loads(row["messages"][-1]["content"])
        words.update(word.rstrip("s") for word in answer["customer"].lower().split())
        words.add(answer["item"].lower().split()[-1].rstrip("s"))
    return words


def words_of(text: str) -> set[str]:
    """Return the words of a text, each without a final s."""
    return {word.rstrip("s") for word in re.findall(r"[^\W\d_]+", text.lower())}


GRAMMAR = {
    word
    for text in TEMPLATES + DAY_PHRASES + OPENINGS + CLOSINGS + GOODS
    for word in re.findall(r"[^\W\d_]+", re.sub(r"\{\w+\}", " ", text.lower()))
}


def skeleton(row: dict[str, Any]) -> str:
    """Return what is left of a sentence when all that varies is blanked."""
    answer = json.loads(row["messages"][-1]["content"])
    text = row["messages"][0]["content"].replace(answer["customer"], "[C]")
    text = re.sub("|".join(DAYS), "[D]", text.replace(answer["item"], "[I]"))
    quantity = rf"\b({answer['quantity']}|{number_words(answer['quantity'])})\b"
    text = re.sub(r"\d+", "[N]", re.sub(quantity, "[N]", text, flags=re.IGNORECASE))
    # Other people and towns: capitalized words that are none of the grammar's.
    found = re.sub(
        r"\b[^\W\d_]{2,}\b",
        lambda word: word[0] if word[0].lower() in GRAMMAR or word[0].islower() else "[T]",
        text,
    )
    return re.sub(r"\[T\]( \[T\])+", "[T]", found)


def test_the_corpus_is_a_function_of_the_seed(tmp_path: Path) -> None:
    texts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_corpus(tmp_path / name, tokens=5_000, seed=seed)
        texts.append((tmp_path / name / "train.jsonl").read_bytes())
    assert texts[0] == texts[1] != texts[2]


def test_the_shipped_quickstart_rows_are_what_the_script_writes(tmp_path: Path) -> None:
    write_orders(tmp_path, seed=0)
    for split in SPLITS:
        assert (tmp_path / f"{split}.jsonl").read_bytes() == (DATA / f"{split}.jsonl").read_bytes()


def test_every_order_answer_is_json_with_the_four_keys(
    orders: dict[str, list[dict[str, Any]]],
) -> None:
    for rows in orders.values():
        for row in rows:
            answer = json.loads(row["messages"][-1]["content"])
            assert list(answer) == KEYS
            assert isinstance(answer["quantity"], int)


def test_every_order_answer_can_be_read_off_its_sentence(
    orders: dict[str, list[dict[str, Any]]],
) -> None:
    for row in (row for rows in orders.values() for row in rows):
        sentence = row["messages"][0]["content"]
        answer = json.loads(row["messages"][-1]["content"])
        assert all(answer[key] in sentence for key in ("customer", "item", "day"))
        number = rf"\b({answer['quantity']}|{number_words(answer['quantity'])})\b"
        assert re.search(number, sentence, flags=re.IGNORECASE)


def test_the_splits_share_no_template(orders: dict[str, list[dict[str, Any]]]) -> None:
    used = {split: {row["meta"]["template"] for row in rows} for split, rows in orders.items()}
    assert not used["train"] & used["develop"]
    assert not (used["train"] | used["develop"]) & used["test"]
    assert sum(len(templates_of(split)) for split in SPLITS) == len(set(TEMPLATES))


def test_about_84_percent_of_the_templates_are_for_training_and_8_each_are_held_out() -> None:
    counts = {split: len(templates_of(split)) / len(TEMPLATES) for split in SPLITS}
    assert counts["train"] == pytest.approx(0.84, abs=0.04)
    assert counts["develop"] == pytest.approx(0.08, abs=0.03)
    assert counts["test"] == pytest.approx(0.08, abs=0.03)


def test_the_rows_of_a_split_are_spread_evenly_over_its_templates(
    orders: dict[str, list[dict[str, Any]]],
) -> None:
    for split in SPLITS:
        uses = Counter(row["meta"]["template"] for row in orders[split])
        assert set(uses) == set(templates_of(split))
        assert max(uses.values()) - min(uses.values()) <= 1


def test_no_shipped_file_is_above_two_megabytes() -> None:
    assert all(path.stat().st_size < 2_000_000 for path in DATA.glob("*.jsonl"))


def test_at_least_twelve_training_templates_name_someone_who_is_not_the_customer() -> None:
    assert sum("{p}" in template for template in templates_of("train")) >= 12


def test_no_template_is_written_twice_or_is_longer_than_25_words() -> None:
    assert len(set(TEMPLATES)) == len(TEMPLATES)
    rng = random.Random(0)
    sentences = [order(rng, "train", 0.0, text).sentence for text in TEMPLATES]
    assert max(len(sentence.split()) for sentence in sentences) <= 25


def test_no_test_sentence_has_the_skeleton_of_a_training_sentence(
    orders: dict[str, list[dict[str, Any]]],
) -> None:
    seen = {skeleton(row) for row in orders["train"] + orders["develop"]}
    assert not seen & {skeleton(row) for row in orders["test"]}


def test_no_made_up_test_word_is_in_a_training_sentence(
    orders: dict[str, list[dict[str, Any]]],
) -> None:
    text = "\n".join(row["messages"][0]["content"] for row in orders["train"] + orders["develop"])
    assert not made_up_words(orders["test"]) & words_of(text)
    train = "\n".join(row["messages"][0]["content"] for row in orders["train"])
    assert not made_up_words(orders["develop"]) & words_of(train)


def test_no_made_up_test_word_is_in_the_corpus(
    orders: dict[str, list[dict[str, Any]]], corpus: Path
) -> None:
    text = (corpus / "train.jsonl").read_text(encoding="utf-8")
    assert not made_up_words(orders["test"] + orders["develop"]) & words_of(text)


def test_the_corpus_never_asks_for_the_quickstart_task(corpus: Path) -> None:
    text = (corpus / "train.jsonl").read_text(encoding="utf-8")
    assert "order as JSON" not in text
    assert '\\"customer\\":' not in text


def test_every_order_laid_out_in_the_corpus_has_an_answer_read_off_its_sentence(
    corpus: Path,
) -> None:
    rows = read_rows(corpus / "train.jsonl")
    answers = [row["messages"] for row in rows if row["meta"]["kind"] == "order_everything"]
    assert len(answers) > 50
    for *_, user, assistant in answers:
        cells = [cell.split(": ", 1) for cell in assistant["content"].split(" | ")]
        assert [key for key, _ in cells] == KEYS
        values = dict(cells)
        assert all(values[key] in user["content"] for key in ("customer", "item", "day"))


def test_every_corpus_record_is_valid_json(corpus: Path) -> None:
    rows = [row for row in read_rows(corpus / "train.jsonl") if row["meta"]["kind"] == "record"]
    assert len(rows) > 20
    assert all(json.loads(row["messages"][-1]["content"]) for row in rows)


def test_every_kind_of_row_has_turns_that_alternate_and_none_is_empty(corpus: Path) -> None:
    kinds = set()
    for row in read_rows(corpus / "train.jsonl"):
        kinds.add(row["meta"]["kind"])
        roles = [message["role"] for message in row["messages"] if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(message["content"] for message in row["messages"])
    assert len(kinds) >= 12


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (57, "fifty-seven"),
        (305, "three hundred and five"),
    ],
)
def test_numbers_are_spelled_as_in_a_school_book(number: int, words: str) -> None:
    assert number_words(number) == words


@pytest.mark.parametrize(
    "text", ["Grüße aus Kötlín", "привет, 你好, สวัสดี", '🙂 {"a": 12}', "  two  spaces\n\ttab "]
)
def test_the_tokenizer_gives_back_any_unicode_text(text: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_tokenizer_writes_each_digit_as_one_token() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    assert len(tokenizer("2031")["input_ids"]) == 4


def test_the_template_marks_the_answers_and_their_end_of_turn() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Yes."},
    ]
    encoded: Any = tokenizer.apply_chat_template(
        messages, return_dict=True, return_assistant_tokens_mask=True
    )
    marked = [
        token
        for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
        if mask
    ]
    assert tokenizer.decode(marked) == "Yes.<|im_end|>"
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_the_tokenizer_command_writes_all_that_a_model_from_nothing_needs(
    corpus: Path, tmp_path: Path
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    from xtune.demo.tokenizer import write_model_folder

    write_model_folder(corpus, tmp_path / "start")
    config = AutoConfig.from_pretrained(tmp_path / "start")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "start")
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    assert len(tokenizer) <= config.vocab_size == 2048
    assert tokenizer.chat_template
    generation = GenerationConfig.from_pretrained(tmp_path / "start")
    assert generation.eos_token_id == tokenizer.eos_token_id
    # By hand: 2048 x 256 embeddings, 6 layers of 688,768 weights, a last norm of 256.
    assert sum(weight.numel() for weight in model.parameters()) == 524_288 + 6 * 688_768 + 256
