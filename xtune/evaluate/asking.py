"""Turns questions into tokens: as plain text, or in the chat template that a model was trained with."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from xtune.data.encode import Encoder
from xtune.data.types import Conversation, Message, Origin
from xtune.evaluate.likelihood import Ending, begin, cut_endings
from xtune.evaluate.tasks.items import Item

BETWEEN = "\n\n"
"""What stands between examples in plain text, as in GPT-3's prompts (arXiv 2005.14165) and lm-evaluation-harness."""

_HERE = Origin(source="task", row=0)


class Asking:
    """How one model is asked.

    Args:
        tokenizer: Its tokenizer.
        shots: The examples before every question.
        encoder: Renders the chat template, examples as earlier turns; None: plain text.
        longest: Tokens that the model can read; what is longer loses its beginning.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        shots: Sequence[Item],
        *,
        encoder: Encoder | None,
        longest: float,
    ) -> None:
        self._tokenizer: Any = tokenizer
        self._shots = shots
        self._encoder = encoder
        self._longest = longest
        self._before = "".join(f"{shot.question}{shot.solution}{BETWEEN}" for shot in shots)
        self.cut = 0
        """Texts that lost their beginning."""

    def endings(self, item: Item) -> list[Ending]:
        """What is asked for of each choice, behind what is given."""
        if item.contexts:
            endings = [
                cut_endings(
                    self._plain(self._before + context),
                    [self._plain(self._before + context + item.prompt)],
                )[0]
                for context in item.contexts
            ]
        elif self._encoder is None:
            text = self._before + item.prompt
            wholes = [self._plain(text + item.join + choice) for choice in item.choices]
            endings = cut_endings(self._plain(text), wholes)
        else:
            given = self._rendered(item)
            endings = [Ending(tuple(given), tuple(self._bare(choice))) for choice in item.choices]
        return [self._fitted(ending) for ending in begin(endings, self._tokenizer)]

    def prompt(self, item: Item, *, answer_tokens: int) -> list[int]:
        """The tokens behind which an answer is to be written."""
        ids = (
            self._plain(self._before + item.prompt)
            if self._encoder is None
            else self._rendered(item)
        )
        room = self._longest - answer_tokens
        if len(ids) > room:
            self.cut += 1
            ids = ids[-max(1, int(room)) :]
        return ids

    def _fitted(self, ending: Ending) -> Ending:
        over = len(ending.given) + len(ending.ids) - 1 - self._longest
        if over <= 0:
            return ending
        self.cut += 1
        return Ending(ending.given[min(int(over), len(ending.given) - 1) :], ending.ids)

    def _plain(self, text: str) -> list[int]:
        """A text as training on plain text begins it, without the end that some tokenizers would add."""
        ids: list[int] = self._tokenizer(text, verbose=False)["input_ids"]
        return ids[:-1] if len(ids) > 1 and ids[-1] == self._tokenizer.eos_token_id else ids

    def _bare(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _rendered(self, item: Item) -> list[int]:
        if self._encoder is None:
            return self._plain(item.prompt)
        turns = [
            Message(role=role, content=content)
            for shot in self._shots
            for role, content in (("user", shot.prompt), ("assistant", shot.solution))
        ]
        asked = [Message(role="user", content=item.prompt), Message(role="assistant", content="")]
        return self._encoder.prompt(Conversation(messages=(*turns, *asked), origin=_HERE))
