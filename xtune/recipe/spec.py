"""The base of all recipe models, and the types that several of them share."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema


class Spec(BaseModel):
    """Base of all recipe models: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=False,
    )


def one_or_many(value: Any) -> Any:
    """A text alone stands for a list of one; lists become tuples, which are frozen like the models."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Text: TypeAlias = Annotated[str, Field(min_length=1)]
TextTuple: TypeAlias = Annotated[
    tuple[Text, ...],
    BeforeValidator(one_or_many),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}},
            ]
        }
    ),
]
Fraction: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]
DTypeName: TypeAlias = Literal["auto", "bfloat16", "float16", "float32"]
