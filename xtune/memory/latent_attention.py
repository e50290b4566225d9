"""What latent attention holds for its backward pass, and that pass. Closed formulas; letters as in `kept`.

Of H heads queries and keys are H (u + r) wide, u numbers of each head unrotated and r rotated, values H v. Queries are put together of
what is rotated and what is not, keys of what both latents give (c q each); values are a view of what the keys' latent gave, all of which
they keep alive (c H (u + v)). Each latent has a norm, which keeps its input in float32, and what reads it keeps it as it reads it.

As values are not as wide as queries a GPU runs the memory-efficient kernel, which lays what it gives out token by token. Inside it has
float32 sums of the queries' gradients and one number a head, and of heads wider than 128 sums of the keys' and the values', too.
"""

from xtune.memory.latent import Latent
from xtune.memory.moments import Moment
from xtune.memory.norms import Norm
from xtune.memory.shape import ModelShape
from xtune.memory.workload import Workload

READERS = frozenset({"q_b_proj", "kv_b_proj"})
"""Linear layers that read a latent; those before them read what the layer's first norm gave."""

WIDEST_IN_REGISTERS = 128
"""Widest head whose gradients of keys and values torch's memory-efficient kernel sums in registers (`kOutputInRF`)."""


class LatentAttention:
    """Of one layer.

    Args:
        shape: The model; it has such attention.
        work: What is done with it.
        latent: Its sizes.
        read: Bytes a token that what reads latents keeps of them.
    """

    def __init__(self, shape: ModelShape, work: Workload, latent: Latent, read: int) -> None:
        self.shape, self.c, self.q = shape, work.compute_bytes, shape.query_width
        self.both = shape.heads * (latent.unrotated + latent.values)
        self.values = shape.attended_width
        self.latents = (4 + Norm(shape, work).trained_copy) * latent.normalised + read
        """Kept of the latents by their norms, and by what reads them."""

    @property
    def heads(self) -> int:
        """Queries, keys, what values are a view of, and what attention gave."""
        return self.c * (2 * self.q + self.both + self.values)

    @property
    def inside(self) -> int:
        """What the kernel has going back."""
        shape = self.shape
        each = 4 * shape.heads * (-(-shape.head_dim // 32) * 32 + 1)
        wide = shape.head_dim > WIDEST_IN_REGISTERS and self.c < 4
        return each + (4 * (self.q + self.values) if wide else 0)

    def moments(self, kept: int, output: int, before: int) -> tuple[Moment, ...]:
        """Of a layer that is computed as a whole.

        The output projection's matrix is expanded beside the gradient of what attention gave (c H v); then come the gradients of queries,
        keys and values; then of keys that of each part, and of what keys and values came from.

        Args:
            kept: Bytes a token that are there besides.
            output: Bytes of the output projection's matrix, expanded; 0 where it is not.
            before: The same of the largest of those before attention.
        """
        there = kept + self.latents + self.heads + self.c * self.values
        given = self.c * (2 * self.q + self.values)
        parts = self.c * (self.q + self.both)
        rest = kept + self.latents + given + parts
        return (
            Moment(per_token=there, fixed=output),
            Moment(per_token=there + given + self.inside),
            Moment(per_token=rest, fixed=before),
        )

    @property
    def projecting(self) -> int:
        """Of a tile whose queries, keys and values are computed again, and go back: all of these and as many gradients of them."""
        return self.latents + 2 * self.c * (2 * self.q + self.both)
