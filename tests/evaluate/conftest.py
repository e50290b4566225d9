"""A tiny chat model with a byte-level tokenizer, built in memory."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from threads import on_one_thread
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from xtune.recipe import Recipe
from xtune.recipe.dump import dump_recipe

SPECIAL = ["<|pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

TEXT = [
    "Send 3 lamps to Oslo, please.",
    'The order: {"item": "lamp", "count": 3, "city": "Oslo"}',
    "Żółć, 東京, 🙂 and naïve words; one two three four five six seven eight nine ten.",
] * 3


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    with on_one_thread():
        yield


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(TEXT, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<|pad|>", eos_token="<|im_end|>", padding_side="left"
    )
    tokenizer.chat_template = CHATML
    return tokenizer


@pytest.fixture(scope="session")
def model(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """Random weights, large enough that greedy answers differ between prompts."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        initializer_range=0.6,
        tie_word_embeddings=False,
        dtype=torch.float32,
    )
    torch.manual_seed(1)
    return Qwen3ForCausalLM(config).eval()


@pytest.fixture(scope="session")
def base_folder(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The tiny model as a transformers folder."""
    folder = tmp_path_factory.mktemp("base")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def make_run(base_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes a run folder with a recipe, and a file of three held-out rows beside it."""

    def make(method: str, stage: str = "sft") -> Path:
        run = tmp_path / "run"
        run.mkdir()
        rows = tmp_path / "held-out.jsonl"
        lines = [
            {
                "messages": [
                    {"role": "user", "content": f"one {word}"},
                    {"role": "assistant", "content": f"two {word}"},
                ]
            }
            for word in ("three", "four", "five")
        ]
        rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
        recipe = {
            "stage": stage,
            "model": {"name": str(base_folder)},
            "method": method,
            "data": {"train": [str(rows)], "evaluate": [str(rows)], "max_tokens": 64},
            "train": {"learning_rate": 1e-3},
        }
        (run / "recipe.yaml").write_text(dump_recipe(Recipe.model_validate(recipe)))
        return run

    return make
