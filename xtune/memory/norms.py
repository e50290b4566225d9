"""What norms over the hidden size keep, and have on their way back: bytes a number of the states that they read. Closed formulas.

A root mean square computes in float32, in its own code: it keeps a float32 copy of its input, or the input itself where that is
float32. Where it is trained it keeps what its weight is multiplied by too. On its way back there are five float32 copies of its input.

torch's LayerNorm keeps its input itself and two numbers a token. CUDA's autocast would compute it in float32, and give float32;
`xtune.models.norms` sees to it that it gives the type of its input. On its way back there are its output's gradient and its input's;
before that the output's is summed of what its readers gave, the sum beside two parts. OLMo's has no weight, and reads a float32 copy of
its input, which it keeps.

Cohere writes LayerNorm out in float32: it keeps its input less the mean twice, once for the square and once for the product (8).
"""

from xtune.memory.shape import ModelShape
from xtune.memory.workload import Workload


class Norm:
    """The norms of a model under a workload; what they give has the type of what they read.

    Args:
        shape: The model.
        work: What is done with it.
    """

    def __init__(self, shape: ModelShape, work: Workload) -> None:
        self.is_layer = shape.norm == "layer"
        self.is_written = shape.norm == "written"
        self.has_weight = shape.norm != "weightless"
        self.work, self.float32_scale = work, shape.float32_norms

    def copies(self, states: int) -> int:
        """Of a copy of its input that it keeps."""
        if self.is_written:
            return 8
        return 4 if states < 4 and not self.is_layer else 0

    def keeps(self, states: int) -> int:
        """Of its input as it keeps it: a copy, or itself."""
        if self.is_written:
            return 8
        return states if self.is_layer else 4

    def keeps_itself(self, states: int) -> int:
        """Of its input where it keeps that and no copy."""
        return 0 if self.copies(states) else self.keeps(states)

    @property
    def trained_copy(self) -> int:
        """Of what its weight is multiplied by, which it keeps where it is trained."""
        if self.is_layer or not self.has_weight or not self.work.is_full:
            return 0
        return 4 if self.float32_scale else self.work.weight_bytes

    def last_back(self, states: int) -> int:
        """Of the last norm of a model as it goes back, with its input and the gradient of that: six float32 copies, or two of LayerNorm's."""
        if not self.has_weight:
            return 12 + states
        return 4 * states if self.is_layer else 24

    @property
    def back_copies(self) -> int:
        """float32 copies of its input on its way back, where it is none of torch's: five, or two where there is no weight to multiply by."""
        return 20 if self.has_weight else 8

    @staticmethod
    def layer_back(states: int, readers: int) -> int:
        """Of what there is on a LayerNorm's way back, besides its input and the gradient of what goes past it.

        Args:
            states: Bytes of a number of its input.
            readers: Layers that read it, an adapter and its base each for itself.
        """
        return states * (3 if readers > 1 else 2)
