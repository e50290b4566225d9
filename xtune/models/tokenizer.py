"""Tokenizers: loaded with their chat template, a padding token that is not the end token, and the stop tokens."""

import logging
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from xtune.errors import ModelError
from xtune.models.quiet import quiet
from xtune.models.source import fetch
from xtune.recipe.models import Model

log = logging.getLogger("xtune")

PADDING_NAMES = (
    "<|finetune_right_pad_id|>",
    "<pad>",
    "[PAD]",
    "<|pad|>",
    "<PAD>",
    "<|padding|>",
    "<pad_token>",
)
"""Padding tokens that base models carry without declaring them: Llama 3.1's first, then the usual ones."""

UNUSED_MARKS = ("reserved_special_token", "unused", "extra_id_", "placeholder", "reserved")
"""Parts of the names of tokens that a vocabulary reserves and no text contains."""

VOCABULARY_FILES = ("tokenizer.json", "*.model", "vocab.*", "*.tiktoken", "*.bpe")
"""Files of which a tokenizer needs one."""

_PROBES = ("a", "zebra 7")
"""Two replies; what a template renders after both of them is how a turn ends."""


def load_tokenizer(model: Model, template: str | None) -> PreTrainedTokenizerBase:
    """The model's fast tokenizer; `template` names a Jinja file that replaces its chat template.

    Raises:
        ModelError: There is no tokenizer, only a slow one, or the template file cannot be read.
    """
    folder = fetch(model, weights=False)
    tokenizer = open_tokenizer(folder, model)
    if template is not None:
        tokenizer.chat_template = read_template(template)
    _choose_padding(tokenizer)
    return tokenizer


def open_tokenizer(folder: Path, model: Model) -> PreTrainedTokenizerBase:
    """The fast tokenizer in a folder, as it is.

    Raises:
        ModelError: There is no tokenizer, or only a slow one.
    """
    if not any(any(folder.glob(name)) for name in VOCABULARY_FILES):
        raise ModelError(
            f"{model.name} has no tokenizer: its folder needs tokenizer.json and tokenizer_config.json.",
            advice="Copy them from the model's page.",
        )  # transformers 5 would make an empty one
    try:
        with quiet():
            tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=model.trust_remote_code, local_files_only=True
            )
    except (OSError, ValueError, KeyError, TypeError, ImportError, StrictDataclassError) as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise ModelError(
            f"{model.name} has no tokenizer that can be loaded: {reason}",
            advice="Its folder needs tokenizer.json and tokenizer_config.json.",
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerBase) or not tokenizer.is_fast:
        raise ModelError(
            f"{model.name} has only a slow tokenizer; xtune needs tokenizer.json.",
            advice="Convert it once: AutoTokenizer.from_pretrained(folder, use_fast=True).save_pretrained(folder).",
        )
    return tokenizer


def read_template(path: str) -> str:
    """The text of a template file.

    Raises:
        ModelError: There is no such file, or it is not UTF-8.
    """
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(
            f"`data.template` is {path}, which cannot be read: {reason}.",
            advice="It is a Jinja text file.",
        ) from None


def pad_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that rows are padded with.

    Padding never decides what is trained on (labels do, by position), so a vocabulary without any
    spare token is padded with its id 0.
    """
    pad = tokenizer.pad_token_id
    return pad if isinstance(pad, int) else 0


def stop_token_ids(
    tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None = None
) -> list[int]:
    """Every token that ends a reply: the template's end of turn first, then the tokenizer's and the model's."""
    found: list[int] = []
    turn = end_of_turn_id(tokenizer)
    if turn is not None:
        found.append(turn)
    if isinstance(tokenizer.eos_token_id, int):
        found.append(tokenizer.eos_token_id)
    generation = getattr(model, "generation_config", None)
    if isinstance(generation, GenerationConfig) and generation.eos_token_id is not None:
        eos = generation.eos_token_id
        found.extend(eos if isinstance(eos, list) else [int(eos)])
    return list(dict.fromkeys(found))


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token that the chat template puts right after a reply; None without one."""
    if not tokenizer.chat_template:
        return None
    rendered = [_render(tokenizer, probe) for probe in _PROBES]
    after = [text.rpartition(probe)[2] for text, probe in zip(rendered, _PROBES, strict=True)]
    if after[0] != after[1] or not after[0].strip():
        return None
    first: list[int] = tokenizer.encode(after[0].lstrip(), add_special_tokens=False)[:1]
    known = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    return first[0] if first and first[0] in known else None


def _render(tokenizer: PreTrainedTokenizerBase, reply: str) -> str:
    """A one-turn conversation as text; empty when the template will not take it."""
    from jinja2 import TemplateError  # noqa: PLC0415 - transformers imports it late as well

    messages = [{"role": "user", "content": "Say it."}, {"role": "assistant", "content": reply}]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False)
    except (TemplateError, TypeError, ValueError, KeyError):
        return ""
    return text if isinstance(text, str) else ""


def _choose_padding(tokenizer: PreTrainedTokenizerBase) -> None:
    """Gives the tokenizer a padding token other than its end token, where its vocabulary has one to spare."""
    if tokenizer.pad_token is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return
    vocabulary = tokenizer.get_vocab()
    spare = sorted(
        (token for token in tokenizer.added_tokens_decoder.values() if _is_unused(token.content)),
        key=lambda token: vocabulary.get(token.content, 0),
    )
    unknown = [tokenizer.unk_token] if tokenizer.unk_token_id != tokenizer.eos_token_id else []
    candidates = [*PADDING_NAMES, *unknown, *(token.content for token in spare)]
    for name in candidates:
        if isinstance(name, str) and name in vocabulary:
            log.info("Padding token: %s (the tokenizer declares none of its own).", name)
            tokenizer.pad_token = name
            return
    log.info(
        "The vocabulary has no token to spare for padding; rows are padded with id %d.",
        pad_token_id(tokenizer),
    )


def _is_unused(name: str) -> bool:
    lowered = name.lower()
    return any(mark in lowered for mark in UNUSED_MARKS)
