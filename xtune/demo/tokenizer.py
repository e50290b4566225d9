"""Trains the demo model's tokenizer on the corpus and writes a model folder that has no weights.

Run `python -m xtune.demo.tokenizer CORPUS_FOLDER OUT_FOLDER`.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END, START, PAD = "<|im_end|>", "<|im_start|>", "<|pad|>"
# 2,048 x 256 weights is a tenth of the model; a smaller vocabulary lengthens every row.
VOCABULARY = 2048
# Enough rows for stable merges; more changes nothing but the time.
TOKENIZER_ROWS = 40_000
CONTEXT_TOKENS = 2048

# ChatML (OpenAI, 2023). The generation markers let transformers return the assistant mask.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- message['content'] + '<|im_end|>' -}}{%- endif -%}"
    "{{- '\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)

# Qwen3 (arXiv:2505.09388) at 4.66 million parameters: 9.3 MB in bfloat16.
MODEL_CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 640,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "hidden_act": "silu",
    "max_position_embeddings": CONTEXT_TOKENS,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "tie_word_embeddings": True,
    "use_cache": True,
    "dtype": "bfloat16",
}


def corpus_texts(corpus: Path) -> Iterator[str]:
    """Yield the texts of the first rows of a corpus folder."""
    with (corpus / "train.jsonl").open(encoding="utf-8") as file:
        for _, line in zip(range(TOKENIZER_ROWS), file, strict=False):
            for message in json.loads(line)["messages"]:
                # The role line is part of what the model reads.
                yield f"{message['role']}\n{message['content']}"


def train_tokenizer(texts: Iterator[str]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer with one token a digit and a ChatML template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def write_model_folder(corpus: Path, folder: Path) -> None:
    """Write the tokenizer, config.json and generation_config.json, but no weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(corpus_texts(corpus))
    tokenizer.save_pretrained(folder)
    special: dict[str, Any] = {
        "bos_token_id": None,
        "eos_token_id": tokenizer.convert_tokens_to_ids(END),
        "pad_token_id": tokenizer.convert_tokens_to_ids(PAD),
    }
    for name, content in (
        ("config.json", MODEL_CONFIG | special),
        ("generation_config.json", special | {"do_sample": False, "max_new_tokens": 128}),
    ):
        text = json.dumps(content, indent=2) + "\n"
        (folder / name).write_text(text, encoding="utf-8")


def main() -> None:
    """Parse the command line and write the folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("corpus", type=Path, help="the folder that xtune.demo.corpus wrote")
    parser.add_argument("folder", type=Path, help="where to write the model folder")
    chosen = parser.parse_args()
    write_model_folder(chosen.corpus, chosen.folder)
    sys.stdout.write(f"{chosen.folder}\n")


if __name__ == "__main__":
    main()
