"""Says what a person probably meant by a key or a text that a recipe does not know; it decides nothing."""

import difflib
from collections.abc import Iterable

from xtune.recipe.document import Path, dotted
from xtune.recipe.schema import METHODS, join_or, section_keys

SECTIONS = ("model", "method", "data", "train", "memory", "run")

# Names that other tools give to a setting of ours (XTuner, LLaMA-Factory, Axolotl, ms-swift,
# Unsloth, TRL, transformers), read from their documentation in November 2026.
_SAME = {
    "lora_r": "method.rank",
    "lora_rank": "method.rank",
    "r": "method.rank",
    "lora_alpha": "method.alpha",
    "lora_dropout": "method.dropout",
    "lora_target": "method.targets",
    "lora_target_modules": "method.targets",
    "target_modules": "method.targets",
    "lora_modules_to_save": "method.modules_to_save",
    "additional_target": "method.modules_to_save",
    "init_lora_weights": "method.init",
    "use_dora": "method.dora",
    "peft_use_dora": "method.dora",
    "use_rslora": "method.rslora",
    "peft_use_rslora": "method.rslora",
    "loraplus_lr_ratio": "method.lora_plus_ratio",
    "quant_type": "method.quantization",
    "bnb_4bit_quant_type": "method.quantization",
    "bnb_4bit_compute_dtype": "method.compute_dtype",
    "bnb_4bit_use_double_quant": "method.double_quantization",
    "double_quant": "method.double_quantization",
    "finetuning_type": "method.type",
    "train_type": "method.type",
    "tuner_type": "method.type",
    "adapter": "method.type",
    "model_name_or_path": "model.name",
    "base_model": "model.name",
    "model_name": "model.name",
    "model_id": "model.name",
    "pretrained_model_name_or_path": "model.name",
    "torch_dtype": "model.dtype",
    "attn_implementation": "model.attention",
    "attn_impl": "model.attention",
    "flash_attn": "model.attention",
    "dataset": "data.train",
    "datasets": "data.train",
    "train_file": "data.train",
    "data_path": "data.train",
    "dataset_dir": "data.train",
    "eval_dataset": "data.evaluate",
    "val_dataset": "data.evaluate",
    "val_size": "data.evaluate",
    "val_set_size": "data.evaluate",
    "split_dataset_ratio": "data.evaluate",
    "chat_template": "data.template",
    "template_file": "data.template",
    "cutoff_len": "data.max_tokens",
    "sequence_len": "data.max_tokens",
    "max_length": "data.max_tokens",
    "max_seq_length": "data.max_tokens",
    "max_seq_len": "data.max_tokens",
    "model_max_length": "data.max_tokens",
    "max_samples": "data.max_rows",
    "pack": "data.packing",
    "sample_packing": "data.packing",
    "neat_packing": "data.packing",
    "pack_to_max_length": "data.packing",
    "lr": "train.learning_rate",
    "per_device_train_batch_size": "train.micro_batch_size",
    "num_train_epochs": "train.epochs",
    "num_epochs": "train.epochs",
    "max_epochs": "train.epochs",
    "max_iters": "train.max_steps",
    "lr_scheduler_type": "train.schedule",
    "lr_scheduler": "train.schedule",
    "warmup_ratio": "train.warmup_fraction",
    "lr_warmup_steps": "train.warmup_steps",
    "min_lr_rate": "train.final_learning_rate_fraction",
    "optim": "train.optimizer",
    "adam_beta1": "train.beta1",
    "adam_beta2": "train.beta2",
    "adam_epsilon": "train.epsilon",
    "max_norm": "train.max_grad_norm",
    "gradient_clipping": "train.max_grad_norm",
    "neftune_noise_alpha": "train.neftune_alpha",
    "torch_compile": "train.compile",
    "eval_steps": "train.evaluate_every",
    "save_steps": "train.save_every",
    "save_total_limit": "train.keep_checkpoints",
    "load_best_model_at_end": "train.finish_with",
    "use_gradient_checkpointing": "memory.gradient_checkpointing",
    "activation_checkpointing": "memory.gradient_checkpointing",
    "enable_activation_checkpointing": "memory.gradient_checkpointing",
    "activation_offloading": "memory.checkpoints",
    "enable_activation_offloading": "memory.checkpoints",
    "output_dir": "run.folder",
    "work_dir": "run.folder",
    "random_seed": "run.seed",
    "data_seed": "run.seed",
    "report_to": "run.trackers",
}
_OTHERWISE = {
    "gradient_accumulation_steps": "`train.batch_size` is the whole batch; xtune divides it into micro-batches",
    "accumulative_counts": "`train.batch_size` is the whole batch; xtune divides it into micro-batches",
    "per_device_eval_batch_size": "evaluation uses `train.micro_batch_size`",
    "load_in_4bit": "write `method: qlora`, whose default is nf4",
    "load_in_8bit": "write `method: {type: qlora, quantization: int8}`",
    "quantization_bit": "write `method: {type: qlora, quantization: nf4}` for 4 bits, `int8` for 8",
    "bits": "write `method: {type: qlora, quantization: nf4}` for 4 bits, `int8` for 8",
    "bf16": "the plan chooses the type; `model.dtype: bfloat16` insists on it",
    "fp16": "the plan chooses the type; `model.dtype: float16` insists on it",
    "tf32": "leave it out",
    "do_train": "leave it out: `xtune train` trains",
    "do_eval": "leave it out: give `data.evaluate`",
    "train_on_inputs": "write `data.train_on: all`, or leave it out to train on answers alone",
    "train_on_prompt": "write `data.train_on: all`, or leave it out to train on answers alone",
    "resume_from_checkpoint": "leave it out: `xtune train RECIPE --resume` continues a run",
    "deepspeed": "leave it out: start with torchrun or `accelerate launch`",
    "fsdp": "leave it out: start with torchrun or `accelerate launch`",
    "template": "`data.template` names a Jinja file; leave it out to use the template of the tokenizer",
}


def advise_key(path: Path, method: str) -> str:
    """Return advice on an unknown key, as the end of a message; empty where there is none to give."""
    key, section = str(path[-1]), path[:-1]
    other = _other_method(key, section, method)
    if other:
        return other
    if key in _SAME:
        return f"in a recipe it is `{_SAME[key]}`."
    homes = [home for home in SECTIONS if (home,) != section and key in _keys_of(home)]
    if homes:
        return f"`{key}` belongs under {join_or([f'`{home}`' for home in homes])}."
    if key in _OTHERWISE:
        return f"{_OTHERWISE[key]}."
    near = closest(key, section_keys(section, method))
    if near:
        return f"did you mean `{dotted((*section, near))}`?"
    return _near_elsewhere(key)


def advise_text(value: object, allowed: Iterable[str], *, number: bool, flag: bool) -> str:
    """Return advice on a text that is not allowed where it stands."""
    if not isinstance(value, str):
        return ""
    text = value.strip().lower()
    if flag and text in {"yes", "on", "y"}:
        return "write `true`."
    if flag and text in {"no", "off", "n"}:
        return "write `false`."
    if number and _is_number(text):
        return "write the number in digits alone, without quotes or `_`."
    near = closest(value, allowed)
    return f"did you mean `{near}`?" if near else ""


def closest(word: str, known: Iterable[str]) -> str:
    """Return the known word most like this one; empty if none is near."""
    # difflib is quadratic; what is longer than any key resembles none
    found = difflib.get_close_matches(word[:80].lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def _other_method(key: str, section: Path, method: str) -> str:
    if section != ("method",) or not method:
        return ""
    owners = [name for name in METHODS if key in section_keys(("method",), name)]
    return f"it belongs to {join_or([f'`type: {name}`' for name in owners])}." if owners else ""


def _keys_of(section: str) -> set[str]:
    if section == "method":
        return {key for name in METHODS for key in section_keys(("method",), name)} - {"type"}
    return set(section_keys((section,)))


def _near_elsewhere(key: str) -> str:
    for section in SECTIONS:
        near = difflib.get_close_matches(
            key[:80].lower(), list(_keys_of(section)), n=1, cutoff=0.85
        )
        if near:
            return f"did you mean `{section}.{near[0]}`?"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "_"))
    except ValueError:
        return False
    return True
