"""The numbers of a parameter that an optimizer steps: the parameter itself, or float32 in host memory. Steps nothing.

A bfloat16 number is the upper half of a float32 one. A bfloat16 parameter that rests in host memory is stepped with the
lower half beside it, 16 bits a number (`join`, `split`), so that four bytes hold what the device computes with and what
the optimizer adds up. Rounding to the upper half is to the nearest, and where both are as near, away from zero.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


def split(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """float32 numbers as bfloat16 ones and what these lack, int16; all of one shape."""
    bits = numbers.view(torch.int32)
    high = (bits + 0x8000) >> 16
    low = bits - (high << 16)
    return high.to(torch.int16).view(torch.bfloat16), low.to(torch.int16)


def join(high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """The float32 numbers of which `split` made these."""
    bits = (high.view(torch.int16).to(torch.int32) << 16) + low
    return bits.view(torch.float32)


class Numbers:
    """A parameter that is stepped where it is, in its own type."""

    rests = False
    """Whether the parameter itself is in host memory, and new numbers need not be copied in."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self._parameter = parameter
        self.stepped = parameter
        """What the optimizer steps while `at_hand` lasts; it has the parameter's shape always."""

    @contextlib.contextmanager
    def at_hand(self) -> Iterator[None]:
        """While it lasts `stepped` has the numbers."""
        yield

    def stretch(self, part: slice, device: torch.device) -> torch.Tensor:
        """Some of the numbers, counted through all dimensions, in float32 on a device: (numbers,)."""
        return self._flat()[part].to(device, torch.float32)

    def put_stretch(self, part: slice, numbers: torch.Tensor) -> None:
        """Set them, (numbers,), and the parameter with them."""
        self._flat()[part].copy_(numbers)

    def _flat(self) -> torch.Tensor:
        return self.stepped.detach().view(-1)

    def rounded(self) -> torch.Tensor:
        """The numbers in the parameter's type."""
        return self.stepped.detach()

    def low_bits(self) -> torch.Tensor | None:
        """What the parameter lacks of its numbers, int16, for a checkpoint; None: nothing."""
        return None

    def restore(self, low_bits: torch.Tensor | None) -> None:
        """Go on from the parameter as it is now, and from what it lacks; None: nothing."""


class HostNumbers(Numbers):
    """float32 numbers in host memory, which a parameter on a device, or of another type, follows."""

    def __init__(self, parameter: nn.Parameter) -> None:
        super().__init__(parameter)
        self.stepped = nn.Parameter(parameter.detach().to("cpu", torch.float32, copy=True))

    def put_stretch(self, part: slice, numbers: torch.Tensor) -> None:
        """Set them, and the parameter, rounded as `split` does."""
        super().put_stretch(part, numbers)
        narrow = split(numbers)[0] if self._parameter.dtype == torch.bfloat16 else numbers
        self._parameter.detach().view(-1)[part].copy_(narrow)

    def rounded(self) -> torch.Tensor:
        """As `split` rounds."""
        whole = self.stepped.detach()
        return split(whole)[0] if self._parameter.dtype == torch.bfloat16 else whole

    def low_bits(self) -> torch.Tensor | None:
        """For bfloat16 parameters."""
        if self._parameter.dtype != torch.bfloat16:
            return None
        return split(self.stepped.detach())[1]

    def restore(self, low_bits: torch.Tensor | None) -> None:
        """Set the numbers."""
        high = self._parameter.detach().cpu()
        self.stepped.data.copy_(high if low_bits is None else join(high, low_bits))


class RestingNumbers(Numbers):
    """A float32 parameter's own memory, in which it rests while its layer does not compute."""

    rests = True

    def __init__(self, parameter: nn.Parameter) -> None:
        super().__init__(parameter)
        self.stepped = nn.Parameter(parameter.detach())


class RestingHalves(Numbers):
    """A bfloat16 parameter's own memory, in which it rests, and its lower half; whole only during its step."""

    rests = True

    def __init__(self, parameter: nn.Parameter) -> None:
        super().__init__(parameter)
        self._high = parameter.detach()
        self._low = torch.zeros(parameter.shape, dtype=torch.int16)
        self._nothing = torch.zeros(()).expand(parameter.shape)
        self.stepped = nn.Parameter(self._nothing)

    @contextlib.contextmanager
    def at_hand(self) -> Iterator[None]:
        """Join the halves, and split what has come of them."""
        self.stepped.data = join(self._high, self._low)
        yield
        high, low = split(self.stepped.detach())
        self._high.copy_(high)
        self._low.copy_(low)
        self.stepped.data = self._nothing

    def stretch(self, part: slice, device: torch.device) -> torch.Tensor:
        """Joined on the device."""
        high, low = (each.view(-1)[part].to(device) for each in (self._high, self._low))
        return join(high, low)

    def put_stretch(self, part: slice, numbers: torch.Tensor) -> None:
        """Split on the device."""
        halves = zip((self._high, self._low), split(numbers), strict=True)
        for home, half in halves:
            home.view(-1)[part].copy_(half)

    def low_bits(self) -> torch.Tensor:
        """The lower half."""
        return self._low

    def restore(self, low_bits: torch.Tensor | None) -> None:
        """Set the lower half; the upper one is the parameter's."""
        if low_bits is None:
            self._low.zero_()
        else:
            self._low.copy_(low_bits)


def numbers_of(parameter: nn.Parameter, *, on_host: bool, rests: bool) -> Numbers:
    """What is stepped for a parameter.

    Args:
        parameter: float32 or bfloat16 with `on_host`.
        on_host: Whether it is stepped in host memory.
        rests: Whether it rests in host memory, and shows now what rests.
    """
    if rests:
        return (RestingHalves if parameter.dtype == torch.bfloat16 else RestingNumbers)(parameter)
    if not on_host or (parameter.device.type == "cpu" and parameter.dtype == torch.float32):
        return Numbers(parameter)
    return HostNumbers(parameter)
