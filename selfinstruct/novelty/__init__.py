"""Keeps only what is new: exact ROUGE-L against everything kept so far; it knows no tasks and no files."""

from selfinstruct.novelty.pool import NoveltyPool, Verdict

__all__ = ["NoveltyPool", "Verdict"]
