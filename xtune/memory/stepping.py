"""What an optimizer has on the device for the moment of a step, besides states and gradients. Closed formulas.

A parameter of E entries, own bytes a number, is stepped by itself; a is the longer side of a matrix, b the shorter, r the rank of
its states. AdamW's kernels and those of bitsandbytes write in place.

Adafactor (transformers 5.23): beside 16-bit weights float32 copies of weight and gradient (8 E); the squared gradient, of which its
rows and columns are means, and the estimate that is made of these (8 E).

Muon (torch 2.13): the gradient with its momentum (own E); in bfloat16 what is orthogonalised and the next of it (4 E), its product
with itself and a polynomial of that (4 b b).

GaLore (pytorch-optimizer 4.1): of a 16-bit gradient a float32 one (4 E); its singular vectors (4 E + 4 b b), and what the
decomposition overwrites (4 E). APOLLO: the scaled gradient (own E), the projected one and its scale (2 own r a). What neither
projects has a quotient (own E).
"""

from dataclasses import dataclass

from xtune.memory.saved import saved_modules
from xtune.memory.shape import ModelShape
from xtune.memory.workload import SUBSPACE_RANKS, Workload


@dataclass(frozen=True, kw_only=True)
class Stepping:
    """Bytes of the largest of some parameters while it is stepped."""

    tables: int
    """Of embedding and head."""

    layer: int
    """Of what is in decoder layers, or of an adapter."""

    @property
    def largest(self) -> int:
        """Of all."""
        return max(self.tables, self.layer)


def stepping(shape: ModelShape, work: Workload) -> Stepping:
    """The most that a step has for a moment; none where the processor steps."""
    if work.states_place == "host":
        return Stepping(tables=0, layer=0)
    if not work.is_full:
        return _beside_a_base(shape, work)
    layers = [_of_matrix(work, each.inputs, each.outputs) for _, each in shape.linears]
    if shape.expert_layers:  # gate and up of all experts are one parameter of three dimensions
        entries = 2 * shape.experts * shape.hidden * shape.expert_intermediate
        layers.append(_of_other(work, entries))
    return Stepping(tables=_of_other(work, shape.embedding_parameters), layer=max(layers))


def _beside_a_base(shape: ModelShape, work: Workload) -> Stepping:
    """Of an adapter's factors and of what is trained in full beside them."""
    rank, saved = work.rank, saved_modules(shape, work.saved)
    sides = [
        side
        for _, each in shape.target_linears(work.targets)
        for side in ((rank, each.inputs), (each.outputs, rank))
    ]
    sides += [(each.outputs, each.inputs) for each in saved.matrices]
    return Stepping(
        tables=_of_other(work, shape.embedding_parameters) if saved.has_table else 0,
        layer=max((_of_matrix(work, *each) for each in sides), default=0),
    )


def _of_matrix(work: Workload, rows: int, columns: int) -> int:
    own, entries = work.trained_bytes, rows * columns
    long, short = max(rows, columns), min(rows, columns)
    if work.optimizer == "muon":
        return (own + 4) * entries + 4 * short**2
    if work.optimizer == "galore_adamw":
        return (8 + (4 if own < 4 else 0)) * entries + 4 * short**2
    if work.optimizer == "apollo_adamw":
        rank = min(work.subspace_rank or SUBSPACE_RANKS[work.optimizer], short)
        return own * (entries + 2 * rank * long)
    return _of_other(work, entries)


def _of_other(work: Workload, entries: int) -> int:
    if work.optimizer == "adafactor":
        return (16 if work.trained_bytes < 4 else 8) * entries
    return work.trained_bytes * entries if work.optimizer in SUBSPACE_RANKS else 0
