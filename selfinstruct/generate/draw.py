"""The requests of a round: a function of seed, language, round, index and the pool as the round found it, and of nothing else."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from selfinstruct.generate.settings import GenerateSettings
from selfinstruct.llm.settings import LLMSettings
from selfinstruct.llm.tokens import estimate_tokens
from selfinstruct.prompts import json_request
from selfinstruct.types import Request, Seed, Task

_MARGIN_TOKENS = 16
"""Of the context, left free for what a chat template adds."""

_DRAWS = 64
"""Draws for one place before a demonstration that fits is given up."""

TASKS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "tasks": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "instruction": {"type": "string"},
                    "input": {"type": "string"},
                    "output": {"type": "string"},
                },
                "required": ["instruction", "input", "output"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["tasks"],
    "additionalProperties": False,
}

Render = Callable[[Sequence[Task]], str]
"""The prompt that shows these demonstrations."""


@dataclass(frozen=True, kw_only=True)
class Drawer:
    """Makes the requests of one language."""

    language: str
    seeds: Sequence[Seed]
    render: Render
    settings: GenerateSettings
    llm: LLMSettings
    json: bool = False
    """Whether answers are held to a JSON schema."""

    count: Callable[[str], int] = estimate_tokens
    """Tokens of a text."""

    def prompts(self, round_number: int) -> int:
        """How many prompts a round has; rounds count from 1."""
        if round_number == 1:
            return self.settings.first_round_prompts
        return self.settings.prompts_per_round

    def request(
        self, round_number: int, index: int, pool_size: int, task: Callable[[int], Task]
    ) -> Request:
        """One request of a round.

        Args:
            round_number: From 1.
            index: Which of the round's prompts, from 0.
            pool_size: Kept tasks when the round began.
            task: The kept task of a number.
        """
        name = prompt_id(self.language, round_number, index)
        draw = random.Random(f"{self.settings.seed}/{name}")
        prompt = self.render(self._demonstrations(draw, pool_size, task))
        if self.json:
            # a prompt ends with the label of the task to go on with, which an object cannot
            prompt = f"{prompt.rpartition(chr(10))[0].rstrip()}\n\n{json_request(self.language, native=self.settings.native)}"
        room = self.llm.context_tokens - self.count(prompt) - _MARGIN_TOKENS
        return Request(
            id=name,
            messages=({"role": "user", "content": prompt},),
            max_tokens=max(1, min(self.llm.answer_tokens, room)),
            temperature=self.llm.temperature,
            top_p=self.llm.top_p,
            seed=draw.randrange(2**31),
            schema=TASKS_SCHEMA if self.json else None,
        )

    def _demonstrations(
        self, draw: random.Random, pool_size: int, task: Callable[[int], Task]
    ) -> list[Task]:
        """Seeds and kept tasks at random, none twice, in random order, as many as leave room for the answer."""
        generated = min(self.settings.generated_shown, pool_size)
        wanted_seeds = self.settings.seeds_shown + self.settings.generated_shown - generated
        room = self._room
        shown: list[Task] = []
        chosen: set[tuple[str, int]] = set()
        for source, size, find in [("seed", len(self.seeds), self._seed)] * wanted_seeds + [
            ("pool", pool_size, task)
        ] * generated:
            for _ in range(_DRAWS):
                number = draw.randrange(size)
                found = find(number)
                cost = self._seed_costs[number] if source == "seed" else self._cost(found)
                if (source, number) not in chosen and cost <= room:
                    chosen.add((source, number))
                    shown.append(found)
                    room -= cost
                    break
        draw.shuffle(shown)
        return shown

    def _seed(self, number: int) -> Task:
        return self.seeds[number].task

    def too_long(self) -> int:
        """Seeds that can never be shown: they leave no room for an answer."""
        return sum(cost > self._room for cost in self._seed_costs)

    def _cost(self, task: Task) -> int:
        """Tokens that showing a task takes."""
        return self.count(self.render([task])) - self._frame

    @cached_property
    def _seed_costs(self) -> Sequence[int]:
        return [self._cost(seed.task) for seed in self.seeds]

    @cached_property
    def _frame(self) -> int:
        """Tokens of a prompt that shows nothing."""
        return self.count(self.render([]))

    @cached_property
    def _room(self) -> int:
        """Tokens that demonstrations may take."""
        return self.llm.context_tokens - self.llm.answer_tokens - _MARGIN_TOKENS - self._frame


def prompt_id(language: str, round_number: int, index: int) -> str:
    """Names a prompt within a run: es/02/0007."""
    return f"{language}/{round_number:02}/{index:04}"


def parse_prompt_id(name: str) -> tuple[int, int]:
    """Round and index of a prompt's id."""
    _, round_number, index = name.split("/")
    return int(round_number), int(index)
