"""Answers kept in the form of a JSON schema, by llguidance; which of the allowed tokens comes is `choose`'s."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from xtune.errors import MissingPackageError, XtuneError

COMMAND = "pip install 'xtune[guided]'"

ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
"""The schema of whatever is a JSON object."""

WHITE_SPACE = r"( |\r?\n[ \t]{0,36})"
"""White space between the parts of JSON: a space, or a new line with an indent of up to nine steps of four. Free white
space is what weak models fill whole answers with. A design choice."""


class GuideError(RuntimeError):
    """llguidance gave up in the middle of an answer: its limits on the schema's complexity."""


class Guides:
    """Makes guides for one model; what that takes is prepared at the first."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, vocabulary: int, stop: Sequence[int]
    ) -> None:
        """Prepare nothing yet.

        Args:
            tokenizer: The model's.
            vocabulary: Tokens that the model may choose.
            stop: Tokens that end an answer.
        """
        self._tokenizer, self._stop = tokenizer, list(stop)
        self._vocabulary = max(vocabulary, len(tokenizer))
        self._lock = threading.Lock()
        self._words: Any = None

    def make(self, schema: Mapping[str, Any]) -> "JsonGuide":
        """What keeps an answer to a schema.

        Raises:
            MissingPackageError: llguidance is not installed.
            XtuneError: It does not understand the schema, or the tokenizer.
        """
        try:
            import llguidance  # noqa: PLC0415 - an optional package
        except ImportError:
            raise MissingPackageError(
                "llguidance", purpose="An answer in the form of a JSON schema", command=COMMAND
            ) from None
        with self._lock:
            if self._words is None:
                self._words = self._read_tokenizer()
        form = llguidance.LLMatcher.grammar_from_json_schema(
            dict(schema), overrides={"whitespace_pattern": WHITE_SPACE}
        )
        matcher = llguidance.LLMatcher(self._words, form, log_level=0)
        if matcher.is_error():
            reason = " ".join(matcher.get_error().split())
            raise XtuneError(f"The JSON schema cannot be kept to: {reason}.")
        return JsonGuide(matcher)

    def _read_tokenizer(self) -> Any:
        import llguidance.hf  # noqa: PLC0415

        fast: Any = self._tokenizer
        try:
            return llguidance.hf.from_tokenizer(
                fast, n_vocab=self._vocabulary, eos_token=self._stop or None
            )
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise XtuneError(f"llguidance does not understand the tokenizer: {reason}.") from error


class JsonGuide:
    """A `Guide` to a JSON schema."""

    def __init__(self, matcher: Any) -> None:
        """Begin.

        Args:
            matcher: llguidance's, at its beginning.
        """
        self._beginning = matcher
        self._matcher = matcher.deep_copy()
        self._allowed: torch.Tensor | None = None

    def allowed(self) -> torch.Tensor:
        """Which tokens may come next, (vocabulary,) bool.

        Raises:
            GuideError: The schema is too complex.
        """
        if self._allowed is None:
            bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
            self._check()
            self._allowed = torch.from_numpy(np.unpackbits(bits, bitorder="little").astype(bool))
        return self._allowed

    def take(self, token: int) -> bool:
        """Go on behind a token.

        Raises:
            GuideError: The schema is too complex.
        """
        self._allowed = None
        self._matcher.consume_token(token)
        self._check()
        return bool(self._matcher.is_stopped())

    def fresh(self) -> "JsonGuide":
        """The same schema at its beginning."""
        return JsonGuide(self._beginning)

    def _check(self) -> None:
        if self._matcher.is_error():
            raise GuideError(" ".join(self._matcher.get_error().split())[:500])
