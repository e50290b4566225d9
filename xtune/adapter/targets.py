"""Which layers of a model an adapter may name: looked up before PEFT is asked, so that a typing error is explained."""

from collections.abc import Iterable

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from xtune.errors import ModelError
from xtune.kernels.heads import output_layer
from xtune.recipe.models import LowRank

ALL_LINEAR = "all-linear"


def is_tied(model: PreTrainedModel) -> bool:
    """Whether the output head is the embedding matrix itself."""
    head = output_layer(model)
    embedding = model.get_input_embeddings()
    return head is not None and getattr(head, "weight", None) is getattr(embedding, "weight", head)


def linear_layers(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The layers that can get an adapter, by full name; output head and routers are not among them."""
    head = output_layer(model)
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head and not _routes(module)
    }


def router_names(model: PreTrainedModel) -> list[str]:
    """Last names of linear layers that give more than their product (Llama 4, Phi-3.5-MoE), beside which PEFT 0.21 can put no adapter."""
    routers = {name.rpartition(".")[2] for name, module in model.named_modules() if _routes(module)}
    return sorted(routers)


def _routes(module: nn.Module) -> bool:
    """Whether a model's own code makes a router of a linear layer; Falcon's, its own too, are linear layers."""
    return isinstance(module, nn.Linear) and "router" in type(module).__name__.lower()


def choose_targets(model: PreTrainedModel, method: LowRank) -> str | list[str]:
    """What to give PEFT as `target_modules`.

    Raises:
        ModelError: A name matches no linear layer, or names a head that is tied to the embedding.
    """
    if ALL_LINEAR in method.targets:
        return ALL_LINEAR
    linear = list(linear_layers(model))
    head = name_of(model, output_layer(model))
    if head and any(ends_with(head, target) for target in method.targets):
        if is_tied(model):
            raise ModelError(
                f"`method.targets` names {head}, which shares its matrix with the embedding of this model.",
                advice=f"Train both with `method.modules_to_save: [{head}]`, or leave it out.",
            )
        linear = [*linear, head]
    for target in method.targets:
        if not any(ends_with(name, target) for name in linear):
            raise ModelError(
                f"`method.targets` names {target}, which matches no linear layer of this model.",
                advice=f"Its linear layers are: {_last_parts(linear)}; or use `{ALL_LINEAR}`.",
            )
    return list(method.targets)


def check_modules_to_save(model: PreTrainedModel, method: LowRank) -> None:
    """Refuses names that match nothing and modules that cannot be trained.

    Raises:
        ModelError: See above; it lists the model's modules.
    """
    owners = {
        name: module
        for name, module in model.named_modules()
        if name and any(True for _ in module.parameters(recurse=False))
    }
    for wanted in method.modules_to_save:
        matches = [module for name, module in owners.items() if ends_with(name, wanted)]
        if not matches:
            raise ModelError(
                f"`method.modules_to_save` names {wanted}, which matches no module of this model.",
                advice=f"Its modules are: {_last_parts(owners)}.",
            )
        if not all(p.is_floating_point() for module in matches for p in module.parameters()):
            raise ModelError(
                f"`method.modules_to_save` names {wanted}, which is quantised and cannot be trained in full.",
                advice="Leave it out, or use `method: lora`.",
            )


def saves_embeddings(model: PreTrainedModel, method: LowRank) -> bool:
    """Whether `modules_to_save` names the embedding or the head."""
    shared = [
        name_of(model, module) for module in (model.get_input_embeddings(), output_layer(model))
    ]
    return any(
        name and ends_with(name, wanted) for name in shared for wanted in method.modules_to_save
    )


def check_start(model: PreTrainedModel, method: LowRank) -> None:
    """Refuses an initialisation that takes more directions than the base's weights have.

    Raises:
        ModelError: PiSSA, OLoRA or MiCA above a layer's rank.
    """
    if not (changes_base(method) or method.init == "mica"):
        return
    smallest = min((min(each.shape) for each in _matrices(model, method)), default=method.rank)
    if method.rank > smallest:
        raise ModelError(
            f"`method.init: {method.init}` starts from the weights' own directions, of which the smallest layer has "
            f"{smallest}; `method.rank` is {method.rank}.",
            advice=f"Set `method.rank` to at most {smallest}.",
        )


def changes_base(method: LowRank) -> bool:
    """Whether the initialisation changes the base's weights, so that saving must convert the adapter."""
    return method.init.startswith(("pissa", "olora"))


def ends_with(name: str, ending: str) -> bool:
    """Whether a module's full name is, or ends with, the given name."""
    return name == ending or name.endswith(f".{ending}")


def name_of(model: nn.Module, wanted: object) -> str | None:
    """The full name of a module of the model."""
    return next((name for name, module in model.named_modules() if module is wanted), None)


def _matrices(model: PreTrainedModel, method: LowRank) -> list[nn.Parameter]:
    """The matrices beside which there are to be adapters, those of the head and of experts excepted."""
    return [
        parameter
        for name, layer in linear_layers(model).items()
        if ALL_LINEAR in method.targets or any(ends_with(name, each) for each in method.targets)
        for parameter in layer.parameters(recurse=False)
        if parameter.ndim == 2
    ]


def _last_parts(names: Iterable[str]) -> str:
    return ", ".join(sorted({name.rpartition(".")[2] for name in names}))
