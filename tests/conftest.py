"""Fixtures for all tests: a tiny model folder and rows to train it on, made here from nothing."""

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import current_thread, main_thread

import hypothesis
import pytest

# what is printed is as wide as a terminal that nobody set, 80 columns, and as plain
for name in (
    "COLUMNS", "LINES", "TERMINAL_WIDTH", "FORCE_COLOR", "NO_COLOR", "PY_COLORS", "CLICOLOR_FORCE", "GITHUB_ACTIONS",
    "TTY_COMPATIBLE",
):  # fmt: skip
    os.environ.pop(name, None)

# no proxy stands between the tests and their servers
if any(name.lower().endswith("_proxy") for name in os.environ):
    nearby = [
        "127.0.0.1",
        "localhost",
        os.environ.get("no_proxy") or os.environ.get("NO_PROXY", ""),
    ]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, nearby))

# a shell ignores SIGINT for a job in the background, as nohup does SIGHUP, and processes hand that on; one that has a handler
# starts its children without it
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, lambda *_: None),
):
    if signal.getsignal(number) is signal.SIG_IGN and current_thread() is main_thread():
        signal.signal(number, handler)

# the same examples everywhere, however slow the machine; `--hypothesis-profile explore` tries others each time
hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.data_too_large,
        hypothesis.HealthCheck.filter_too_much,
    ],
)
hypothesis.settings.register_profile(
    "explore", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("repeatable")

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

WORDS = [
    "red",
    "blue",
    "green",
    "seven",
    "nine",
    "lamp",
    "boat",
    "river",
    "stone",
    "cloud",
    "walks",
    "sings",
    "holds",
    "finds",
    "north",
    "quiet",
]


def make_rows(count: int, seed: int) -> list[dict[str, object]]:
    """Rows in the messages format: repeat a few made-up words backwards."""
    random_words = random.Random(seed)
    rows: list[dict[str, object]] = []
    for _ in range(count):
        words = random_words.choices(WORDS, k=random_words.randint(2, 6))
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": "Backwards: " + " ".join(words)},
                    {"role": "assistant", "content": " ".join(reversed(words))},
                ]
            }
        )
    return rows


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make_tokenizer_folder(folder: Path) -> None:
    """Train a byte-level BPE tokenizer with a chat template and save it as transformers does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        [" ".join(WORDS), "user assistant system Backwards:"] * 8, trainer
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|im_end|>"
    )
    wrapped.chat_template = CHATML
    wrapped.save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A standard transformers folder: Qwen3 of two layers with random weights and its own tokenizer."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("tiny-model")
    make_tokenizer_folder(folder)
    config = Qwen3Config(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=2,
        pad_token_id=0,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 training rows."""
    return write_rows(tmp_path_factory.mktemp("rows") / "train.jsonl", make_rows(160, seed=1))


@pytest.fixture(scope="session")
def held_out_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 held-out rows."""
    return write_rows(tmp_path_factory.mktemp("rows") / "held-out.jsonl", make_rows(24, seed=2))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the tests' own, for this process and those it starts."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XTUNE_CACHE", str(folder))
        yield folder
