"""What a model card may say about the base model: its public name, its licence, and Python that loads it."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePath

import yaml

from xtune.errors import XtuneError
from xtune.models.source import local_folder
from xtune.recipe.models import LowRank, Model, QLoRA

CARD = "README.md"

HUB_ID = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
"""An id on the Hugging Face hub: owner and name."""

CHAT_LINES = [
    "",
    'messages = [{"role": "user", "content": "Hello!"}]',
    "inputs = tokenizer.apply_chat_template(",
    '    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"',
    ").to(model.device)",
    "output = model.generate(**inputs, max_new_tokens=128)",
    'print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))',
]


def load_full(place: str) -> list[str]:
    """Python lines that load a fully tuned model."""
    return [
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f'tokenizer = AutoTokenizer.from_pretrained("{place}")',
        f'model = AutoModelForCausalLM.from_pretrained("{place}", dtype="auto", device_map="auto")',
    ]


def load_adapter(place: str, model: Model, method: LowRank) -> list[str]:
    """Python lines that load the base from where the recipe has it, and the adapter on top."""
    name, revision = (
        f'"{public_name(model.name)}"',
        f', revision="{model.revision}"' if model.revision else "",
    )
    imports = [
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
    ]
    if model.name.startswith("bundled:"):
        imports.append("from xtune.demo.bundled import bundled_path")
        name = f"bundled_path({name})"
    elif model.hub == "modelscope":
        imports.append("from modelscope import snapshot_download")
        name, revision = f"snapshot_download({name}{revision})", ""
    grow = ["base.resize_token_embeddings(len(tokenizer))"] if method.new_tokens else []
    return [
        *imports,
        "",
        f'tokenizer = AutoTokenizer.from_pretrained("{place}")',
        f'base = AutoModelForCausalLM.from_pretrained({name}{revision}, dtype="auto", device_map="auto")',
        *grow,
        f'model = PeftModel.from_pretrained(base, "{place}")',
    ]


def quantization_arguments(method: QLoRA) -> str:
    """Arguments of transformers' BitsAndBytesConfig that hold the base as in training."""
    if method.quantization == "int8":
        return "load_in_8bit=True"
    double = method.double_quantization is not False
    return f'load_in_4bit=True, bnb_4bit_quant_type="{method.quantization}", bnb_4bit_use_double_quant={double}'


def base_license(model: Model) -> dict[str, str]:
    """The licence that the base model's own card names, if that card is on this machine."""
    card = _base_card(model)
    if card is None or not card.startswith("---\n"):
        return {}
    try:
        front = yaml.safe_load(card[4:].partition("\n---")[0])
    except yaml.YAMLError:
        return {}
    if not isinstance(front, Mapping):
        return {}
    keys = ("license", "license_name", "license_link")
    return {key: front[key] for key in keys if isinstance(front.get(key), str)}


def _base_card(model: Model) -> str | None:
    try:
        folder = local_folder(model.name)
    except XtuneError:
        return None  # the base was moved since; a card needs it no more
    if folder is None:
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - half a second, and only for hub ids

        found = try_to_load_from_cache(model.name, CARD, revision=model.revision)
        path = Path(found) if isinstance(found, str) else None
    else:
        path = folder / CARD
    try:
        return path.read_text(encoding="utf-8") if path is not None else None
    except (OSError, UnicodeDecodeError):
        return None


def hub_id(model: Model) -> str | None:
    """The base's id on the Hugging Face hub; None for a folder, the bundled model, or another hub."""
    is_id = HUB_ID.fullmatch(model.name) and not Path(model.name).expanduser().exists()
    return model.name if is_id and model.hub == "huggingface" else None


def public_name(name: str) -> str:
    """A source's name without the folders of this machine: a card is made to be published."""
    path = PurePath(name)
    return path.name if path.is_absolute() or name.startswith("~") else name
