"""One linear layer by its sizes; it holds no numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Linear:
    """One linear layer of a decoder layer."""

    name: str
    inputs: int
    outputs: int
    bias: bool = False

    @property
    def weights(self) -> int:
        """Entries of the matrix."""
        return self.inputs * self.outputs

    @property
    def parameters(self) -> int:
        """Matrix and bias."""
        return self.weights + (self.outputs if self.bias else 0)
