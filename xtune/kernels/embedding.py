"""An embedding table that stays in host memory: only the rows in use come to the device. The table is not trained."""

import copy
from typing import Any

import torch
from torch import nn

from xtune.errors import ModelError
from xtune.kernels.shelf import pinned


def keep_embedding_on_host(embedding: nn.Module, table: torch.Tensor, device: torch.device) -> None:
    """Let an embedding look its rows up in host memory; outputs are those of the table on the device, bit for bit.

    The module stays what it is, multipliers and hooks included, except that its weight is no longer a parameter: whoever
    moves, counts or shards a model's parameters does not meet it.

    Args:
        embedding: An `nn.Embedding`, or a class derived from it.
        table: Its weight (vocab, hidden), in host memory.
        device: Where tokens come from and rows go to.

    Raises:
        ModelError: The module is of another kind.
    """
    name = type(embedding).__name__
    if not isinstance(embedding, nn.Embedding) or "forward" in vars(embedding):
        raise ModelError(
            f"The embedding of this model, a {name}, cannot look its rows up in host memory.",
            advice="Set `memory.embeddings: device`.",
        )
    if embedding.max_norm is not None:
        raise ModelError(
            f"The embedding of this model, a {name}, rewrites its rows (max_norm), which those in host memory cannot be.",
            advice="Set `memory.embeddings: device`.",
        )
    untyped: Any = embedding
    untyped.forward = _HostRows(embedding, table, device)
    hold_outside(embedding, table)


def hold_outside(module: nn.Module, weight: torch.Tensor) -> None:
    """Make a module's weight a plain attribute: no parameter, and in no state_dict."""
    del module._parameters["weight"]
    vars(module)["weight"] = weight


def used_rows(input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows that token ids (rows, tokens) name, each once (used,), and where each id's is among them (rows, tokens)."""
    used, places = torch.unique(input_ids, return_inverse=True)
    return used, places


class _HostRows:
    """The forward pass of such an embedding."""

    def __init__(self, embedding: nn.Embedding, table: torch.Tensor, device: torch.device) -> None:
        self.table, self.device = table, device
        # a twin whose table is the few rows of a batch; `padding_idx` says whose gradient is left out, and there is none
        self._twin: Any = copy.copy(embedding)
        self._twin.padding_idx = None
        self._staging = pinned((0, table.shape[1]), table.dtype, device)

    def __call__(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Token ids (rows, tokens) to embeddings (rows, tokens, hidden)."""
        used, places = used_rows(input_ids)
        weight = nn.Parameter(self._fetch(used), requires_grad=False)  # (used, hidden)
        self._twin._parameters = {"weight": weight}
        try:
            result: torch.Tensor = type(self._twin).forward(self._twin, places)
        finally:
            self._twin._parameters = {}
        return result

    def _fetch(self, used: torch.Tensor) -> torch.Tensor:
        """Rows of the table, on the device; copied while the host goes on."""
        # comes when the device is done with what it was asked, reading the last rows from the buffer that is filled now included
        ids = used.cpu()
        if len(self._staging) < len(ids):
            self._staging = pinned((len(ids), self.table.shape[1]), self.table.dtype, self.device)
        rows = self._staging[: len(ids)]
        torch.index_select(self.table, 0, ids, out=rows)
        found = torch.empty_like(rows, device=self.device)
        found.copy_(rows, non_blocking=True)
        return found
