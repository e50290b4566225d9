"""Hands models over to vLLM, which is another program in an environment of its own. Loads and serves nothing itself.

What vLLM can serve was read in the source of vLLM 0.33.0 (its command line, `vllm/config/lora.py`,
`vllm/lora/peft_helper.py`); it was not run.
"""

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xtune.errors import XtuneError
from xtune.found import ADAPTER_CONFIG
from xtune.models.source import local_folder, read_json_object
from xtune.recipe import Model, QLoRA
from xtune.serve.names import Named

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values of vLLM's `--max-lora-rank` (`MaxLoRARanks` in vllm/config/lora.py)."""

TEMPLATE = "chat_template.jinja"
TOKENIZER_FILES = (TEMPLATE, "generation_config.json", "tokenizer.json")
"""What vLLM knows once for all adapters: how a turn is written, and where an answer ends."""

KEY_REMARK = (
    "vLLM asks for the key under /v1, /v2, /inference and /cohere alone; other paths, /invocations among them, answer "
    "without it. Keep its port from strangers."
)
"""vLLM's own help of `--api-key`, and its `GUARDED_PREFIX`."""


def vllm_command(named: Sequence[Named], *, host: str, port: int) -> list[str]:
    """The command of vLLM that serves the same models.

    Raises:
        XtuneError: Whole models beside others, or adapters that vLLM does not serve.
    """
    first = named[0]
    weights = first.found.weights
    words = [str(_resolved(weights.name))]
    if local_folder(weights.name) is None and weights.revision:
        words += ["--revision", weights.revision]
    if weights.trust_remote_code:
        words.append("--trust-remote-code")
    if first.found.adapter is None:
        if len(named) > 1:
            raise XtuneError("vLLM serves one whole model.", advice="Name one folder.")
        words += ["--served-model-name", first.name]
    else:
        words += ["--served-model-name", _base_name(weights)]
        words += _adapter_words(named)
    return ["vllm", "serve", *words, "--host", host, "--port", str(port)]


def remarks(named: Sequence[Named], *, api_key: str | None) -> list[str]:
    """What a person should know who has vLLM serve these models."""
    said = [] if api_key is None else [KEY_REMARK]
    if any(
        one.found.adapter is not None and isinstance(one.found.recipe.method, QLoRA)
        for one in named
    ):
        said.append(
            "vLLM holds the base unquantised, beside which the adapter was not trained; what it was trained to say is "
            "kept by `xtune merge --base dequantised`, and the merged folder can be served."
        )
    return said


def hand_over(
    command: Sequence[str], *, api_key: str | None, environment: Mapping[str, str]
) -> None:
    """Become vLLM.

    Args:
        command: What `vllm_command` returned.
        api_key: Goes by the environment: arguments are for everyone on the machine to see, and vLLM's log has them.
        environment: What is set besides.

    Raises:
        XtuneError: It is not installed.
    """
    program = shutil.which(command[0])
    if program is None:
        set_before = "".join(f"{name}={value} " for name, value in environment.items())
        raise XtuneError(
            "vLLM is not installed here.",
            advice=f"It needs an environment of its own (pip install vllm). The command there: {set_before}{shlex.join(command)}",
        )
    key = {"VLLM_API_KEY": api_key} if api_key else {}
    os.execve(program, list(command), {**os.environ, **environment, **key})


def vllm_environment(named: Sequence[Named]) -> dict[str, str]:
    """Variables that vLLM must have set for these models: where it looks for a base that is no folder."""
    weights = named[0].found.weights
    if weights.hub == "modelscope" and local_folder(weights.name) is None:
        return {"VLLM_USE_MODELSCOPE": "True"}
    return {}


def _adapter_words(named: Sequence[Named]) -> list[str]:
    """The part of the command that is about adapters.

    Raises:
        XtuneError: vLLM does not serve one of them, or not all of them together.
    """
    ranks = [_check_adapter(one) for one in named]
    first = named[0]
    base = first.found.weights
    for other in named[1:]:
        if other.found.weights.name != base.name or other.found.adapter is None:
            raise XtuneError(
                f"{first.name} and {other.name} are not both adapters of one base.",
                advice="Serve them one by one.",
            )
        for name in TOKENIZER_FILES:
            if _content(first.found.tokenizer / name) != _content(other.found.tokenizer / name):
                raise XtuneError(
                    f"{first.name} and {other.name} differ in {name}, of which vLLM knows one for all.",
                    advice="Serve them one by one, or with xtune's own engine.",
                )
    words = ["--enable-lora", "--max-lora-rank", str(_rank_of_vllm(max(ranks)))]
    words += ["--max-loras", str(len(named)), "--lora-modules"]
    words += [f"{one.name}={_absolute(one.found.adapter)}" for one in named]
    folder = _absolute(first.found.tokenizer)
    if (folder / TEMPLATE).is_file():
        words += ["--chat-template", str(folder / TEMPLATE)]
    if (folder / "generation_config.json").is_file():
        words += ["--generation-config", str(folder)]  # where the training ended turns
    return words


def _check_adapter(one: Named) -> int:
    """The largest rank in an adapter that vLLM serves.

    Raises:
        XtuneError: It does not.
    """
    adapter = one.found.adapter
    config: dict[str, Any] = {} if adapter is None else read_json_object(adapter / ADAPTER_CONFIG)
    lacking = {
        "DoRA": config.get("use_dora"),
        "whole modules (modules_to_save)": config.get("modules_to_save"),
        "trained tokens": config.get("trainable_token_indices"),
        "biases": config.get("lora_bias") or config.get("bias") not in {None, "none"},
    }
    pattern: dict[str, int] = config.get("rank_pattern") or {}
    rank = max([int(config.get("r") or 0), *pattern.values()])
    lacking[f"a rank above {RANKS[-1]}"] = rank > RANKS[-1]
    found = [name for name, has in lacking.items() if has]
    if found:
        raise XtuneError(
            f"The adapter {one.name} has {' and '.join(found)}, which vLLM does not serve.",
            advice="Merge it (xtune merge) and serve the merged folder.",
        )
    return rank


def _base_name(weights: Model) -> str:
    """What clients call the base, as with xtune's own engine."""
    return Path(weights.name).resolve().name if Path(weights.name).is_dir() else weights.name


def _resolved(name: str) -> str | Path:
    folder = local_folder(name)
    return name if folder is None else folder.resolve()


def _absolute(path: Path | None) -> Path:
    return Path() if path is None else path.resolve()


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _rank_of_vllm(rank: int) -> int:
    """The next rank that vLLM knows."""
    return next(known for known in RANKS if known >= rank)
