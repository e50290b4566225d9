"""What a chat template can do, tried on invented conversations, for a terminal, a program and a notebook; it trains nothing."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from xtune.data.probe import Verdict, probe
from xtune.data.problems import refuse
from xtune.data.template import read_template
from xtune.models.tokenizer import load_tokenizer
from xtune.recipe.models import Model
from xtune.report.printed import Printed
from xtune.shown import visible

DEMO = "bundled:demo"

_SPECIAL = re.compile(
    r"<\|[^|<>\s{}']{1,40}\|>|<｜[^｜<>]+｜>|<\|\w+>|<\w+\|>|<\|\"\|>|<(?:start|end|begin)_of_\w+>|<end_\w+>|\[/?[A-Z_]{2,}\]"
    r"|\[e~\[|\]~b\]|<seed:\w+>|<sep>|<_end>|\[\|\w+\|\]|</?s>"
)
"""How the special tokens of the known families are written: ChatML and Llama 3, DeepSeek, Gemma 4, Gemma, SmolVLM, Mistral,
MiniMax, Seed, Reka, EXAONE, Llama 2."""


@dataclass(frozen=True, kw_only=True)
class TemplateView(Printed):
    """The verdict on a template, and the tokenizer that it was tried with."""

    verdict: Verdict
    model: str
    file: str | None
    """The file of the template; None if it is the model's own."""

    added_tokens: tuple[str, ...] = ()
    """Special tokens of the template that the tokenizer lacked and was given for the trial."""

    def to_json(self) -> dict[str, Any]:
        """The verdict as plain JSON types."""
        return {
            "model": self.model,
            "file": self.file,
            "added_tokens": list(self.added_tokens),
            **self.verdict.to_json(),
        }

    def raise_refused(self) -> None:
        """End here if no conversation can be trained on with the template.

        Raises:
            DataError: With the reasons.
        """
        if self.verdict.masks == "refused":
            trials = self.verdict.trials
            reasons = dict.fromkeys(trial.reason for trial in trials if trial.reason)
            ways = [trial.advice for trial in trials if trial.advice]
            refuse(
                f"No conversation can be trained on with this template: {'; '.join(reasons)}",
                where=self.file or self.model,
                advice=ways[0]
                if ways
                else "name another template in `data.template`, one with `{% generation %}` say.",
            )

    def print(self, stream: IO[str] | None = None) -> None:
        """Print the verdict.

        Args:
            stream: Where to; default: standard output.
        """
        console = Console(file=stream, highlight=False)
        lines = [f"tried with the tokenizer of {self.model}"]
        if self.added_tokens:
            lines.append(
                f"which was given these special tokens of the template: {' '.join(self.added_tokens)}; with --model NAME, the tokenizer that it is meant for is used as it is"
            )
        for line in [*lines, *_joined(self.verdict.lines())]:
            console.print(visible(line), markup=False, soft_wrap=True)


def _joined(lines: list[str]) -> list[str]:
    """Lines in which what is refused for one reason stands together: `plain, system: refused: ...`."""
    names: dict[str, list[str]] = {}
    kept = []
    for line in lines:
        name, _, verdict = line.partition(": ")
        if verdict.startswith(("refused: ", "the template rejects it: ")):
            if verdict not in names:
                kept.append(verdict)
            names.setdefault(verdict, []).append(name)
        else:
            kept.append(line)
    return [f"{', '.join(names[line])}: {line}" if line in names else line for line in kept]


def try_template(name: str, model: str | None) -> TemplateView:
    """Try a model's own template, or one from a file.

    Args:
        name: A model, or a Jinja file.
        model: For a file, the model whose tokenizer it is tried with; default: the demo's, which is
            given the special tokens that the template writes.

    Raises:
        XtuneError: There is no such model or file, or no template.
    """
    path = Path(name).expanduser()
    if not path.is_file() and path.suffix not in {".jinja", ".jinja2", ".j2"}:
        tokenizer = load_tokenizer(Model(name=name), None)
        return TemplateView(verdict=probe(tokenizer), model=name, file=None)
    text = read_template(name)
    tokenizer = load_tokenizer(Model(name=model or DEMO), None)
    added: list[str] = []
    if model is None:
        known = tokenizer.get_vocab()
        added = [token for token in dict.fromkeys(_SPECIAL.findall(text)) if token not in known]
        tokenizer.add_special_tokens(
            {"extra_special_tokens": added}, replace_extra_special_tokens=False
        )
    return TemplateView(
        verdict=probe(tokenizer, text), model=model or DEMO, file=name, added_tokens=tuple(added)
    )
