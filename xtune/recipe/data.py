"""What is trained on: sources of rows, how they are read, and which tokens count in the loss."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveInt, WithJsonSchema

from xtune.recipe.spec import Fraction, Spec, Text

RowFormat: TypeAlias = Literal[
    "auto",
    "messages",
    "sharegpt",
    "alpaca",
    "prompt_completion",
    "query_response",
    "oasst",
    "text",
]


def _from_and_to(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (float(value), float(value))
    return tuple(value) if isinstance(value, list) else value


Weight: TypeAlias = Annotated[
    tuple[NonNegativeFloat, NonNegativeFloat],
    BeforeValidator(_from_and_to),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {
                    "type": "array",
                    "items": {"type": "number", "minimum": 0},
                    "minItems": 2,
                    "maxItems": 2,
                },
            ]
        }
    ),
]


class Source(Spec):
    """One source of rows that needs more said than its name."""

    source: Text
    """File, folder, glob, `bundled:orders/train.jsonl`, `hf:owner/name`, `modelscope:owner/name` or `set:name`."""

    weight: Weight | None = None
    """Share of the rows trained on, relative to the other sources'; `[0.7, 0.4]`: from the first step to the last."""

    max_rows: PositiveInt | None = None
    """Use only the first N rows of this source."""

    format: RowFormat | None = None
    """Shape of the rows; default: as `data.format` says."""

    columns: Mapping[str, str] | None = None
    """Our name of a column to the source's; default: as `data.columns` says."""

    split: Text = "train"
    """Split of a hub's data set, or of a folder whose card or file names tell splits."""

    subset: Text | None = None
    """Subset (configuration) of a hub's data set, or of a folder whose card names subsets."""

    revision: Text | None = None
    """Branch, tag or commit of a hub's data set."""


def _sources(value: Any) -> Any:
    many = value if isinstance(value, list | tuple) else [value]
    return tuple({"source": item} if isinstance(item, str) else item for item in many)


class _OneOrManySources:
    """The JSON Schema of sources: a text, an object, or a list of either."""

    @staticmethod
    def __get_pydantic_json_schema__(schema: Any, handler: Any) -> dict[str, Any]:
        many = handler(schema)
        text = {"type": "string", "minLength": 1}
        one = [text, many["items"]]
        return {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}, "minItems": 1}]}


Sources: TypeAlias = Annotated[
    tuple[Source, ...], BeforeValidator(_sources), Field(min_length=1), _OneOrManySources
]


class Data(Spec):
    """What is trained on, how rows are read, and which tokens count in the loss."""

    train: Sources
    """Files, folders, globs, `hf:` and `modelscope:` ids, `set:` names; one or a list, each a text or with `source`, `weight` ..."""

    evaluate: Sources | Fraction | None = None
    """Held-out files; or a fraction of the training rows, split off by seed (0: nothing); default: the `validation` or `test` split of folders in `data.train` that have splits, else nothing."""

    format: RowFormat = "auto"
    """Shape of the rows; `auto` detects it from each file's columns and says what it found."""

    columns: Mapping[str, str] = {}
    """Our name of a column to the file's name: `{instruction: question, output: answer}`."""

    template: Text | None = None
    """A Jinja chat template file; default: the one that comes with the tokenizer."""

    end_token: Text | None = None
    """Special token put, and trained on, behind the last answer, for chat templates that write none there (GLM: `<|user|>`)."""

    call_end_token: Text | None = None
    """The same behind an answer that ends in tool calls (GLM: `<|observation|>`); default: `end_token`."""

    unmaskable: Literal["refuse", "drop"] = "refuse"
    """What happens to rows that the chat template rejects or whose mask cannot be proven; dropped ones count in `max_dropped`."""

    train_on: Literal["assistant", "last", "all"] = "assistant"
    """Messages in the loss: every assistant message, the last one, or every token."""

    prompt_loss_weight: Fraction = 0.0
    """Weight in the loss of the tokens that are not trained on (0: no part in it; 1: like the rest)."""

    max_tokens: Annotated[int, Field(ge=8)] = 2048
    """Longest sequence, in tokens: a row, or a pack of rows."""

    over_length: Literal["auto", "refuse", "drop", "truncate", "split"] = "auto"
    """What happens to rows above `max_tokens`; `auto`: split texts, drop (and count) conversations."""

    packing: bool | Literal["auto"] = "auto"
    """Put several short rows into one sequence, isolated from one another; `auto`: on for pretraining."""

    max_rows: PositiveInt | None = None
    """Use only the first N rows of the training data, after the seeded split."""

    max_dropped: Fraction = 0.1
    """Part of the rows that may be lost (empty, nothing to train on, too long unless `over_length` is `drop`) before the run is refused."""

    streaming: bool = False
    """Read and encode while training, window by window, and keep nothing on disk; needs `train.max_steps`."""

    cache: bool = True
    """Keep encoded rows on disk, so that a second start trains within seconds; what shaped them is in the key."""

    workers: PositiveInt | None = None
    """Processes that render and tokenise; default: one for each core, for large data."""

    tokenizer_backend: Literal["auto", "fastokens", "tokenizers"] = "auto"
    """Library that tokenises; `auto`: the faster fastokens for large data, where it is installed and gives the very same tokens."""
