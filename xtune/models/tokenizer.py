"""Tokenizers: loaded with their chat template and a padding token that is not the end token; where turns end is `data`'s."""

import json
import logging
import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from xtune.errors import ModelError
from xtune.models.quiet import quiet
from xtune.models.source import fetch, read_json_object
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

TOKENIZER_CONFIG = "tokenizer_config.json"

VOCABULARY_FILES = ("tokenizer.json", "*.model", "vocab.*", "*.tiktoken", "*.bpe")
"""Files of which a tokenizer needs one."""


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


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes a tokenizer in words that transformers 4 knows, too.

    What transformers 5 writes by itself names a class that 4 has not, and special tokens as a list where 4 wants a mapping.
    llama.cpp's converter still stands on 4.57 (its requirements, 2026-11). 5 reads both alike.

    Raises:
        OSError: It cannot be written.
    """
    try:
        tokenizer.save_pretrained(folder)
    except Exception as error:
        # what the system refuses to the library underneath comes as a bare Exception with a number in its text
        refused = re.search(r"\(os error (\d+)\)", str(error))
        if type(error) is not Exception or refused is None:
            raise
        raise OSError(int(refused[1]), os.strerror(int(refused[1])), str(folder)) from error
    path = folder / TOKENIZER_CONFIG
    config = read_json_object(path)
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    for name in ("is_local", "local_files_only"):  # how it was read here
        config.pop(name, None)
    text = json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    path.write_text(text, encoding="utf-8")


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
