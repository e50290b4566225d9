"""AdamW with the states of matrices in a subspace: GaLore and APOLLO, from pytorch-optimizer, made to resume exactly."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from xtune.errors import MissingPackageError
from xtune.memory import SUBSPACE_RANKS
from xtune.models.quiet import quiet
from xtune.recipe.models import Train

Groups = list[dict[str, Any]]

GALORE_SCALE = 0.25
"""GaLore's factor on the update of matrices (arXiv 2403.03507, section 5)."""

APOLLO_SCALE = 1.0
"""APOLLO's factor where every channel has a scale of its own (arXiv 2412.05270, table 1)."""


def build_subspace(name: str, groups: Groups, train: Train) -> Optimizer:
    """GaLore (arXiv 2403.03507) or APOLLO (arXiv 2412.05270) for groups of kind "matrix", AdamW for the rest.

    A matrix of a rows and b columns, a the larger number, has states of 2 r a numbers and a projection of r b.

    Raises:
        MissingPackageError: pytorch-optimizer is not installed.
    """
    extra = name.removesuffix("_adamw")
    try:
        with quiet():
            import pytorch_optimizer  # noqa: PLC0415 - only for these optimizers
    except ImportError:
        raise MissingPackageError(
            "pytorch-optimizer",
            purpose=f"`train.optimizer: {name}`",
            command=f"pip install 'xtune[{extra}]'",
        ) from None
    library: Any = pytorch_optimizer
    is_apollo = name == "apollo_adamw"
    settings = {
        "rank": train.subspace_rank or SUBSPACE_RANKS[name],
        "update_proj_gap": train.subspace_steps,
        "scale": APOLLO_SCALE if is_apollo else GALORE_SCALE,
        "projection_type": "std",
    }
    options: dict[str, Any] = {"foreach": False}  # or all tables have their quotients at one time
    if is_apollo:
        options["scale_type"] = "channel"
    build = (
        _resumable(library.APOLLO, _apollo_projector(), settings)
        if is_apollo
        else _resumable(library.GaLore, _galore_projector(), settings)
    )
    optimizer: Optimizer = build(
        [{**group, **settings} if group["kind"] == "matrix" else group for group in groups],
        lr=train.learning_rate,
        betas=(train.beta1, train.beta2),
        eps=train.epsilon,
        **options,
    )
    return optimizer


def _resumable(base: Any, projector: Any, settings: Mapping[str, Any]) -> Any:
    """One of pytorch-optimizer's classes, resumed to the same bits.

    Args:
        base: The class.
        projector: Makes the projection of a matrix.
        settings: Of the projections.
    """

    class Resumable(base):  # type: ignore[misc]  # of an untyped library
        """Keeps its projections as tensors in a checkpoint, which may hold no objects."""

        def __init__(self, groups: Groups, **options: Any) -> None:
            super().__init__(groups, **options)
            for group in self.param_groups:
                for parameter in group["params"]:
                    if "rank" in group and parameter.ndim == 2:
                        rank = min(settings["rank"], *parameter.shape)
                        self.state[parameter]["projector"] = projector(**{**settings, "rank": rank})

        def state_dict(self) -> dict[str, Any]:
            whole: dict[str, Any] = super().state_dict()
            whole["state"] = {number: _packed(s) for number, s in whole["state"].items()}
            return whole

        def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
            projectors = {
                each: s["projector"] for each, s in self.state.items() if "projector" in s
            }
            super().load_state_dict(dict(state_dict))
            for parameter, own in projectors.items():
                kept = self.state[parameter]["projector"]
                own.ortho_matrix, own.last_svd_step = kept["matrix"], kept["step"]
                self.state[parameter]["projector"] = own

    return Resumable


def _packed(state: Mapping[str, Any]) -> dict[str, Any]:
    if "projector" not in state:
        return dict(state)
    projector = state["projector"]
    kept = {"matrix": projector.ortho_matrix, "step": projector.last_svd_step}
    return {**state, "projector": kept}


def _galore_projector() -> Any:
    from pytorch_optimizer.optimizer.utils.galore import GaLoreProjector  # noqa: PLC0415

    return GaLoreProjector


def _apollo_projector() -> Any:
    """APOLLO's update is the whole gradient, each channel scaled as its projection was (the paper's algorithm 1).

    pytorch-optimizer 4.1 scales the projected gradient and projects it back, which leaves of the gradient only its part in
    a random subspace. What it would project back tells the scales; they are put on the gradient instead.
    """
    base: Any = _galore_projector()

    class ScalingProjector(base):  # type: ignore[misc]  # of an untyped library
        """Gives the gradient back, scaled, in place of a projection of it."""

        def project(self, grad: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            self._gradient = grad
            projected: torch.Tensor = super().project(grad, *args, **options)
            self._projected = projected
            return projected

        def project_back(self, low_rank_grad: torch.Tensor) -> torch.Tensor:
            rows, columns = self._gradient.shape
            across = 1 if rows >= columns else 0  # the dimension that was projected
            scaled = torch.linalg.vector_norm(low_rank_grad, dim=across, keepdim=True)
            whole = torch.linalg.vector_norm(self._projected, dim=across, keepdim=True)
            updated: torch.Tensor = self._gradient * (scaled / (whole + 1e-8))
            del self._gradient, self._projected
            return updated

    return ScalingProjector
