"""Which number formats and which attention a recipe gets on a machine; memory plays no part here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xtune.errors import Problem
from xtune.hardware import BFLOAT16_CAPABILITY, Hardware
from xtune.memory import ModelShape
from xtune.plan.types import Choice
from xtune.recipe import QLoRA, Recipe

HOPPER = (9, 0)
"""First compute capability that flash attention 3 is written for."""

WITHOUT_SDPA: Mapping[str, str] = {
    "gemma2": "Gemma 2 caps its attention scores, which sdpa cannot do",
    "gpt_oss": "gpt-oss has attention sinks, which sdpa does not know",
}
"""Why model types do not run on sdpa (transformers 5.23, `_supports_sdpa = False`)."""

ONLY_EAGER = frozenset(
    {
        "bloom", "codegen", "gpt_neo", "gpt_neox_japanese", "gptj", "granite_swa", "granitemoe_swa", "mimo_v2_flash", "mpt", "openai-gpt",
        "vaultgemma", "xglm",
    }
)  # fmt: skip
"""Other types whose classes do not say that they support it."""

FLASH_ATTENTION_HEAD_DIM = 256
"""Largest head that flash attention 2 handles (its README)."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """dtypes of a plan, decided together because each limits the others."""

    weight: Choice[str]
    compute: Choice[str]
    autocast: Choice[bool]
    loss_scaling: Choice[bool]


def decide_precision(recipe: Recipe, hardware: Hardware, problems: list[Problem]) -> Precision:
    """Decide weight and compute dtypes; combinations that cannot train are added to `problems`."""
    half = _fast_half(hardware)
    weight = _weight(recipe, hardware, half)
    compute = _compute(recipe, weight, half)
    problems.extend(_unfit(recipe, hardware, compute.value))
    return follow(recipe, weight, compute)


def follow(recipe: Recipe, weight: Choice[str], compute: Choice[str]) -> Precision:
    """Complete weight and compute dtypes with what follows from them."""
    trained = weight.value if recipe.method.type == "full" else "float32"
    mixes = trained == "float32" and compute.value != "float32"
    what = "weights" if recipe.method.type == "full" else "adapters"
    if mixes:
        autocast = Choice(
            True, f"float32 {what} are updated exactly; products run in {compute.value}"
        )
    elif compute.value == "float32":
        autocast = Choice(False, "everything is float32")
    else:
        autocast = Choice(False, f"weights, gradients and products are all {compute.value}")
    if compute.value == "float16":
        scaling = Choice(True, "float16 gradients underflow unless the loss is scaled up")
    else:
        scaling = Choice(False, f"{compute.value} has the range of float32")
    return Precision(weight=weight, compute=compute, autocast=autocast, loss_scaling=scaling)


def _fast_half(hardware: Hardware) -> Choice[str]:
    """The 16-bit format that pays on this machine, or float32 where none does."""
    if hardware.has_bfloat16:
        return Choice("bfloat16", f"{hardware.name} computes in bfloat16 at speed")
    if hardware.device == "cuda":
        return Choice("float16", f"{hardware.name} has float16 but no bfloat16 units")
    return Choice("float32", f"{hardware.name} has no bfloat16 instructions, so float32 is faster")


def _weight(recipe: Recipe, hardware: Hardware, half: Choice[str]) -> Choice[str]:
    asked = recipe.model.dtype
    if asked != "auto":
        slow = asked == "bfloat16" and hardware.device == "cpu" and not hardware.has_bfloat16
        return Choice(asked, "asked for in the recipe" + ("; slow on this CPU" if slow else ""))
    if isinstance(recipe.method, QLoRA) and recipe.method.compute_dtype != "auto":
        return Choice(recipe.method.compute_dtype, "follows `method.compute_dtype`")
    if recipe.method.type != "full" or half.value == "float32":
        return half
    return Choice(
        "float32", f"master weights, so that small updates are not rounded away; {half.reason}"
    )


def _compute(recipe: Recipe, weight: Choice[str], half: Choice[str]) -> Choice[str]:
    if isinstance(recipe.method, QLoRA) and recipe.method.compute_dtype != "auto":
        return Choice(recipe.method.compute_dtype, "asked for in the recipe")
    if recipe.model.dtype != "auto":
        return Choice(weight.value, "the dtype that the recipe asks for")
    return half


def _unfit(recipe: Recipe, hardware: Hardware, compute: str) -> Iterator[Problem]:
    """What is wrong with the types that a recipe asks for."""
    method = recipe.method
    if method.type == "full" and recipe.model.dtype == "float16":
        yield Problem(
            what="`model.dtype` is float16 with `method: full`",
            allowed="float16 weights lose small updates and overflow; allowed are auto, bfloat16 and float32",
            advice="leave `model.dtype` out: float32 master weights with float16 or bfloat16 products",
        )
    yield from _unfit_here("model.dtype", recipe.model.dtype, hardware)
    if not isinstance(method, QLoRA):
        return
    yield from _unfit_here("method.compute_dtype", method.compute_dtype, hardware)
    if recipe.model.dtype not in {"auto", "float32", compute} and compute != "float32":
        yield Problem(
            what=f"`model.dtype` is {recipe.model.dtype} and `method.compute_dtype` is {compute}",
            allowed="one 16-bit format must serve both",
            advice="leave one of them out",
        )


def _unfit_here(place: str, dtype: str, hardware: Hardware) -> Iterator[Problem]:
    """Why a device does not train in a type that a place of the recipe asks for."""
    if dtype == "bfloat16" and hardware.device != "cpu" and not hardware.has_bfloat16:
        yield Problem(
            what=f"`{place}` is bfloat16, which {hardware.name} cannot compute",
            allowed=f"CUDA devices have it from compute capability {BFLOAT16_CAPABILITY[0]}.{BFLOAT16_CAPABILITY[1]} on",
            advice="set it to auto or float16" if hardware.device == "cuda" else "set it to auto",
        )
    if dtype == "float16" and hardware.device != "cuda":
        yield Problem(
            what=f"`{place}` is float16 on {hardware.device}",
            allowed="training in float16 needs a CUDA device",
            advice="set it to auto",
        )


def decide_attention(
    recipe: Recipe, hardware: Hardware, shape: ModelShape, compute: str, problems: list[Problem]
) -> Choice[str]:
    """Decide the attention implementation; one that cannot run here is added to `problems`."""
    asked = recipe.model.attention
    if asked != "auto":
        problem = _attention_problem(asked, hardware, shape, compute)
        if problem is not None:
            problems.append(problem)
        return Choice(asked, "asked for in the recipe")
    if "flash_attn" in hardware.packages and _flash_problem(hardware, shape, compute) is None:
        return Choice("flash_attention_2", "flash_attn is installed and this GPU runs it")
    if without := _without_sdpa(shape):
        return Choice("eager", without)
    return Choice("sdpa", "torch's own fused attention; runs everywhere")


def _without_sdpa(shape: ModelShape) -> str | None:
    """Why a model does not run on sdpa; None: it does."""
    if shape.model_type in ONLY_EAGER:
        return f"transformers 5.23 has no sdpa for a `{shape.model_type}`"
    return WITHOUT_SDPA.get(shape.model_type)


def has_flash(hardware: Hardware, shape: ModelShape, compute: str) -> bool:
    """Whether torch's flash attention takes a model's heads; the kernels of other devices than CUDA's do as well as it."""
    if hardware.device != "cuda":
        return True
    capability = hardware.compute_capability or BFLOAT16_CAPABILITY
    narrow = shape.head_dim <= FLASH_ATTENTION_HEAD_DIM
    return capability >= BFLOAT16_CAPABILITY and compute != "float32" and narrow


def has_grouped_products(hardware: Hardware) -> bool:
    """Whether torch multiplies by group there (transformers 5.23, `_can_use_grouped_mm`): on CUDA from compute capability 8.0 on."""
    capability = hardware.compute_capability or BFLOAT16_CAPABILITY
    return hardware.device != "cuda" or capability >= BFLOAT16_CAPABILITY


def _attention_problem(
    asked: str, hardware: Hardware, shape: ModelShape, compute: str
) -> Problem | None:
    what = f"`model.attention` is {asked}"
    without = _without_sdpa(shape)
    if asked == "sdpa" and without is not None:
        return Problem(what=what, allowed=without, advice="set it to auto")
    if asked == "flex_attention" and hardware.device != "cuda":
        return Problem(
            what=f"{what} on {hardware.device}",
            allowed="torch has its backward pass on CUDA devices only",
            advice="set it to auto",
        )
    if asked not in {"flash_attention_2", "flash_attention_3"}:
        return None
    package = "flash_attn" if asked == "flash_attention_2" else "flash_attn_interface"
    reason = _flash_problem(hardware, shape, compute)
    if (
        reason is None
        and asked == "flash_attention_3"
        and (hardware.compute_capability or HOPPER) < HOPPER
    ):
        reason = "it is written for compute capability 9.0 (Hopper)"
    if reason is not None:
        return Problem(what=what, allowed=reason, advice="set it to auto")
    if package not in hardware.packages:
        command = (
            "pip install flash-attn --no-build-isolation"
            if asked == "flash_attention_2"
            else "build it from the folder `hopper` of the flash-attention repository"
        )
        return Problem(
            what=f"{what}, and the package `{package}` is not installed",
            advice=f"install it: {command}",
        )
    return None


def _flash_problem(hardware: Hardware, shape: ModelShape, compute: str) -> str | None:
    """Why flash attention cannot run, or None."""
    if hardware.device != "cuda":
        return f"flash attention needs a CUDA device, and this is {hardware.device}"
    if (
        hardware.compute_capability is not None
        and hardware.compute_capability < BFLOAT16_CAPABILITY
    ):
        return (
            f"flash attention needs compute capability 8.0 (Ampere), and {hardware.name} has less"
        )
    if compute == "float32":
        return "flash attention computes in bfloat16 or float16, and this recipe in float32"
    if shape.head_dim > FLASH_ATTENTION_HEAD_DIM:
        return f"flash attention ends at heads of {FLASH_ATTENTION_HEAD_DIM}, and this model has {shape.head_dim}"
    return None
