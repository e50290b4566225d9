"""Decides which tokenizer library encodes a data set, and says why; how rows are held to the other one is `comparing`'s."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from xtune.data.comparing import probe
from xtune.data.fast_tokens import PACKAGE, FastTokenizer, Unsuitable
from xtune.data.light import ENCODES, has_own_way, settle
from xtune.data.problems import refuse
from xtune.hardware import package_version

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Backend: TypeAlias = Literal["auto", "fastokens", "tokenizers"]
"""`data.tokenizer_backend`."""

LARGE_BYTES = 2 << 20
"""Data below it are encoded by `tokenizers` alone: 2 MiB take it 1 s, and the probe 0.2 s (two EPYC cores, 2026-11-25)."""

LARGE_BYTES_PER_TOKEN = 40
"""More of it for each token of the vocabulary: loading one of 150,000 costs what 6 MB of rows save."""


@dataclass(frozen=True, kw_only=True)
class TokenizerReport:
    """Which tokenizer library encoded the rows, and how it was held to the other."""

    name: str
    """`fastokens 0.3.5`, say."""

    rows: int = 0
    """Rows that fastokens encoded."""

    compared: int = 0
    """Rows that both encoded, with equal results."""

    why: str = ""
    """Why it is not fastokens, if that was thought of."""

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON types."""
        return asdict(self)

    def lines(self) -> list[str]:
        """What is worth telling people."""
        usual = usual_name()
        if self.rows:
            return [
                f"tokenizer: {self.name} for {self.rows:,} rows; {usual} encoded {self.compared:,} of them too, all the same"
            ]
        return [f"tokenizer: {usual}: {self.why}"] if self.why else []


def usual_name() -> str:
    """The usual library with its version."""
    return f"tokenizers {package_version('tokenizers')}"


def fast_name() -> str:
    """The fast library with its version."""
    return f"{PACKAGE} {package_version(PACKAGE)}"


def choose(
    wanted: Backend, tokenizer: "PreTrainedTokenizerBase", size: int
) -> tuple[FastTokenizer | None, str]:
    """The fast tokenizer, tried on texts; or None for the usual one, and why if that needs saying.

    Args:
        wanted: What the recipe asks for.
        tokenizer: The tokenizer, as transformers has it.
        size: Bytes of the data.

    Raises:
        DataError: The recipe asks for fastokens, and this tokenizer cannot be used with it.
    """
    if wanted == "tokenizers" or (package_version(PACKAGE) is None and wanted == "auto"):
        return None, ""
    if wanted == "auto" and size < LARGE_BYTES + LARGE_BYTES_PER_TOKEN * len(tokenizer):
        return None, ""
    try:
        return _tried(tokenizer), ""
    except Unsuitable as error:
        if wanted == "auto":
            return None, f"{PACKAGE} is not used, as {error}"
        refuse(
            f"{PACKAGE} cannot encode for this tokenizer: {error}",
            where="data.tokenizer_backend",
            advice="leave it `auto`, or set it to `tokenizers`.",
        )


def _tried(tokenizer: Any) -> FastTokenizer:
    if has_own_way(tokenizer, ENCODES):
        raise Unsuitable("the tokenizer encodes in a way of its own")
    if tokenizer.split_special_tokens:
        raise Unsuitable("the tokenizer splits special tokens")
    settle(tokenizer)
    backend = tokenizer.backend_tokenizer
    fast = FastTokenizer(backend.to_str())
    probe(fast, backend)
    return fast
