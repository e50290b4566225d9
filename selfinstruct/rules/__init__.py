"""Judges single tasks by named rules; what a task has in common with others is novelty's business."""

from selfinstruct.rules.judge import RULES, Judgement, Rule, Rules
from selfinstruct.rules.settings import RuleSettings

__all__ = ["RULES", "Judgement", "Rule", "RuleSettings", "Rules"]
