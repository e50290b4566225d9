"""What is on the device from the first step of a run to the last: weights and adapter; and the gradients. Closed formulas."""

from xtune.memory.saved import saved_modules
from xtune.memory.shape import ModelShape
from xtune.memory.workload import (
    ADAPTER_BYTES,
    NESTED_BLOCK,
    QUANTIZATION_BLOCK,
    STEP_STRETCH,
    Workload,
)


def trained_parameters(shape: ModelShape, work: Workload) -> int:
    """Parameters that get gradients."""
    if work.method == "full":
        return shape.parameters
    low_rank = shape.lora_parameters(work.rank, work.targets, dora=work.dora)
    return low_rank + saved_modules(shape, work.saved).entries + work.new_tokens * shape.hidden


def weight_bytes(shape: ModelShape, work: Workload) -> int:
    """Bytes of the decoder layers and the last norm, and of a half that reads pictures.

    4 bits: half a byte a weight and a scale for every 64 weights, float32 (4 bytes), or with double
    quantisation one byte and a float32 for every 256 scales. 8 bits: a byte a weight and a float32 for
    every output. Norms, biases and experts are not quantised, nor is what a stored base keeps whole.
    """
    plain = (shape.expert_parameters + shape.small_parameters) * work.weight_bytes
    plain += shape.eyes_rest * work.weight_bytes
    weights = shape.linear_weights + sum(count * each.weights for count, each in shape.eyes)
    if work.quantization is None:
        return plain + weights * work.weight_bytes
    plain += shape.whole_weights * work.weight_bytes
    weights -= shape.whole_weights
    if work.quantization == "int8":
        every = (*shape.linears, *shape.eyes)
        return plain + weights + 4 * sum(count * linear.outputs for count, linear in every)
    scales = weights // QUANTIZATION_BLOCK
    scale_bytes = scales + 4 * (scales // NESTED_BLOCK) if work.double_quantization else 4 * scales
    return plain + weights // 2 + scale_bytes


def resident_weights(shape: ModelShape, work: Workload) -> int:
    """The decoder layers and the last norm; of layers that wait elsewhere, the one in use and the one on its way."""
    if work.base_place == "device":
        return weight_bytes(shape, work)
    last_norm = shape.last_parameters * work.weight_bytes
    return last_norm + min(shape.layers, 2) * layer_weight_bytes(shape, work)


def adapter_bytes(shape: ModelShape, work: Workload) -> int:
    """What is trained beside a frozen base; and adapters in a half that reads pictures, which never get a gradient."""
    if work.is_full:
        return 0
    unused = sum(count * (each.inputs + each.outputs) for count, each in shape.eyes)
    unused = work.rank * unused if "all-linear" in work.targets else 0
    return ADAPTER_BYTES * (trained_parameters(shape, work) + unused)


def layer_weight_bytes(shape: ModelShape, work: Workload) -> int:
    """Bytes of one decoder layer, the largest: one with experts where there are any."""
    return weight_bytes(shape.one_layer, work) - shape.last_parameters * work.weight_bytes


def embedding_bytes(shape: ModelShape, work: Workload) -> int:
    """The embedding table."""
    return 0 if work.embeddings_place == "host" else shape.embedding_parameters * work.weight_bytes


def head_bytes(shape: ModelShape, work: Workload) -> int:
    """The head: a matrix of its own, or its quantised form; the slices of one on the host belong to the loss."""
    if work.head_form == "host":
        return 0
    entries = shape.vocab * shape.hidden
    if work.head_form == "nf4":
        scales = entries // QUANTIZATION_BLOCK
        return entries // 2 + scales + 4 * (scales // NESTED_BLOCK)
    if work.head_form == "int8":
        return entries + 4 * shape.vocab
    return shape.head_parameters * work.weight_bytes


def crossing_bytes(work: Workload) -> int:
    """What is on the device while states on the host are stepped: those of 8 bits cross a stretch at a time, beside float32 numbers and gradients."""
    crosses = work.states_place == "host" and work.optimizer.endswith("8bit")
    return STEP_STRETCH * (4 + 4 + 1 + 1) if crosses and work.device == "cuda" else 0


def largest_matrix(shape: ModelShape) -> int:
    """Entries of the largest parameter of the decoder layers: of a mixture gate and up of all experts are one."""
    experts = 2 * shape.experts * shape.hidden * shape.expert_intermediate
    linears = (each.weights for _, each in shape.linears)
    return max(*linears, experts if shape.expert_layers else 0)


def gradient_bytes(shape: ModelShape, work: Workload, every: int) -> int:
    """Gradients of everything trained; of a step fused into the backward pass, those that exist at one time.

    Fused, a gradient is gone before the next one is made, so the largest counts. But layers whose inputs wait elsewhere, or
    which come from elsewhere themselves, give all of their own together; frugal ones cast from float32 sums. A table
    that is embedding and head at once has the head's gradient waiting from the beginning of the backward pass to its end,
    where the embedding's comes beside it.
    DistributedDataParallel keeps its buckets beside the gradients.
    """
    if work.fused_step:
        w, table = work.weight_bytes, shape.vocab * shape.hidden * work.weight_bytes
        layer = largest_matrix(shape) * w
        if work.frugal or work.base_place != "device" or work.checkpoint_place != "device":
            sums = 4 if work.frugal and w < 4 else 0
            layer = layer_weight_bytes(shape, work) // w * (w + sums)
        return max(layer, table) + (table if shape.tied else 0)
    return every * (2 if work.world_size > 1 else 1)


def cast_bytes(shape: ModelShape, work: Workload) -> int:
    """Autocast's copies of trained float32 matrices, kept until the forward pass ends; an embedding is none of them."""
    held = work.weight_dtype if work.is_full else "float32"
    if held != "float32" or work.compute_dtype == "float32":
        return 0
    trained = trained_parameters(shape, work)
    saved = saved_modules(shape, work.saved)
    if saved.embedding and not shape.tied:
        trained -= shape.embedding_parameters
    if not work.is_full:  # experts' adapters are cast by PEFT
        experts = shape.expert_lora_parameters(work.rank, work.targets)
        trained -= shape.expert_layers * experts
    if work.is_full:
        trained -= shape.small_parameters + (0 if shape.tied else shape.embedding_parameters)
        trained -= (
            3 * shape.expert_layers * shape.experts * shape.hidden * shape.expert_intermediate
        )
    return trained * work.compute_bytes
