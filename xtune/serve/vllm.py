"""Hands models over to vLLM, which is another program in an environment of its own."""

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from xtune.errors import XtuneError
from xtune.models.source import local_folder
from xtune.serve.names import Named

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values of vLLM's `--max-lora-rank` (vLLM's configuration of LoRA), those below 8 left out."""


def vllm_command(named: Sequence[Named], *, host: str, port: int) -> list[str]:
    """The command of vLLM that serves the same models.

    Raises:
        XtuneError: Whole models beside others, which vLLM does not serve together.
    """
    first = named[0]
    if first.found.adapter is None:
        if len(named) > 1:
            raise XtuneError("vLLM serves one whole model.", advice="Name one folder.")
        words = [str(_resolved(first.found.weights.name)), "--served-model-name", first.name]
    else:
        words = [str(_resolved(first.found.weights.name)), "--enable-lora"]
        ranks = [int(getattr(one.found.recipe.method, "rank", 0) or 0) for one in named]
        words += ["--max-lora-rank", str(_rank_of_vllm(max(ranks))), "--max-loras", str(len(named))]
        words += ["--lora-modules", *(f"{one.name}={one.found.adapter}" for one in named)]
    return ["vllm", "serve", *words, "--host", host, "--port", str(port)]


def hand_over(command: Sequence[str], *, api_key: str | None) -> None:
    """Become vLLM.

    Raises:
        XtuneError: It is not installed.
    """
    program = shutil.which(command[0])
    if program is None:
        raise XtuneError(
            "vLLM is not installed here.",
            advice=f"It needs an environment of its own (pip install vllm). The command there: {shlex.join(command)}",
        )
    # the key goes by the environment: arguments are for everyone to see
    environment = {**os.environ, **({"VLLM_API_KEY": api_key} if api_key else {})}
    os.execve(program, list(command), environment)


def _resolved(name: str) -> str | Path:
    folder = local_folder(name)
    return name if folder is None else folder.resolve()


def _rank_of_vllm(rank: int) -> int:
    """The next rank that vLLM knows."""
    return next((known for known in RANKS if known >= rank), RANKS[-1])
