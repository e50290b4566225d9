"""Applies the rules to a task, in order; the first that speaks drops it. The predicates themselves lie beside it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import NamedTuple

from selfinstruct.rules import content, demands, loops, personal, shape, tongue
from selfinstruct.rules.batch import Batch
from selfinstruct.rules.overlap import EvaluationSets
from selfinstruct.rules.settings import RuleSettings
from selfinstruct.types import Dropped, Task

Predicate = Callable[[Task, str, RuleSettings], str | None]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A named reason to drop a task; its switch in the settings has the same name."""

    name: str
    finds: Predicate
    """What the rule found in a task in a language, or None."""

    may_find: Callable[[Batch], Sequence[bool]] | None = None
    """In which tasks of a reply it may find something: seen for all of them in a fraction of the time."""


class Judgement(NamedTuple):
    """What the rules say of a task; a tuple, since there are thousands of them a second."""

    task: Task
    """The task, changed where `changes` says so."""

    changes: tuple[str, ...] = ()
    dropped: Dropped | None = None


RULES: tuple[Rule, ...] = (
    Rule(name="missing_part", finds=shape.missing_part, may_find=shape.may_miss),
    Rule(name="length", finds=shape.length, may_find=shape.may_be_long),
    Rule(name="left_label", finds=content.left_label, may_find=content.may_have_label),
    Rule(name="web_link", finds=content.web_link, may_find=content.may_link),
    Rule(name="placeholder", finds=content.placeholder, may_find=content.may_have_gap),
    Rule(name="refusal", finds=demands.refusal, may_find=demands.may_refuse),
    Rule(name="beyond_text", finds=demands.beyond_text, may_find=demands.may_go_beyond),
    Rule(name="personal_data", finds=personal.personal_data, may_find=personal.may_be_personal),
    Rule(name="repetition", finds=loops.repetition, may_find=loops.may_repeat),
    Rule(name="wrong_language", finds=tongue.wrong_language, may_find=tongue.may_be_wrong),
    Rule(name="gloss", finds=tongue.gloss, may_find=tongue.may_gloss),
    Rule(
        name="input_like_instruction",
        finds=shape.input_like_instruction,
        may_find=shape.may_say_it_again,
    ),
)
"""Every rule that needs the task alone, the cheap ones first."""


_FEWEST_TOGETHER = 7
"""Tasks from which on looking at all of them at once takes less time than the rules one by one (two EPYC cores, 2026-11-29)."""


class Rules:
    """The rules of one language."""

    def __init__(self, language: str, settings: RuleSettings | None = None) -> None:
        """Read the evaluation sets that the settings name.

        Raises:
            XtuneError: An evaluation set cannot be read.
        """
        self.language = language
        self.settings = settings or RuleSettings()
        self._blanks_inputs = self.settings.input_in_instruction
        self._rules: Sequence[Rule] = [rule for rule in RULES if getattr(self.settings, rule.name)]
        self._evaluation: EvaluationSets | None = None
        if self.settings.evaluation_overlap and self.settings.evaluation_sets:
            self._evaluation = EvaluationSets(
                self.settings.evaluation_sets,
                language=language,
                tokens=self.settings.overlap_tokens,
            )

    def judge(self, task: Task) -> Judgement:
        """Whether a task stays, what was changed in it, and why it goes."""
        return self._judge(self._blanked(task), self._rules)

    def judge_all(self, tasks: Sequence[Task]) -> Iterator[Judgement]:
        """The same for each task of a reply, in less time than for each alone."""
        if len(tasks) < _FEWEST_TOGETHER:
            yield from map(self.judge, tasks)
            return
        blanked = list(map(self._blanked, tasks))
        # what may be found is seen in the tasks that the rules are shown
        changed = [task for task, _ in blanked]
        batch = Batch(tasks=changed, language=self.language, settings=self.settings)
        rules: list[list[Rule]] = [[] for _ in tasks]
        for rule in self._rules:
            for chosen in compress(rules, rule.may_find(batch)) if rule.may_find else rules:
                chosen.append(rule)
        yield from map(self._judge, blanked, rules)

    def _blanked(self, task: Task) -> tuple[Task, tuple[str, ...]]:
        """The task without an input that its instruction holds, and what was changed."""
        if task.input and self._blanks_inputs and shape.input_is_in_instruction(task):
            return replace(task, input=""), ("input_in_instruction",)
        return task, ()

    def _judge(self, blanked: tuple[Task, tuple[str, ...]], rules: Sequence[Rule]) -> Judgement:
        task, changes = blanked
        for rule in rules:
            detail = rule.finds(task, self.language, self.settings)
            if detail is not None:
                return Judgement(
                    task=task, changes=changes, dropped=_dropped(rule.name, detail, task)
                )
        if self._evaluation and (detail := self._evaluation.find(task)):
            return Judgement(
                task=task, changes=changes, dropped=_dropped("evaluation_overlap", detail, task)
            )
        return Judgement(task=task, changes=changes)


def _dropped(reason: str, detail: str, task: Task) -> Dropped:
    return Dropped(reason=reason, detail=detail, text=task.instruction)
