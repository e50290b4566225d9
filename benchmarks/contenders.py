"""The three ways of training that `benchmarks.cpu` compares, each as its users would run it."""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WARMUP_STEPS = 5
"""Untimed: the first steps allocate, choose kernels and fill caches."""


@dataclass(frozen=True)
class Task:
    """The same work for everyone; paths are strings so that it travels as JSON."""

    model: str
    rows: str
    """Rows in the messages format."""

    encoded: str
    """The same rows as token ids and labels, one JSON object a line."""

    folder: str
    steps: int
    dtype: str
    batch_size: int = 8
    learning_rate: float = 1e-3


class Meter:
    """Trained tokens per second, from the end of the warm-up to the end of the last step."""

    def __init__(self) -> None:
        self.steps, self.tokens, self.loss = 0, 0.0, 0.0
        self._began = 0.0
        self._seconds = 0.0

    def step(self, tokens: float, loss: float) -> None:
        """Note the end of an optimizer step that trained on so many tokens."""
        now = time.perf_counter()
        self.steps += 1
        self.loss = loss
        if self.steps == WARMUP_STEPS:
            self._began = now
        elif self.steps > WARMUP_STEPS:
            self.tokens += tokens
            self._seconds = now - self._began

    def result(self) -> dict[str, float]:
        """What a worker reports."""
        return {"tokens_per_s": self.tokens / self._seconds, "loss": self.loss, "steps": self.steps}


def prepare(folder: Path, *, steps: int, dtype: str, batch_size: int = 8) -> Task:
    """Write the rows once as text and once as token ids, so that everyone trains on the same tokens."""
    from xtune.data.prepare import prepare as prepare_data
    from xtune.demo.bundled import bundled_path
    from xtune.hardware import detect
    from xtune.memory import ModelShape
    from xtune.models.load import load_tokenizer, read_config
    from xtune.plan import resolve
    from xtune.recipe import Recipe

    source = bundled_path("bundled:orders/train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = folder / "rows.jsonl"
    rows.write_text("\n".join(source[: steps * batch_size]) + "\n", encoding="utf-8")
    task = Task(
        model=str(bundled_path("bundled:demo")),
        rows=str(rows),
        encoded=str(folder / "encoded.jsonl"),
        folder=str(folder),
        steps=steps,
        dtype=dtype,
        batch_size=batch_size,
    )
    recipe = Recipe.model_validate(recipe_for(task, "unused"))
    tokenizer = load_tokenizer(recipe.model, None)
    plan = resolve(
        recipe, detect(), ModelShape.from_config(read_config(recipe.model)), recipe_name="benchmark"
    )
    with Path(task.encoded).open("w", encoding="utf-8") as stream:
        for row in prepare_data(plan, tokenizer).train:
            stream.write(
                json.dumps({"input_ids": row.input_ids.tolist(), "labels": row.labels.tolist()})
                + "\n"
            )
    return task


def recipe_for(task: Task, folder: str) -> dict[str, Any]:
    """The task as an xtune recipe."""
    return {
        "model": {"name": task.model, "dtype": task.dtype},
        "method": {"type": "lora", "rank": 16, "alpha": 32.0},
        "data": {"train": task.rows, "max_tokens": 512},
        "train": {
            "learning_rate": task.learning_rate,
            "schedule": "constant",
            "warmup_steps": 0,
            "max_steps": task.steps,
            "batch_size": task.batch_size,
            "micro_batch_size": task.batch_size,
            "optimizer": "adamw",
            "save_every": task.steps,
        },
        "run": {"folder": folder},
    }


def train_with_xtune(task: Task) -> dict[str, float]:
    """The recipe through the public door, with progress, metrics and trackers as always."""
    from xtune.api import NamedRecipe, train
    from xtune.recipe import Recipe
    from xtune.run.observer import StepMetrics

    meter = Meter()

    class Listener:
        seen = 0.0

        def on_step(self, metrics: StepMetrics) -> None:
            meter.step(metrics.trained_tokens - self.seen, metrics.loss)
            self.seen = metrics.trained_tokens

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *_: None

    folder = Path(task.folder) / f"run-{time.time_ns()}"
    recipe = Recipe.model_validate(recipe_for(task, str(folder)))
    train(NamedRecipe(name="benchmark", recipe=recipe), observers=[Listener()])  # type: ignore[list-item]
    return meter.result()


def train_plainly(task: Task) -> dict[str, float]:
    """What one would write by hand: PEFT, AdamW, padded batches, the model's own loss."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(task.model, dtype=getattr(torch, task.dtype))
    model.config.use_cache = False
    model = peft.get_peft_model(
        model, peft.LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
    )
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=task.learning_rate, weight_decay=0.0)
    rows = read_encoded(task)
    random.Random(0).shuffle(rows)
    meter = Meter()
    model.train()
    for start in range(0, len(rows), task.batch_size):
        batch = rows[start : start + task.batch_size]
        longest = max(len(row["input_ids"]) for row in batch)
        pads = [longest - len(row["input_ids"]) for row in batch]
        input_ids = torch.tensor(
            [row["input_ids"] + [0] * pad for row, pad in zip(batch, pads, strict=True)]
        )
        labels = torch.tensor(
            [row["labels"] + [-100] * pad for row, pad in zip(batch, pads, strict=True)]
        )
        mask = torch.tensor([[1] * (longest - pad) + [0] * pad for pad in pads])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=task.dtype == "bfloat16"):
            loss = model(input_ids=input_ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        meter.step(float((labels[:, 1:] != -100).sum()), loss.item())
    return meter.result()


def train_with_trl(task: Task) -> dict[str, float]:
    """TRL's SFTTrainer on the same token ids and labels."""
    import peft
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    meter = Meter()
    counted = [0.0]

    class Counting(SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            counted[0] += float((inputs["labels"][:, 1:] != -100).sum())
            return super().compute_loss(model, inputs, *args, **kwargs)

    class Listener(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            meter.step(counted[0], meter.loss)
            counted[0] = 0.0

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **__: Any) -> None:  # noqa: ARG002
            meter.loss = float((logs or {}).get("loss", meter.loss))

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(task.model, dtype=getattr(torch, task.dtype))
    config = SFTConfig(
        output_dir=f"{task.folder}/trl",
        per_device_train_batch_size=task.batch_size,
        max_steps=task.steps,
        learning_rate=task.learning_rate,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=task.dtype == "bfloat16",
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        max_length=512,
    )
    trainer = Counting(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(read_encoded(task)),
        processing_class=AutoTokenizer.from_pretrained(task.model),
        peft_config=peft.LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
        callbacks=[Listener()],
    )
    trainer.train()
    return meter.result()


def read_encoded(task: Task) -> list[dict[str, list[int]]]:
    """The encoded rows."""
    return [
        json.loads(line) for line in Path(task.encoded).read_text(encoding="utf-8").splitlines()
    ]


CONTENDERS: dict[str, Callable[[Task], dict[str, float]]] = {
    "xtune": train_with_xtune,
    "plain": train_plainly,
    "trl": train_with_trl,
}
