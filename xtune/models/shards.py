"""Safetensors files read and written a tensor at a time, so that neither a model nor a file need fit in memory.

The format: eight bytes with the length of a JSON header, the header, which names each tensor's type, shape and place,
and the tensors' bytes (huggingface/safetensors, README). What a type means is torch's.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch

from xtune.errors import ModelError
from xtune.models.source import WEIGHTS, WEIGHTS_INDEX, read_json_object

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}

LONGEST_HEADER = 100_000_000
"""Bytes; the same limit as in safetensors' own reader."""

COPIED_AT_ONCE = 1 << 24
"""Bytes of a tensor that is passed on unread."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A tensor in a file, not read."""

    name: str
    kind: str
    """Its type in safetensors' words: BF16."""

    shape: tuple[int, ...]
    start: int
    """Its first byte in the file."""

    size: int
    """Bytes."""

    file: Path

    @property
    def dtype(self) -> torch.dtype:
        """The type in torch.

        Raises:
            ModelError: It is one that torch has not.
        """
        if self.kind not in DTYPES:
            raise ModelError(f"{self.file} holds {self.name} as {self.kind}, which is not read.")
        return DTYPES[self.kind]

    def read(self) -> torch.Tensor:
        """The tensor, in host memory.

        Raises:
            ModelError: Its type is one that torch has not.
        """
        with self.file.open("rb") as stream:
            stream.seek(self.start)
            held = bytearray(self.size)
            stream.readinto(held)
        if not held:
            return torch.empty(self.shape, dtype=self.dtype)
        return torch.frombuffer(held, dtype=self.dtype).reshape(self.shape)

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, some at a time."""
        with self.file.open("rb") as stream:
            stream.seek(self.start)
            left = self.size
            while left:
                piece = stream.read(min(left, COPIED_AT_ONCE))
                left -= len(piece)
                yield piece


class Shards:
    """The tensors of a model's folder."""

    def __init__(self, folder: Path) -> None:
        """Read the headers.

        Args:
            folder: With model.safetensors, or an index and its shards.

        Raises:
            ModelError: A file is missing or damaged, or does not hold what the index says.
        """
        index = folder / WEIGHTS_INDEX
        self.index = read_json_object(index) if index.is_file() else None
        """model.safetensors.index.json; None where one file holds all."""

        places = {} if self.index is None else dict(self.index.get("weight_map", {}))
        names = sorted(set(places.values())) if self.index is not None else [WEIGHTS]
        self.files: dict[str, list[Entry]] = {}
        """Tensors by file, in the order of their bytes."""

        for name in names:
            if not (folder / name).is_file():
                raise ModelError(
                    f"{folder} lacks the weight file {name}.", advice="Fetch the model again."
                )
            self.files[name] = read_header(folder / name)
        self.tensors = {each.name: each for file in self.files.values() for each in file}
        lost = sorted(set(places) - set(self.tensors))
        if lost:
            raise ModelError(
                f"{folder / places[lost[0]]} does not hold {lost[0]}, which {WEIGHTS_INDEX} says it does.",
                advice="Fetch the model again.",
            )

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(each.size for each in self.tensors.values())


def read_header(path: Path) -> list[Entry]:
    """The tensors of a file in the order of their bytes, none read.

    Raises:
        ModelError: The file is cut short or not of this format.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        text = stream.read(length) if 0 < length <= min(LONGEST_HEADER, size - 8) else b""
    try:
        header = json.loads(text)
        entries = [
            Entry(
                name=name,
                kind=each["dtype"],
                shape=tuple(each["shape"]),
                start=8 + length + each["data_offsets"][0],
                size=each["data_offsets"][1] - each["data_offsets"][0],
                file=path,
            )
            for name, each in header.items()
            if name != "__metadata__"
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(
            f"The weight file {path} is damaged: it has no header that can be read.",
            advice="Fetch it again.",
        ) from None
    if any(each.start + each.size > size for each in entries):
        raise ModelError(
            f"The weight file {path} is damaged: it is shorter than its header says.",
            advice="Fetch it again.",
        )
    return sorted(entries, key=lambda each: each.start)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A tensor to be written: what the header must say before its bytes are there."""

    name: str
    kind: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * DTYPES[self.kind].itemsize


class Writer:
    """A safetensors file written from first tensor to last, in the order in which they were planned."""

    def __init__(self, stream: BinaryIO, planned: Sequence[Planned]) -> None:
        """Write the header."""
        self._stream = stream
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        end = 0
        for each in planned:
            header[each.name] = {
                "dtype": each.kind,
                "shape": list(each.shape),
                "data_offsets": [end, end + each.size],
            }
            end += each.size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
        stream.write(len(text).to_bytes(8, "little"))
        stream.write(text)

    def copy(self, entry: Entry) -> None:
        """Pass a tensor on as it is."""
        for piece in entry.pieces():
            self._stream.write(piece)

    def write(self, planned: Planned, tensor: torch.Tensor) -> None:
        """Write a tensor, rounded to its planned type.

        Raises:
            ValueError: It has another shape.
        """
        if tuple(tensor.shape) != planned.shape:
            raise ValueError(
                f"{planned.name} is {tuple(tensor.shape)}, and {planned.shape} was planned"
            )
        held = tensor.detach().to("cpu", DTYPES[planned.kind]).contiguous()
        if held.numel():
            self._stream.write(held.flatten().view(torch.uint8).numpy().data)
