"""The training itself: how long, how fast, with which optimizer; evaluation, checkpoints and stopping."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from xtune.recipe.spec import Fraction, Spec

OptimizerName: TypeAlias = Literal[
    "auto",
    "adamw",
    "adamw_8bit",
    "paged_adamw",
    "paged_adamw_8bit",
    "lion_8bit",
    "paged_lion_8bit",
    "adafactor",
    "muon",
    "galore_adamw",
    "apollo_adamw",
]
SUBSPACE_OPTIMIZERS = ("galore_adamw", "apollo_adamw")
"""Optimizers whose states for matrices are in a subspace of few dimensions."""


class Train(Spec):
    """How long, how fast, with which optimizer; evaluation, checkpoints and stopping."""

    learning_rate: PositiveFloat
    """Peak learning rate."""

    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """Shape after the warm-up; `wsd` holds the peak, then decays linearly over `decay_fraction`."""

    warmup_steps: NonNegativeInt | None = None
    """Steps of linear warm-up; given, it replaces `warmup_fraction`."""

    warmup_fraction: Fraction = 0.03
    """Warm-up as a fraction of all steps."""

    decay_fraction: Fraction = 0.2
    """Part of all steps in which `wsd` decays."""

    final_learning_rate_fraction: Fraction = 0.0
    """Learning rate that the decay ends at, just after the last step, as a fraction of the peak."""

    epochs: PositiveFloat | None = None
    """Passes over the data; 1 when neither this nor `max_steps` is given."""

    max_steps: PositiveInt | None = None
    """Optimizer steps; the data is repeated as often as needed. With `epochs` too, the first to come stops."""

    max_minutes: PositiveFloat | None = None
    """Stop, save and finish cleanly after this many minutes of training, over all resumes together."""

    batch_size: PositiveInt = 8
    """Sequences per optimizer step, over all devices: rows, or packs of rows."""

    micro_batch_size: PositiveInt | Literal["auto"] = "auto"
    """Sequences per forward pass on one device; `auto` takes the largest that fits."""

    optimizer: OptimizerName = "auto"
    """`auto`: AdamW with 8-bit states where they run and pay; `muon` is Muon for matrices, AdamW for the rest;
    `galore_adamw` and `apollo_adamw` (extras of those names) keep AdamW's states of matrices in few dimensions."""

    matrix_learning_rate: PositiveFloat | None = None
    """Peak learning rate of the matrices under `muon`; default: `learning_rate`, matched to AdamW's update size."""

    subspace_rank: PositiveInt | None = None
    """Dimensions in which `galore_adamw` and `apollo_adamw` keep states; default: 128 and 256."""

    subspace_steps: PositiveInt = 200
    """Steps after which those dimensions are chosen anew."""

    beta1: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Decay of the first moment."""

    beta2: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    """Decay of the second moment."""

    epsilon: PositiveFloat = 1e-8
    """Added to the denominator of Adam's update."""

    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay on matrices (not on norms and biases)."""

    max_grad_norm: PositiveFloat | None = 1.0
    """Gradients are clipped to this norm; null: not clipped."""

    neftune_alpha: PositiveFloat | None = None
    """NEFTune: uniform noise on the embeddings of training rows (arXiv 2310.05914); 5 is usual."""

    compile: bool = False
    """torch.compile the model; pays after some hundred steps."""

    evaluate_every: PositiveInt | None = None
    """Steps between evaluations on `data.evaluate`; default: at the end only."""

    save_every: PositiveInt | None = None
    """Steps between checkpoints; default: a tenth of the run."""

    keep_checkpoints: PositiveInt = 2
    """How many of the newest checkpoints stay on disk; the best one stays besides."""

    early_stop_patience: PositiveInt | None = None
    """Stop after this many evaluations without a better loss."""

    finish_with: Literal["last", "best"] = "last"
    """Which weights the run ends with; `best` is by evaluation loss."""
