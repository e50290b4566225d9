"""What a person may say about the loop and its limits; the defaults are the MultiAlpaca paper's numbers (arXiv 2307.06018)."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]


class GenerateSettings(BaseModel):
    """The loop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: Positive = 10
    """Rounds in each language."""

    prompts_per_round: Positive = 100
    first_round_prompts: Positive = 10
    """Prompts of the first round, when there is nothing generated yet to show."""

    seeds_shown: Positive = 2
    generated_shown: Annotated[int, Field(ge=0)] = 1
    """Demonstrations from the seeds and from the pool; while the pool is empty seeds take the place of both."""

    tasks_per_prompt: Positive = 20
    """Number of the last task asked for, demonstrations included: 3 shown and 17 new."""

    prompt: str | None = None
    """A prompt file of your own or a `bundled:` name, with {language}, {first}, {last} and {demonstrations}; left out: the paper's, in English."""

    native: bool = False
    """Ask in the language itself, labels and all, where such a prompt ships; else in English, as the paper did."""

    target: Positive | None = None
    """Stop a language at this many kept tasks; what the last reply holds beyond is kept too."""

    seed: int = 42
    """Decides which demonstrations are drawn."""


class NoveltySettings(BaseModel):
    """What counts as new."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    """A task is dropped if its instruction reaches this ROUGE-L F with a seed or a kept task."""

    keep_ties: bool = False
    """Drop only what exceeds the threshold, as the older tools do."""


class LimitSettings(BaseModel):
    """When to stop, whatever else holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    budget_usd: Annotated[float, Field(gt=0)] | None = None
    """Most US dollars, earlier sittings of the run included; nothing is asked that might exceed it."""

    max_tokens_total: Positive | None = None
    """Most tokens, prompts and answers together."""
