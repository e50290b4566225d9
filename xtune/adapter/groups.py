"""Sorts trainable parameters for the optimizer: who decays, whose learning rate is scaled, who is Muon's."""

from typing import Any

from torch import nn

from xtune.kernels.heads import base_model, output_layer
from xtune.plan import Plan
from xtune.recipe.models import SUBSPACE_OPTIMIZERS, LowRank

_FOR_MATRICES = {"muon", *SUBSPACE_OPTIMIZERS}
"""Optimizers that treat matrices in a way of their own, embeddings and head excepted."""


def parameter_groups(model: nn.Module, plan: Plan) -> list[dict[str, Any]]:
    """The trainable parameters as groups for `build_optimizer`.

    Each group holds `params`, `names`, `weight_decay`, `lr_scale` (factor on the learning rate) and
    `kind`: "matrix" for what Muon updates or GaLore and APOLLO project, "rest" otherwise. Weight decay is for matrices alone: not
    for embeddings (nor a head tied to one, nor new tokens), norms, biases and DoRA's magnitudes.
    """
    train = plan.recipe.train
    embeddings, head = _embedding_ids(model)
    groups: dict[tuple[float, float, str], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_matrix = (
            parameter.ndim >= 2
            and not name.endswith("bias")  # those of experts have a row for each
            and id(parameter) not in embeddings
            and "trainable_tokens" not in name
        )
        decay = train.weight_decay if is_matrix else 0.0
        special = (
            plan.optimizer.value in _FOR_MATRICES
            and is_matrix
            and parameter.ndim == 2
            and id(parameter) not in head
        )
        by_muon = special and plan.optimizer.value == "muon"
        scale = _learning_rate_scale(name, plan, by_muon=by_muon)
        kind = "matrix" if special else "rest"
        group = groups.setdefault(
            (decay, scale, kind),
            {"params": [], "names": [], "weight_decay": decay, "lr_scale": scale, "kind": kind},
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def _learning_rate_scale(name: str, plan: Plan, *, by_muon: bool) -> float:
    method, train = plan.recipe.method, plan.recipe.train
    if by_muon and train.matrix_learning_rate is not None:
        return train.matrix_learning_rate / train.learning_rate
    if isinstance(method, LowRank) and method.lora_plus_ratio is not None and "lora_B" in name:
        return method.lora_plus_ratio
    return 1.0


def _embedding_ids(model: nn.Module) -> tuple[set[int], set[int]]:
    """Identities of the embedding matrices, and of the output head's."""
    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    output = output_layer(base_model(model))
    head = (
        {id(parameter) for parameter in output.parameters()}
        if isinstance(output, nn.Module)
        else set()
    )
    return embeddings, head
