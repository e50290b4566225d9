"""A tokenizer for processes that only encode: it cuts and renders as the one it is made of, and starts without transformers and torch.

Importing transformers takes 0.6 s, a tokenizer of it 1.5 s; this takes 0.2 s (two EPYC cores, 2026-11-25).
Templates are still rendered by transformers' own module for them, which is imported alone.
"""

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ENCODES = ("__call__", "_encode_plus", "set_truncation_and_padding", "__len__")
"""Methods of a tokenizer that cut texts."""

RENDERS = ("apply_chat_template", "get_chat_template")
"""Methods of a tokenizer that render conversations."""


class LightTokenizer:
    """What `Encoder` needs of a tokenizer."""

    is_fast = True

    def __init__(self, tokenizer: Any) -> None:
        """Copy a tokenizer that `light_tokenizer` found fit."""
        self._text: str = tokenizer.backend_tokenizer.to_str()
        self.chat_template: str | None = tokenizer.chat_template
        self.special_tokens_map: dict[str, Any] = dict(tokenizer.special_tokens_map)
        self.all_special_tokens: list[str] = list(tokenizer.all_special_tokens)
        self.all_special_ids: list[int] = list(tokenizer.all_special_ids)
        self.eos_token: str | None = tokenizer.eos_token
        self.eos_token_id: int | None = tokenizer.eos_token_id
        self._size = len(tokenizer)
        self.backend_tokenizer: Any = tokenizer.backend_tokenizer

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "backend_tokenizer": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, backend_tokenizer=Tokenizer.from_str(state["_text"]))

    @property
    def added_tokens_decoder(self) -> Any:
        """Added tokens by their ids."""
        return self.backend_tokenizer.get_added_tokens_decoder()

    def __len__(self) -> int:
        return self._size

    def __call__(
        self, text: str | list[str], *, add_special_tokens: bool = True, **_: Any
    ) -> dict[str, Any]:
        """Ids and offsets of a text, or of each of several."""
        texts = [text] if isinstance(text, str) else text
        found = self.backend_tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)
        ids, offsets = [one.ids for one in found], [one.offsets for one in found]
        if isinstance(text, str):
            return {"input_ids": ids[0], "offset_mapping": offsets[0]}
        return {"input_ids": ids, "offset_mapping": offsets}

    def get_chat_template(
        self, chat_template: str | None = None, tools: Sequence[Any] | None = None
    ) -> str:
        """The template given, or the tokenizer's own.

        Raises:
            ValueError: There is none.
        """
        del tools  # one template serves for all
        found = chat_template if chat_template is not None else self.chat_template
        if found is None:
            raise ValueError("there is no chat template")
        return found

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        **_: Any,
    ) -> str:
        """The text of a conversation; raises what the template raises."""
        rendering = importlib.import_module("transformers.utils.chat_template_utils")
        present = [
            {key: value for key, value in message.items() if value is not None}
            for message in conversation
        ]
        rendered, _found = rendering.render_jinja_template(
            conversations=[present],
            tools=tools,
            chat_template=self.get_chat_template(chat_template),
            add_generation_prompt=add_generation_prompt,
            **self.special_tokens_map,
        )
        text: str = rendered[0]
        return text


def light_tokenizer(tokenizer: "PreTrainedTokenizerBase") -> LightTokenizer | None:
    """The tokenizer for another process; None if it does something in a way of its own."""
    if has_own_way(tokenizer, ENCODES + RENDERS) or tokenizer.split_special_tokens:
        return None
    if isinstance(tokenizer.chat_template, dict) or not tokenizer.is_fast:
        return None
    settle(tokenizer)
    return LightTokenizer(tokenizer)


def has_own_way(tokenizer: Any, methods: Sequence[str]) -> bool:
    """Whether a tokenizer does one of these things otherwise than tokenizers in general do."""
    if isinstance(tokenizer, LightTokenizer):
        return False
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415 - not in a process that starts without it

    return hasattr(tokenizer, "_switch_to_input_mode") or any(
        getattr(type(tokenizer), name, None) is not getattr(PreTrainedTokenizerFast, name)
        or name in vars(tokenizer)
        for name in methods
    )


def settle(tokenizer: Any) -> None:
    """Take back what an earlier call set in the backend: truncation, padding."""
    tokenizer("", add_special_tokens=False)


def start_light() -> None:
    """Make transformers' packages bare, so that its module for templates is imported alone; only for a process that does no more."""
    spec = importlib.util.find_spec("transformers")
    root = None if spec is None else spec.submodule_search_locations
    if not root:
        return
    for name, place in (("transformers", root[0]), ("transformers.utils", f"{root[0]}/utils")):
        package = ModuleType(name)
        package.__path__ = [place]
        package.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        package.__spec__.submodule_search_locations = [place]
        sys.modules[name] = package
    try:
        importlib.import_module("transformers.utils.chat_template_utils")
    except (ImportError, AttributeError):  # another version: import it as usual
        for name in [name for name in sys.modules if name.partition(".")[0] == "transformers"]:
            del sys.modules[name]
