"""The half of a model that reads pictures (Gemma 3): loaded with the rest, and never computed with here. Closed formulas."""

from collections.abc import Mapping
from typing import Any

from xtune.memory.linear import Linear


def read_eyes(config: Mapping[str, Any], hidden: int) -> dict[str, Any]:
    """The fields `eyes` and `eyes_rest` of a config that has a `vision_config` beside its `text_config` (Gemma 3).

    An encoder of L layers of width d, feed-forward width m, as SigLIP's: four projections and two layers with biases, two norms
    of two rows each; its patches of p by p by 3 are projected, and each has a position; a matrix leads to the text's width.
    """
    vision = config.get("vision_config")
    names = ("hidden_size", "num_hidden_layers", "intermediate_size")
    if not isinstance(vision, Mapping) or not all(isinstance(vision.get(n), int) for n in names):
        return {}
    width, layers, inner = (vision[name] for name in names)
    patch = vision.get("patch_size")
    patch = patch if isinstance(patch, int) and patch > 0 else 14
    image = vision.get("image_size")
    positions = (image // patch) ** 2 if isinstance(image, int) else 0
    square = Linear(name="q_proj", inputs=width, outputs=width)
    up, down = (
        Linear(name=name, inputs=a, outputs=b)
        for name, a, b in (("fc1", width, inner), ("fc2", inner, width))
    )
    rest = layers * (9 * width + inner)
    rest += (3 * patch**2 + 1 + positions + 2) * width + width * hidden + width
    return {"eyes": ((4 * layers, square), (layers, up), (layers, down)), "eyes_rest": rest}
