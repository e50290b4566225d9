"""What an adapter that begins with the base's own directions takes for a moment while it is attached. Closed formulas.

PEFT 0.21 decomposes one matrix of o outputs, i inputs and k = min(o, i) directions after another, in float32: a 16-bit one is copied
(4 o i). Then there are

- MiCA, OLoRA: the copy that the decomposition overwrites (4 o i) and both factors (4 o k + 4 k i); on CUDA the right factor comes
  turned, and is laid out again (4 k i);
- PiSSA: the factors, the product of those that are taken, and what it leaves of the matrix (8 o i);
- PiSSA by iterations: the latter two, and the factors that are taken (4 r (o + i)).

What a library of a GPU has inside is not known. Layers that rest elsewhere are decomposed by the processor.
"""

from xtune.memory.linear import Linear
from xtune.memory.shape import ModelShape
from xtune.memory.workload import Workload


def start_bytes(shape: ModelShape, work: Workload) -> int:
    """The most of any matrix that gets an adapter, on the device."""
    return matrix_start_bytes(shape, work) if work.base_place == "device" else 0


def matrix_start_bytes(shape: ModelShape, work: Workload) -> int:
    """The most of any matrix that gets an adapter, wherever it is taken apart."""
    if work.is_full or work.quantization is not None:
        return 0
    linears = [each for _, each in shape.target_linears(work.targets)]
    return max((_of_matrix(each, work) for each in linears), default=0)


def changes_base(work: Workload) -> bool:
    """Whether the start takes from the base what it puts into the adapter, and keeps in host memory what that was."""
    return not work.is_full and work.init.startswith(("pissa", "olora"))


def _of_matrix(linear: Linear, work: Workload) -> int:
    entries, shorter = linear.weights, min(linear.inputs, linear.outputs)
    factors = shorter * (linear.inputs + linear.outputs)
    copy = entries if work.weight_bytes < 4 else 0
    if work.init.startswith("pissa_niter"):
        return 4 * (copy + 2 * entries) + 4 * work.rank * (linear.inputs + linear.outputs)
    if work.init == "pissa":
        return 4 * (copy + factors + 2 * entries)
    if work.init in {"olora", "mica"}:
        turned = shorter * linear.inputs if work.init == "mica" and work.device == "cuda" else 0
        return 4 * (copy + entries + factors + turned)
    return 0
