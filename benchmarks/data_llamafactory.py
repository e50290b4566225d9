"""LLaMA-Factory's preprocessing on given rows; a script for a Python of its own, without xtune.

PYTHON benchmarks/data_llamafactory.py ROWS.jsonl MODEL_FOLDER OUTPUT_FOLDER [PROCESSES]
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Time `get_dataset`, which reads, converts, renders and tokenises."""
    rows, model, folder = (Path(word).resolve() for word in sys.argv[1:4])
    folder.mkdir(parents=True, exist_ok=True)
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}  # fmt: skip
    about = {"file_name": str(rows), "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}  # fmt: skip
    (folder / "dataset_info.json").write_text(json.dumps({"rows": about}))
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    settings = {
        "model_name_or_path": str(model),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "dataset": "rows",
        "dataset_dir": str(folder),
        "template": "chatml",
        "cutoff_len": 2048,
        "preprocessing_num_workers": int(sys.argv[4]) if len(sys.argv) > 4 else None,
        "overwrite_cache": True,
        "output_dir": str(folder / "out"),
        "report_to": "none",
        "use_cpu": True,
    }
    model_args, data_args, training_args, _, _ = get_train_args(settings)
    loaded = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data_args)
    began, cpu = time.perf_counter(), sum(os.times()[:4])
    data = get_dataset(template, model_args, data_args, training_args, stage="sft", **loaded)
    times = {"seconds": time.perf_counter() - began, "cpu_seconds": sum(os.times()[:4]) - cpu}
    encoded = data["train_dataset"]
    tokens = sum(len(ids) for ids in encoded["input_ids"])
    print("RESULT " + json.dumps({**times, "rows": len(encoded), "tokens": tokens}))


if __name__ == "__main__":
    main()
