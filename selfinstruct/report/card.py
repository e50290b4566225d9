"""The card of an exported data set: how it was made, what was left out and why, and what a reader must know of its licence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from selfinstruct.report.stats import LanguageStats

_METHOD = """Each language began with seed tasks. In rounds, a language model was shown a few seeds and one task that it had
written before, and asked for more; its replies were parsed, checked against rules, and a task was kept only if the
ROUGE-L F of its instruction with every seed and every kept instruction of its language is below {threshold:g}
(tokens per language). The method is Self-Instruct (arXiv 2212.10560) as PolyLM used it for MultiAlpaca (arXiv 2307.06018)."""

_LIMITS = """The answers were written by a model and checked by rules, not by people: some are wrong. Do not use them where
that matters without reading them."""

_LICENCE = """The seeds and the tools are under Apache-2.0. The texts were written by {models}: the terms of whoever provides that
model say what may be done with its output, training other models included. Read them before you publish or sell."""


def card_text(
    folder: Path,
    stats: Mapping[str, LanguageStats],
    counts: Mapping[str, tuple[int, int]],
    *,
    form: str,
    split: float,
) -> str:
    """The card, in Markdown with the front matter that data hubs read."""
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    models = sorted({model for one in stats.values() for model in one.models if model}) or [
        recipe["llm"]["model"]
    ]
    named = ", ".join(models)
    front = yaml.safe_dump(
        {
            "language": sorted(counts),
            "task_categories": ["text-generation"],
            "tags": ["instruction-tuning", "synthetic", "self-instruct"],
            "license": "other",
            "configs": _configs(counts),
        },
        sort_keys=False,
    )
    parts = [
        f"---\n{front}---",
        f"# {folder.name}: instructions in {len(counts)} language{'s' if len(counts) > 1 else ''}",
        f"Rows in the `{form}` format, a file for each language"
        + (f"; {split:.1%} held out in `*.test.jsonl`." if split else "."),
        "## Rows\n" + _rows(stats, counts),
        "## Method\n" + _METHOD.format(threshold=recipe["novelty"]["threshold"]),
        f"Model: {named}, asked for as `{recipe['llm']['model']}`; temperature {recipe['llm']['temperature']:g}, top-p {recipe['llm']['top_p']:g}, seed {recipe['generate']['seed']}.",
        "## Left out\n" + _drops(stats),
        "## Limits\n" + _LIMITS,
        "## Licence\n" + _LICENCE.format(models=named),
    ]
    return "\n\n".join(parts) + "\n"


def _configs(counts: Mapping[str, tuple[int, int]]) -> list[Any]:
    """What `datasets.load_dataset` finds: all languages together, and each by its code, in `train` and `test`."""
    named = {"default": tuple(counts), **{language: (language,) for language in counts}}
    return [
        {"config_name": name, "data_files": _data_files(languages, counts)}
        for name, languages in named.items()
    ]


def _data_files(languages: Sequence[str], counts: Mapping[str, tuple[int, int]]) -> list[Any]:
    paths = {
        split: [f"{language}{ending}" for language in languages if counts[language][index]]
        for index, (split, ending) in enumerate((("train", ".jsonl"), ("test", ".test.jsonl")))
    }
    return [{"split": split, "path": files} for split, files in paths.items() if files]


def _rows(stats: Mapping[str, LanguageStats], counts: Mapping[str, tuple[int, int]]) -> str:
    lines = [
        "| language | rows | held out | with input | replies | tokens |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for language, (train, held_out) in counts.items():
        one = stats[language]
        tokens = one.usage.prompt_tokens + one.usage.completion_tokens
        lines.append(
            f"| {language} | {train:,} | {held_out:,} | {one.with_input / max(one.kept, 1):.0%} | {one.replies:,} | {tokens:,} |"
        )
    return "\n".join(lines)


def _drops(stats: Mapping[str, LanguageStats]) -> str:
    total = sum((one.drops for one in stats.values()), Counter())
    if not total:
        return "Nothing."
    lines = ["| reason | pieces |", "|---|---:|"]
    lines += [f"| {reason} | {count:,} |" for reason, count in total.most_common()]
    return "\n".join(lines)
