"""What the GPU benchmark measures: every cell of its tables, as data. Runs nothing.

A cell is one stack (ours, plain, liger, unsloth) with one model at one length. Cells of the table `goals` are planned by
xtune for a card of 8 GiB, exactly as `benchmarks.goals` plans them, and run under a limit on the allocator.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.goals import GOALS, Goal

TABLES = ("goals", "speed", "techniques", "rivals", "loading")
RIVALS = ("plain", "liger", "unsloth")
PACKAGE_OF: Mapping[str, str] = {"liger": "liger_kernel", "unsloth": "unsloth"}

DEPTHS: Mapping[tuple[str, int, int], int] = {
    ("llama-3.1-8b", 131072, 32): 4,
    ("qwen3-8b", 65536, 32): 12,
    ("qwen2.5-32b", 32768, 16): 16,
    ("llama-3.3-70b", 32768, 16): 8,
    ("llama-3.3-70b", 4096, 16): 8,
    ("llama-3.1-8b", 4096, 0): 8,
}
"""Layers that are run of a model, length and rank whose whole depth would take minutes; `--full-depth` runs them all."""

SPEED_TOKENS = 2048
TECHNIQUE_TOKENS = 8192
TECHNIQUE_LAYERS = 4


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One thing to run; plain values only, so that it travels as JSON."""

    table: str
    name: str
    stack: str
    model: str
    tokens: int
    rank: int = 16
    """Of the adapter; 0: everything is trained."""

    quantized: bool = True
    """Whether the base of an adapter is in NF4."""

    layers: int | None = None
    """Decoder layers that are run; None: all."""

    memory: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `memory` in the recipe."""

    train: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `train` in the recipe."""

    host_bytes: int = 64 * 10**9
    """Host memory that the plan may count on."""

    capped: bool = True
    """Whether the allocator gets no more than an 8 GB card leaves."""

    steps: int = 1
    """Whole steps behind a short one that makes the optimizer's states."""

    fresh: bool = True
    """Whether it runs in a process of its own."""

    limit_s: float = 120.0
    """Seconds after which it is given up, so that one cell cannot take the others' time."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def all_cells(*, full_depth: bool) -> list[Cell]:
    """Every cell, in the order in which they run: what matters most comes first."""
    return [
        *_goals(full_depth=full_depth),
        *_speed(),
        *_techniques(),
        *_rivals(),
        *_loading(),
    ]


def _goals(*, full_depth: bool) -> Iterator[Cell]:
    for goal in GOALS:
        depth = None if full_depth else DEPTHS.get((goal.model, goal.tokens, goal.rank))
        yield Cell(
            table="goals",
            name=goal.label,
            stack="ours",
            model=goal.model,
            tokens=goal.tokens,
            rank=goal.rank,
            layers=depth,
            memory={"base": goal.base},
            host_bytes=goal.ram_bytes,
            steps=_steps(goal.tokens),
            limit_s=900.0 if full_depth else 120.0,
        )


def _steps(tokens: int) -> int:
    """Whole steps: of the longest sequences one, which takes half a minute and makes its buffers in host memory meanwhile."""
    if tokens <= TECHNIQUE_TOKENS:
        return 3
    return 2 if tokens <= 32768 else 1


NOTHING_AWAY: Mapping[str, Any] = {
    "gradient_checkpointing": True,
    "frugal_layers": False,
    "checkpoints": "device",
    "base": "device",
    "embeddings": "device",
    "head": "device",
    "optimizer_states": "device",
}
"""What plain transformers does too: layers computed again, nothing anywhere else."""


def _speed() -> Iterator[Cell]:
    """No limit: at 2,048 tokens, with nothing offloaded, whose step is faster."""
    for model, rank in (("llama-2-7b", 16), ("llama-3.1-8b", 32)):
        for stack in ("ours", *_installed()):
            yield Cell(
                table="speed",
                name=f"{model} QLoRA r={rank}, {SPEED_TOKENS:,} tokens",
                stack=stack,
                model=model,
                tokens=SPEED_TOKENS,
                rank=rank,
                memory=NOTHING_AWAY,
                train={"optimizer": "adamw"},
                capped=False,
                steps=6,
                limit_s=60.0,
            )


def _rivals() -> Iterator[Cell]:
    """The goals' models and lengths with what others do; where memory runs out, half the tokens, and so on."""
    seen: set[tuple[str, int]] = set()
    for goal in sorted(GOALS, key=_longest_first):
        if (goal.model, goal.rank) in seen:
            continue
        seen.add((goal.model, goal.rank))
        for stack in _installed():
            if goal.rank == 0 and stack != "plain":
                continue
            yield Cell(
                table="rivals",
                name=f"{goal.model} {f'QLoRA r={goal.rank}' if goal.rank else 'full'}",
                stack=stack,
                model=goal.model,
                tokens=goal.tokens,
                rank=goal.rank,
                limit_s=40.0,
            )


def _longest_first(goal: Goal) -> int:
    return -goal.tokens


def _installed() -> list[str]:
    """Plain, and the others that are installed here."""
    return [
        each
        for each in RIVALS
        if each not in PACKAGE_OF or importlib.util.find_spec(PACKAGE_OF[each]) is not None
    ]


_ONE_BY_ONE: Mapping[str, Mapping[str, Any]] = {
    "nothing": {},
    "frugal layers": {"frugal_layers": True},
    "checkpoints host": {"checkpoints": "host"},
    "checkpoints disk": {"checkpoints": "disk"},
    "base host": {"base": "host"},
    "base disk": {"base": "disk"},
    "embeddings host": {"embeddings": "host"},
    "head host": {"head": "host"},
    "head nf4": {"head": "nf4"},
    "head int8": {"head": "int8"},
    "optimizer states host": {"optimizer_states": "host"},
    "all on the host": {
        "frugal_layers": True,
        "checkpoints": "host",
        "base": "host",
        "embeddings": "host",
        "head": "host",
        "optimizer_states": "host",
    },
}
"""Techniques of a QLoRA run: each alone, beside a run with none of them but layers computed again."""

_FULL: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "full": ({}, {"optimizer": "adamw"}),
    "full, 8-bit states": ({}, {"optimizer": "adamw_8bit"}),
    "full, fused step": ({"fused_step": True}, {"optimizer": "adamw_8bit"}),
    "full, fused step, no clipping": (
        {"fused_step": True},
        {"optimizer": "adamw_8bit", "max_grad_norm": None},
    ),
    "full, states host": (
        {"optimizer_states": "host", "fused_step": False},
        {"optimizer": "adamw"},
    ),
    "full, 8-bit states host": (
        {"optimizer_states": "host", "fused_step": False},
        {"optimizer": "adamw_8bit"},
    ),
    "full, GaLore": ({}, {"optimizer": "galore_adamw"}),
    "full, APOLLO": ({}, {"optimizer": "apollo_adamw"}),
    "full, layers in host memory": (
        {"base": "host", "optimizer_states": "host", "fused_step": True},
        {"optimizer": "adamw_8bit"},
    ),
}
"""Those of a full fine-tune: settings of `memory` and of `train`."""

_FULL_BASE: Mapping[str, Any] = {**NOTHING_AWAY, "fused_step": False}


def _techniques() -> Iterator[Cell]:
    common: dict[str, Any] = {
        "table": "techniques",
        "stack": "ours",
        "capped": False,
        "fresh": False,
        "limit_s": 30.0,
        "layers": TECHNIQUE_LAYERS,
    }
    for name, memory in _ONE_BY_ONE.items():
        yield Cell(
            **common,
            name=f"QLoRA, {name}",
            model="llama-3.1-8b",
            tokens=TECHNIQUE_TOKENS,
            memory={**NOTHING_AWAY, **memory},
            train={"optimizer": "adamw"},
            steps=2,
        )
    for name, (memory, train) in _FULL.items():
        # their first step decomposes every matrix, seconds each: of one layer, and with time for it
        subspace = str(train["optimizer"]).startswith(("galore", "apollo"))
        more = {"layers": 1, "limit_s": 60.0} if subspace else {}
        yield Cell(
            **{**common, **more},
            name=name,
            model="llama-3.2-1b",
            tokens=SPEED_TOKENS,
            rank=0,
            memory={**_FULL_BASE, **memory},
            train=train,
            steps=2,
        )


def _loading() -> Iterator[Cell]:
    """Reading weights from files, quantised on the way: what it takes beyond the quantised size."""
    for stack in ("ours", "plain"):
        yield Cell(
            table="loading",
            name=f"llama-2-7b, {TECHNIQUE_LAYERS} layers, NF4",
            stack=stack,
            model="llama-2-7b",
            tokens=0,
            layers=TECHNIQUE_LAYERS,
            capped=False,
            limit_s=60.0,
        )
