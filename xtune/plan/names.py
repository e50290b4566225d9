"""Whether the names in a recipe's method are those of modules that a model has, told from its config alone. Loads nothing.

It says what `xtune.adapter.targets` says of a loaded model, in the same words. Of model types that are not known, of most mixtures of
experts and of models that also see it knows too few names, and leaves them to that.
"""

from collections.abc import Iterable, Iterator

from xtune.errors import Problem
from xtune.memory import ModelShape
from xtune.memory.saved import block_names, last_norm_name, module_names, table_names
from xtune.recipe import LowRank, QLoRA, Recipe

MIXTURES = frozenset({"mixtral", "qwen3_moe", "olmoe", "granitemoe", "gpt_oss", "qwen2_moe"})
"""Mixtures of experts whose linear layers are those of attention, of layers without experts, and of Qwen2-MoE's shared expert, and no others."""


def name_problems(recipe: Recipe, shape: ModelShape) -> list[Problem]:
    """Targets, saved modules and starts that this model cannot be given."""
    method = recipe.method
    if not isinstance(method, LowRank):
        return []
    head = list(_tied_head(method, shape))
    if not shape.is_counted or shape.eyes:
        return head
    found = [*head, *_starts(method, shape)]
    if shape.experts and shape.model_type not in MIXTURES:
        return found
    modules = [*table_names(shape), *module_names(shape)]
    modules += [last_norm_name(shape)] if shape.norm_entries else []
    linear = _linear(shape)
    return [
        *found,
        *_targets(method, shape, linear, tied=bool(head)),
        *([] if shape.experts else _saved(method, modules, () if shape.whole_weights else linear)),
    ]


def _linear(shape: ModelShape) -> list[str]:
    """Full names of the linear layers of all decoder layers."""
    attention, block = block_names(shape)
    blocks = {attention: shape.attention_linears}
    if shape.expert_layers < shape.layers:
        blocks[block] = shape.mlp_linears
    if shape.shared == "gated":
        gate, *shared = shape.shared_linears
        blocks |= {f"{block}.shared_expert": tuple(shared), block: (*blocks.get(block, ()), gate)}
    return [
        f"model.layers.{layer}.{block}.{linear.name}"
        for layer in range(shape.layers)
        for block, linears in blocks.items()
        for linear in linears
    ]


def _tied_head(method: LowRank, shape: ModelShape) -> Iterator[Problem]:
    _, head = table_names(shape)
    if shape.tied and "all-linear" not in method.targets and head in method.targets:
        yield Problem(
            what=f"`method.targets` names {head}, which shares its matrix with the embedding of this model",
            advice=f"train both with `method.modules_to_save: [{head}]`, or leave it out.",
        )


def _targets(
    method: LowRank, shape: ModelShape, linear: list[str], *, tied: bool
) -> Iterator[Problem]:
    if "all-linear" in method.targets or tied:
        return
    offered, (_, head) = linear, table_names(shape)
    if head in method.targets and not shape.tied:
        offered = [*linear, head]
    for target in method.targets:
        if not _matches(target, offered):
            yield Problem(
                what=f"`method.targets` names {target}, which matches no linear layer of this model",
                advice=f"its linear layers are: {_last_parts(offered)}; or use `all-linear`.",
            )


def _saved(method: LowRank, modules: list[str], linear: Iterable[str]) -> Iterator[Problem]:
    for wanted in method.modules_to_save:
        if not _matches(wanted, modules):
            yield Problem(
                what=f"`method.modules_to_save` names {wanted}, which matches no module of this model",
                advice=f"its modules are: {_last_parts(modules)}.",
            )
        elif isinstance(method, QLoRA) and _matches(wanted, linear):
            yield Problem(
                what=f"`method.modules_to_save` names {wanted}, which is quantised and cannot be trained in full",
                advice="leave it out, or use `method: lora`.",
            )


def _starts(method: LowRank, shape: ModelShape) -> Iterator[Problem]:
    if not method.init.startswith(("pissa", "olora", "mica")):
        return
    adapted = [each for _, each in shape.target_linears(tuple(method.targets))]
    smallest = min((min(each.inputs, each.outputs) for each in adapted), default=method.rank)
    if method.rank > smallest:
        yield Problem(
            what=f"`method.init: {method.init}` starts from the weights' own directions, of which the smallest layer has "
            f"{smallest}; `method.rank` is {method.rank}",
            advice=f"set `method.rank` to at most {smallest}.",
        )


def _matches(wanted: str, names: Iterable[str]) -> bool:
    return any(name == wanted or name.endswith(f".{wanted}") for name in names)


def _last_parts(names: Iterable[str]) -> str:
    return ", ".join(sorted({name.rpartition(".")[2] for name in names}))
