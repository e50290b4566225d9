"""Peak bytes of one training step by item, computed from closed formulas; nothing is run and nothing is measured.

What stays is in `resident`, a layer's backward pass in `layer` and `frugal`, the end of the model in `loss`; here they are put
together. What they cannot know: fragmentation and library workspaces, for which `context` and `reserve` are set aside.
"""

from dataclasses import replace
from functools import cached_property

from xtune.memory.dora_whole import WholeDoraLayer
from xtune.memory.forward import forward_bytes
from xtune.memory.frugal import FrugalLayer
from xtune.memory.learning import embedding_learns, layers_learn
from xtune.memory.loading import loading_bytes
from xtune.memory.loss import loss_bytes
from xtune.memory.prediction import RESIDENT, Prediction
from xtune.memory.resident import (
    adapter_bytes,
    cast_bytes,
    crossing_bytes,
    embedding_bytes,
    gradient_bytes,
    head_bytes,
    largest_matrix,
    layer_weight_bytes,
    resident_weights,
    trained_parameters,
    weight_bytes,
)
from xtune.memory.saved import saved_modules
from xtune.memory.shape import ModelShape
from xtune.memory.stack import Kind, LayerStack
from xtune.memory.start import start_bytes
from xtune.memory.states import optimizer_bytes, stored_state_bytes
from xtune.memory.stepping import stepping
from xtune.memory.whole import WholeLayer
from xtune.memory.workload import (
    ADAPTER_BYTES,
    CONTEXT_BYTES,
    GIB,
    HEAD_SLICE_BYTES,
    HEAD_SUM_BYTES,
    LEAST_RESERVE_BYTES,
    RESERVE_FRACTION,
    SUBSPACE_RANKS,
    Workload,
)

__all__ = [
    "ADAPTER_BYTES",
    "CONTEXT_BYTES",
    "GIB",
    "HEAD_SLICE_BYTES",
    "HEAD_SUM_BYTES",
    "SUBSPACE_RANKS",
    "Prediction",
    "Workload",
    "layer_weight_bytes",
    "optimizer_bytes",
    "predict",
    "trained_parameters",
    "weight_bytes",
]


def predict(shape: ModelShape, work: Workload) -> Prediction:
    """Compute the bytes of one training step by item.

    A layer that trains attention sinks is never cut (`xtune.kernels.lifted`), nor is a recurrent one: they are computed as a whole.
    """
    uncut = shape.recurrent_width > 0 or (work.is_full and shape.has_sinks)
    if work.frugal and uncut:
        work = replace(work, frugal=False)
    step = _Step(shape, work)
    items = {
        "weights": resident_weights(shape, work),
        "embeddings": embedding_bytes(shape, work),
        "head": head_bytes(shape, work),
        "adapter": adapter_bytes(shape, work),
        "gradients": step.gradients,
        "optimizer": optimizer_bytes(shape, work),
        "checkpoints": step.waiting,
        "layer": step.largest_layer,
        "loss": step.loss,
        "casts": step.casts,
        "start": step.start,
        "context": CONTEXT_BYTES[work.device],
    }
    staying = sum(items[name] for name in RESIDENT)
    items["load"] = max(0, loading_bytes(shape, work) - staying)
    moving = items["checkpoints"] + max(items["layer"], items["loss"])
    items["reserve"] = max(LEAST_RESERVE_BYTES[work.device], round(RESERVE_FRACTION * moving))
    stored = stored_state_bytes(shape, work)
    return Prediction(items=items, step_bytes=step.peak, stored_state_bytes=stored)


class _Step:
    """The moments of a step, and the largest of them.

    When the loss is computed all layers' inputs wait, and casts and logits exist. Then the last layer goes back, with all inputs
    still there and of the gradients the head's; then layer by layer inputs go and gradients come, so that the sum lies between
    its ends: in the first layer its own input is left, and all gradients but those that this layer and the embedding are
    still to give. At last comes the embedding's, beside the head's where they are one matrix. Gradients that
    stay from an earlier micro-batch are there all the while.
    """

    def __init__(self, shape: ModelShape, work: Workload) -> None:
        self.shape, self.work = shape, work
        self.stack = LayerStack(shape, work)
        self.layer = self.stack.kinds[0].layer
        trained = trained_parameters(shape, work)
        self.gradient_bytes = work.trained_bytes
        self.gradients = gradient_bytes(shape, work, trained * self.gradient_bytes)
        self.loss = loss_bytes(shape, work)
        self.casts = cast_bytes(shape, work)
        self.crossing = crossing_bytes(work)
        self.stepping = stepping(shape, work)
        self.saved = saved_modules(shape, work.saved)
        self.goes_back = layers_learn(shape, work)

    @property
    def hidden(self) -> int:
        """The hidden states between two layers."""
        return self.work.positions * self.shape.hidden * self.work.weight_bytes

    @property
    def _shared(self) -> int:
        """What every layer reads: rotary tables, masks, and a few numbers a token (ids, labels, positions, weights)."""
        work = self.work
        # one made in vain is gone behind the forward pass; beside what layers keep it may be the last straw
        idle = 0 if work.gradient_checkpointing else self.layer.idle_mask
        return work.positions * (self.layer.rotary + 32) + self.layer.mask + idle + self._dropped

    @property
    def _dropped(self) -> int:
        """What says what of the embedding's states is dropped, if they have a gradient, and them where transformers asks for it."""
        work, h = self.work, self.shape.hidden
        asks = self._asks and not work.is_full
        if not self.shape.dropouts.embedding or not (asks or embedding_learns(self.shape, work)):
            return 0
        return work.positions * (h + (work.weight_bytes * h if asks else 0))

    @property
    def _asks(self) -> bool:
        """Whether transformers asks a frozen embedding for gradients."""
        return self.work.is_checkpointed

    @cached_property
    def _begin(self) -> int:
        """The first layer that goes back."""
        learns = embedding_learns(self.shape, self.work)
        every = learns or self.saved.in_layer > 0 or self._asks
        return 0 if every else self.stack.first_learner

    def _inputs(self, layers: int) -> int:
        """What so many layers keep for their backward passes."""
        work = self.work
        if not self.goes_back:
            return 0
        if not work.gradient_checkpointing:
            kept = layers * self._saved_kept + self.stack.kept_below(layers)
            if embedding_learns(self.shape, work) or not layers:
                return kept
            begin = self._begin
            if layers <= begin:
                return 0
            first = self.stack.kept_below(begin) + self.stack.ungraded(begin).bytes(work.positions)
            return kept - first
        # the first layer's is what the embedding gave, where it is
        first = self.hidden - self.work.positions * self.shape.hidden * self.work.weight_bytes
        is_among = self.work.checkpoint_place == "device" or layers == self.shape.layers
        waiting = layers * self.hidden - (first if is_among else 0)
        return waiting + self._unscaled

    @property
    def _unscaled(self) -> int:
        """Granite multiplies what the embedding gave; where transformers asks a frozen embedding for gradients that is there too."""
        work = self.work
        if not self._asks or work.is_full or not self.shape.model_type.startswith("granite"):
            return 0
        return work.positions * self.shape.hidden * work.weight_bytes

    @property
    def waiting(self) -> int:
        """What waits on the device for the backward pass.

        Every layer's activations; or with checkpointing every layer's input; or where those wait elsewhere, the one in
        use and, beside whole layers, the one that is on its way.
        """
        work, layers = self.work, self.shape.layers
        if work.checkpoint_place != "device":
            layers = 1 if work.frugal else min(layers, 2)
        return self._inputs(layers)

    @cached_property
    def _peaks(self) -> list[list[tuple[int, int, int]]]:
        return [self._peaks_of(kind.layer) for kind in self.stack.kinds]

    def _peaks_of(self, layer: FrugalLayer | WholeLayer) -> list[tuple[int, int, int]]:
        """Bytes of each moment of a layer, entries of its own that have gradients by then, and of these those that just came.

        A frugal layer counts its own.
        """
        more, saved = self._saved_at_work, self.saved.in_layer
        if isinstance(layer, FrugalLayer):
            sums = 2 * ADAPTER_BYTES * saved  # so far, and a tile's
            return [(each + more + sums, 0, 0) for each in layer.peaks()]
        n, full = self.work.positions, self.work.is_full
        return [
            (each.bytes(n) + more, each.graded if full else each.adapted + saved, each.fresh)
            for each in layer.moments()
        ]

    @property
    def _saved_kept(self) -> int:
        """What modules that are trained in full keep of one layer: a copy of what they read, or a norm's float32 states; autocast's copies."""
        c = self.work.compute_bytes
        per_token = c * self.saved.read + 4 * self.saved.normalised
        return self.work.positions * per_token + (c * self.saved.in_layer if c < 4 else 0)

    @property
    def _saved_at_work(self) -> int:
        """What they have while their layer goes back: what they keep, what they read in float32 first, and a gradient in the compute type."""
        c, work = self.work.compute_bytes, self.work
        n = min(work.tile_tokens, work.positions) if work.frugal else work.positions
        again = n * (c * self.saved.read + 4 * self.saved.normalised)
        copies = 2 * c if c < ADAPTER_BYTES else c
        return again + 4 * n * self.saved.read + copies * self.saved.in_layer

    @property
    def largest_layer(self) -> int:
        """The largest moment of a layer."""
        if not self.goes_back:
            return self._forward
        return max(size for peaks in self._peaks for size, *_ in peaks)

    @property
    def _forward(self) -> int:
        """The largest moment of a forward pass through a layer that never goes back."""
        return max(forward_bytes(kind.layer) for kind in self.stack.kinds)

    @property
    def peak(self) -> int:
        """The largest sum of what comes and goes."""
        step = self._shared + max(
            self._of_loss(),
            self._of_last_norm(),
            self._of_layers(),
            self._of_embedding(),
            3 * self.layer.idle_mask,
        )
        return max(step, self.start)

    @property
    def start(self) -> int:
        """What attaching the adapter takes beyond the optimizer's states, which are not there yet."""
        states = optimizer_bytes(self.shape, self.work)
        return max(0, start_bytes(self.shape, self.work) - states)

    def _of_loss(self) -> int:
        work = self.work
        # what is copied away when a layer begins is gone at its end
        there = self._inputs(self.shape.layers) if work.checkpoint_place == "device" else 0
        stays = self.gradients if work.accumulation_steps > 1 else 0
        # of layers that are not computed again they are among what these keep
        kept = 0 if work.gradient_checkpointing else self.stack.casts
        return there + stays + loss_bytes(self.shape, work, max(0, self.casts - kept))

    def _of_last_norm(self) -> int:
        """Behind whole layers the last norm goes back for all tokens at one time.

        Before that a fused step steps a head of its own.
        """
        work, table = self.work, self.shape.vocab * self.shape.hidden
        there = self._inputs(self.shape.layers) if work.checkpoint_place == "device" else 0
        head = self.gradient_bytes * table if work.is_full else 0
        step = there + head + self.hidden + self.stepping.tables
        step = step if work.fused_step and not self.shape.tied else 0
        if (work.frugal and self.shape.ends_plainly) or not self.goes_back:
            return step
        stays = self.gradients if work.accumulation_steps > 1 else head
        norm = self.layer.norm.last_back(work.weight_bytes)
        return max(step, there + stays + norm * self.shape.hidden * work.positions)

    def _of_layers(self) -> int:
        if not self.goes_back:
            earlier = self.gradients if self.work.accumulation_steps > 1 else 0
            return earlier + self._forward
        kinds = zip(self.stack.kinds, self._peaks, strict=True)
        sizes = [size for kind, peaks in kinds for size in self._of_kind(kind, peaks)]
        sizes += [self.stack.passed(kind) for kind in self.stack.kinds if kind.at[0] < self._begin]
        work, full = self.work, self.work.is_full
        if isinstance(self.layer, WholeDoraLayer) and not work.gradient_checkpointing:
            # the last layer's matrices are made while all layers keep what they need
            earlier = self.gradients if work.accumulation_steps > 1 else 0
            sizes.append(self._inputs(self.shape.layers) + earlier + self.layer.passing)
        if work.fused_step and (work.frugal or work.is_shelved):
            own = self.gradient_bytes * (self.shape.layer_entries if full else self._entries(0, 1))
            sizes.append(self.waiting + self.hidden + own + self._head_waits + self.stepping.layer)
        return max(sizes)

    @property
    def _leaves(self) -> bool:
        """Whether gradients leave for the host: two at a time, while what comes after them is computed."""
        return self.work.states_place == "host" and not self.crossing

    @property
    def _trailing(self) -> int:
        """Entries whose gradients still leave while the layer before gives its own: the last two of a layer, which are norms' or experts'."""
        last = self.work.is_full and self.layer.sparse and self.shape.family.experts_last
        return 3 * self.layer.block.matrices if last else 0

    def _entries(self, start: int, end: int) -> int:
        """Trained entries of some of the layers."""
        saved = self.saved.in_layer
        return self.stack.entries_below(end, saved) - self.stack.entries_below(start, saved)

    @property
    def _head_waits(self) -> int:
        """The head's gradient, which a fused step is done with, unless it is the embedding's too, or still on its way to the host."""
        work = self.work
        waits = self.shape.tied or not work.fused_step or self._leaves
        trained = (work.is_full and waits) or self.saved.head
        return self.gradient_bytes * self.shape.vocab * self.shape.hidden if trained else 0

    def _waiting_at(self, layer: int, *, first: bool = False) -> int:
        """What waits for the backward pass when so many layers are below one that goes back, with its own input if it is computed again."""
        work = self.work
        if not work.gradient_checkpointing:
            return self._inputs(layer)
        if work.checkpoint_place != "device":
            return self._inputs(1) if first else self.waiting
        return self._inputs(layer + 1)

    def _of_kind(self, kind: Kind, peaks: list[tuple[int, int, int]]) -> list[int]:
        """The moments of the last of some layers, and of the first of them that goes back."""
        at = [each for each in kind.at if each >= self._begin]
        if not at:
            return []
        work, full = self.work, self.work.is_full
        g, table, layers = (
            self.gradient_bytes,
            self.shape.vocab * self.shape.hidden,
            self.shape.layers,
        )
        first, last = self._waiting_at(at[0], first=True), self._waiting_at(at[-1])
        head, leaving = self._head_waits, work.fused_step and self._leaves
        untied = not self.shape.tied and (full or self.saved.embedding)
        embedding = g * table if untied else 0
        above, below = g * self._entries(at[-1] + 1, layers), g * self._entries(0, at[0] + 1)
        sizes = []
        for size, graded, fresh in peaks:
            given = g * graded
            # layers that are computed again by us give all their gradients together; two at a time leave for the host
            unused = given if work.is_shelved else g * fresh
            if leaving:
                unused = max(unused, min(given, 2 * g * largest_matrix(self.shape)))
                unused += g * self._trailing if work.base_place != "device" else 0
            if work.fused_step:
                step = self.stepping.layer if fresh and not work.is_shelved else 0
                sizes.append(last + size + head + unused + self.crossing + step)
            elif work.accumulation_steps > 1:
                tied = head if self.shape.tied else 0  # waits until the embedding's comes beside it
                sizes.append(last + size + self.gradients + tied + unused)
            else:
                sizes.append(last + size + head + above + given)
                left = self.gradients - embedding + given
                sizes.append(first + size + left - below)
                if (
                    len(at) > 1
                ):  # the second has another input on its way beside it, where those wait elsewhere
                    second = g * self._entries(0, at[1] + 1)
                    sizes.append(self._waiting_at(at[1]) + size + left - second)
        return sizes

    def _of_embedding(self) -> int:
        """The embedding's gradient, as its hidden states' has come; of one matrix the head's waits beside it, and takes the sum.

        And the step, with what crosses to the device or is made there for it.
        """
        step = max(self.crossing, self.stepping.largest)
        table = self.gradient_bytes * self.shape.vocab * self.shape.hidden
        if not self.work.is_full:
            earlier = table if self.work.accumulation_steps > 1 else 0
            sums = earlier + (table if self.shape.tied else 0)
            given = sums + self.hidden if self.saved.embedding else 0
            if self.work.new_tokens:  # the gradient of a copy of the whole table
                given = self.hidden + self.work.weight_bytes * self.shape.embedding_parameters
            return self.gradients + max(given, step)
        earlier = table if self.work.accumulation_steps > 1 else 0
        beside = earlier + (table if self.shape.tied else 0)
        if self.work.fused_step:
            given = max(self.gradients, table + beside) + self.crossing
            return self.hidden + max(given, table + self.stepping.tables)
        return self.gradients + max(self.hidden + beside, step)
