"""Where the plan wants the base's decoder layers to rest, and the moments in which they are put there. Trains nothing."""

from dataclasses import dataclass, field

import torch
from torch import nn

from xtune.hardware import cache_folder
from xtune.kernels.stream import LayerStream, shelve_layer, stream_layers
from xtune.kernels.stream_rest import DiskRest, HostRest, Rest, host_memory
from xtune.models.load import place_of
from xtune.plan import Plan
from xtune.shown import size_text


@dataclass
class BaseStreaming:
    """A base whose layers rest elsewhere: `shelve` while it is read, `start` when it is, `settle` behind the adapter."""

    device: torch.device
    rest: Rest
    trained: bool = False
    """Whether the layers themselves are trained; `xtune.train.update` takes their gradients."""

    stream: LayerStream | None = field(default=None, init=False)

    def shelve(self, index: int, layer: nn.Module) -> None:
        """Put a decoder layer to rest as soon as it has its weights; the loader's `on_layer`.

        Raises:
            RunError: There is no room.
        """
        del index
        layer.requires_grad_(self.trained)
        shelve_layer(layer, self.rest, on_gradients=_unclaimed if self.trained else None)

    def start(self, base: nn.Module) -> None:
        """Let the layers come to the device when they compute.

        Raises:
            RunError: There is no room for layers that are not at rest yet.
        """
        base.requires_grad_(self.trained)
        sink = _unclaimed if self.trained else None
        self.stream = stream_layers(base, self.device, self.rest, on_gradients=sink)

    def settle(self) -> None:
        """Bring the adapter to the device, and put to rest what its start changed."""
        if self.stream is not None:
            self.stream.settle()

    def said(self) -> str:
        """Where the layers are, for people."""
        assert self.stream is not None
        size, slots = size_text(self.stream.resting_bytes), size_text(self.stream.slot_bytes)
        place = "host memory"
        if isinstance(self.rest, DiskRest):
            place = (
                f"{self.rest.folder} ({size_text(self.rest.written_bytes)} of them newly written)"
            )
        return (
            f"The decoder layers, {size}, rest in {place}; the device has {slots} for two of them."
        )


def _unclaimed(*_: object) -> None:
    """Stands for whoever will take the gradients, and never is asked.

    Raises:
        RuntimeError: It was.
    """
    raise RuntimeError("nobody takes the gradients of streamed layers: FusedUpdate must")


def base_streaming(plan: Plan) -> BaseStreaming | None:
    """How the base of a plan is streamed; None: it stays on the device."""
    place = plan.base.value
    if place == "device":
        return None
    device, folder = torch.device(place_of(plan.device.value)), cache_folder() / "layers"
    return BaseStreaming(
        device,
        DiskRest(folder) if place == "disk" else HostRest(host_memory(device)),
        trained=plan.recipe.method.type == "full",
    )
