"""The type of what linear layers with DoRA give."""

from torch import nn

from xtune.models.activations import give_as_read


def narrow_dora(model: nn.Module) -> None:
    """Let linear layers with DoRA give the type that they read, in place.

    DoRA's magnitudes are float32, and so is what they multiply. Beside an unquantised matrix PEFT 0.21 casts it back, beside a quantised
    one under autocast it does not: the hidden states of all layers, and every layer's input that waits, would be twice as wide.
    """
    for module in model.modules():
        if getattr(module, "lora_variant", None):
            give_as_read(module)
