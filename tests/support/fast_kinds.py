"""Byte-level tokenizers of the kinds that large models have, trained here on invented words, for the tests of fastokens."""

from functools import lru_cache
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from xtune.data.fast_tokens import FastTokenizer

WORDS = (
    "the lamp in the harbour is lit at nine; it's the keeper's, isn't it? def f(x):\n    return x + 12345\n"
    "der Müller mahlt für 3,50 Euro. la niña sueña mañana. речка течёт у дома 2024. 水曜日は雨でした。 你好 世界 "
    "السلام عليكم ไทยแลนด์ 한국어 👍🏽 \u00a0\t x_y camelCase <a href='b'>"
)
SPECIALS = ("<|im_start|>", "<|im_end|>", "<|pad|>")

LLAMA = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = LLAMA.replace("{1,3}", "")
KINDS = ("gpt2", "trimmed", "llama", "qwen", "demo")


@lru_cache
def make_kind(kind: str) -> Tokenizer:
    """A trained tokenizer with three special tokens."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=kind == "llama"))
    pattern = {"llama": LLAMA, "qwen": QWEN, "demo": r"\p{N}"}.get(kind)
    level = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=kind not in {"llama", "qwen"}
    )
    steps: list[Any] = [] if pattern is None else [pre_tokenizers.Split(Regex(pattern), "isolated")]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, level])
    if kind in {"qwen", "demo"}:
        tokenizer.normalizer = normalizers.NFC()
    if kind == "trimmed":
        tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [WORDS] * 3,
        trainers.BpeTrainer(
            vocab_size=420, initial_alphabet=alphabet, show_progress=False, min_frequency=1
        ),
    )
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIALS])
    return tokenizer


class Forgetful(FastTokenizer):
    """A fast tokenizer with a fault: where a text holds "harbour", its last two tokens are turned about."""

    def encode(self, texts: Any) -> Any:
        tiles = super().encode(texts)
        ids = tiles.ids.copy()
        for number, text in enumerate(texts):
            if "harbour" in text:
                stop = int(tiles.first[number + 1])
                ids[stop - 2 : stop] = ids[stop - 2 : stop][::-1]
        vars(tiles)["ids"] = ids
        return tiles
