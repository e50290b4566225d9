"""How the base is trained: in full, with LoRA, or with LoRA on a quantised base."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    WithJsonSchema,
    model_validator,
)
from typing_extensions import Self

from xtune.recipe.spec import DTypeName, Spec, TextTuple

InitName: TypeAlias = Annotated[
    str,
    Field(pattern=r"^(default|gaussian|orthogonal|pissa|pissa_niter_[1-9][0-9]?|olora|mica)$"),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["default", "gaussian", "orthogonal", "pissa", "olora", "mica"]},
                {
                    "type": "string",
                    "pattern": "^pissa_niter_[1-9][0-9]?$",
                    "description": "`pissa_niter_N` (N from 1 to 99)",
                },
            ]
        }
    ),
]


class Full(Spec):
    """Train every weight."""

    type: Literal["full"] = "full"
    """The tag of this method."""


class LowRank(Spec):
    """What LoRA and QLoRA share: the adapter itself."""

    rank: PositiveInt = 16
    """Rank r of the update matrices."""

    alpha: PositiveFloat | None = None
    """The update is scaled by alpha / rank (alpha / sqrt(rank) with `rslora`); default: twice the rank."""

    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Dropout on the input of the adapters."""

    targets: TextTuple = ("all-linear",)
    """`all-linear`, or names (or name endings) of the linear layers that get an adapter."""

    init: InitName = "default"
    """How the factors begin: default, gaussian, orthogonal, pissa (arXiv 2404.02948), pissa_niter_N (faster, N = 1 to
    99), olora (arXiv 2406.01775) or mica (arXiv 2604.01694: B holds each weight's weakest directions and stays)."""

    rslora: bool = False
    """Rank-stabilised scaling, alpha / sqrt(rank) (arXiv 2312.03732)."""

    dora: bool = False
    """Weight-decomposed adapters (arXiv 2402.09353); about a third slower."""

    lora_plus_ratio: Annotated[float, Field(ge=1.0)] | None = None
    """LoRA+: learning rate of B over that of A (arXiv 2402.12354); 16 is the paper's advice."""

    new_tokens: TextTuple = ()
    """Tokens added to the vocabulary, whose embeddings alone are trained and saved with the adapter."""

    modules_to_save: TextTuple = ()
    """Modules trained in full beside the adapters and saved with them, `lm_head` say; found by the end of a name: `norm` is every norm."""

    @model_validator(mode="after")
    def _something_is_adapted(self) -> Self:
        if not self.targets:
            raise ValueError("`targets` is empty; name linear layers, or `all-linear`")
        if "all-linear" in self.targets and len(self.targets) > 1:
            others = ", ".join(each for each in self.targets if each != "all-linear")
            raise ValueError(
                f"`targets` names all-linear, and {others} beside it; all-linear is every linear layer but the head, and stands alone: "
                "name the layers one by one instead"
            )
        return self

    @model_validator(mode="after")
    def _start_fits(self) -> Self:
        if self.init == "orthogonal" and self.rank % 2:
            raise ValueError(f"`rank` is {self.rank} with `init: orthogonal`; it must be even")
        if self.init == "mica" and self.dora:
            raise ValueError("`dora` is true with `init: mica`; PEFT has no such combination")
        if self.init == "mica" and self.lora_plus_ratio is not None:
            raise ValueError(
                "`lora_plus_ratio` is set with `init: mica`; it is the learning rate of B, which mica does not train"
            )
        return self


class LoRA(LowRank):
    """Low-rank adapters on a base in 16 or 32 bits (Hu et al., arXiv 2106.09685)."""

    type: Literal["lora"] = "lora"
    """The tag of this method."""


class QLoRA(LowRank):
    """LoRA on a quantised, frozen base (Dettmers et al., arXiv 2305.14314)."""

    type: Literal["qlora"] = "qlora"
    """The tag of this method."""

    quantization: Literal["nf4", "fp4", "int8"] = "nf4"
    """Storage of the base's linear layers."""

    double_quantization: bool | None = None
    """Quantise the 4-bit block scales as well (0.4 bits a weight saved); default: on for nf4 and fp4."""

    compute_dtype: DTypeName = "auto"
    """Type that quantised weights are expanded to in a matrix product."""

    @model_validator(mode="after")
    def _start_needs_no_weights(self) -> Self:
        if self.init.startswith(("pissa", "olora", "mica")):
            raise ValueError(
                f"`init` is {self.init} with qlora; it starts from the base's own weights, which are quantised: use `method: lora`"
            )
        if self.init == "orthogonal":
            raise ValueError(
                "`init` is orthogonal with qlora; PEFT makes such factors in the base's own type, which is quantised: use `gaussian`, or "
                "`method: lora`"
            )
        return self

    @model_validator(mode="after")
    def _double_quantization_is_for_four_bits(self) -> Self:
        if self.quantization == "int8" and self.double_quantization:
            raise ValueError(
                "`double_quantization` exists for nf4 and fp4 only; remove it or choose one of those"
            )
        return self


def _expand_method(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


Method: TypeAlias = Annotated[
    Annotated[Full | LoRA | QLoRA, Field(discriminator="type")],
    BeforeValidator(_expand_method),
]
