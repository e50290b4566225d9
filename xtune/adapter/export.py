"""Other formats of a run's model: AutoRound's where it is installed; for the others the commands of the tools that make them."""

import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xtune.errors import MissingPackageError, RunError
from xtune.hardware import detect

PACKAGE = "auto-round"
COMMAND = 'pip install "xtune[export]"'

FORMATS: Mapping[str, str] = {"awq": "auto_awq", "gptq": "auto_gptq", "auto-round": "auto_round"}
"""Formats of four bits that AutoRound writes (github.com/intel/auto-round), to its own words for them."""

TOOLS: Mapping[str, tuple[str, ...]] = {
    "gguf": (
        "git clone --depth 1 https://github.com/ggml-org/llama.cpp",
        "pip install -r llama.cpp/requirements/requirements-convert_hf_to_gguf.txt   # in an environment of its own: it wants older transformers",
        "python llama.cpp/convert_hf_to_gguf.py {model} --outfile {model}.gguf --outtype bf16",
        "llama-quantize {model}.gguf {model}-Q4_K_M.gguf Q4_K_M   # llama.cpp, built or from its releases",
    ),
    "mlx": (
        "pip install mlx-lm   # in an environment of its own; on Linux 'mlx-lm' 'mlx[cpu]' or 'mlx[cuda]'",
        "mlx_lm.convert --hf-path {model} --mlx-path {model}-mlx -q",
    ),
    "fp8": (
        "pip install llmcompressor   # in an environment of its own: it wants older transformers",
        "python -c 'import sys; from llmcompressor import oneshot; "
        "from llmcompressor.modifiers.quantization import QuantizationModifier; "
        'oneshot(model=sys.argv[1], recipe=QuantizationModifier(targets="Linear", scheme="FP8_DYNAMIC", ignore=["lm_head"]), '
        'output_dir=sys.argv[1] + "-fp8")\' {model}',
    ),
}
"""What makes the other formats of a merged folder: llama.cpp, mlx-lm, llm-compressor. What of it was run: docs/merge.md."""

CALIBRATION = 128
"""Texts that AutoRound looks at: its own default."""

CALIBRATION_TOKENS = 256
"""Length to which AutoRound cuts them; it leaves shorter ones out."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A model in another format, or what is left to do for it."""

    folder: Path
    """The model in the format that was asked for; or the merged one, which `commands` take."""

    to: str
    commands: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.commands:
            return f"Exported to {self.to}: {self.folder}"
        lines = [
            f"Merged: {self.folder}. {self.to} is made of it by another tool:",
            *(f"  {command}" for command in self.commands),
        ]
        return "\n".join(lines)


def check_export(to: str, target: Path) -> None:
    """Refuse what cannot be exported, before anything is merged.

    Raises:
        MissingPackageError: AutoRound is not installed.
        RunError: There is no such format, or the folder is taken.
    """
    if to not in {*FORMATS, *TOOLS}:
        raise RunError(
            f"There is no format {to}.", advice=f"There are {', '.join([*FORMATS, *TOOLS])}."
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError(f"{target} exists already.", advice="Name a new folder.")
    if to in FORMATS and importlib.util.find_spec("auto_round") is None:
        raise MissingPackageError(PACKAGE, purpose=f"`--to {to}`", command=COMMAND)


def commands_for(to: str, model: Path) -> tuple[str, ...]:
    """What a person types to make a format of a merged folder."""
    return tuple(line.replace("{model}", shlex.quote(str(model))) for line in TOOLS[to])


def quantise(
    merged: Path, target: Path, to: str, texts: Sequence[str], *, steps: int | None = None
) -> Exported:
    """Let AutoRound quantise a merged folder to four bits, in a process of its own.

    Args:
        merged: A whole transformers folder; left as it is.
        target: Where the result goes.
        to: A key of `FORMATS`.
        texts: What it is calibrated on, of at least `CALIBRATION_TOKENS`: rows as the model read them in training; without
            any, AutoRound takes its own from the hub.
        steps: How often each layer's rounding is improved; 0 rounds to the nearest, None leaves it to AutoRound (200).

    Raises:
        RunError: AutoRound failed.
    """
    work = target.with_name(f".{target.name}.writing")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        command = [sys.executable, "-m", "auto_round", "--model", str(merged), "--scheme", "W4A16"]
        command += ["--format", FORMATS[to], "--output_dir", str(work / "out")]
        if detect().device != "cuda":
            # compiling takes minutes a layer, which a GPU alone wins back
            command.append("--disable_torch_compile")
        if steps is not None:
            command += ["--iters", str(steps)]
        if steps == 0:
            command.append("--disable_opt_rtn")  # else it searches for scales
        if texts:
            rows = work / "rows.jsonl"
            rows.write_text(
                "".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8"
            )
            command += ["--dataset", str(rows), "--seqlen", str(CALIBRATION_TOKENS)]
            command += ["--nsamples", str(min(CALIBRATION, len(texts)))]
        done = subprocess.run(command, check=False, stdout=sys.stderr)
        configs = sorted((work / "out").rglob("config.json"))
        if done.returncode != 0 or not configs:
            raise RunError(
                f"AutoRound ended with {done.returncode}; what it said is above.",
                advice=f"The merged model is whole, in {merged}; remove it before you export to {target} again.",
            )
        if target.is_dir():
            target.rmdir()
        configs[0].parent.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Exported(folder=target, to=to)
