"""Graphics cards by name, for plans of machines that are not this one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from unicodedata import normalize

import yaml

from xtune.errors import HardwareError
from xtune.hardware import BFLOAT16_CAPABILITY, Hardware
from xtune.memory import GIB

_TABLE = Path(__file__).with_name("gpus.yaml")


@dataclass(frozen=True, kw_only=True)
class Card:
    """A card's published figures."""

    name: str
    vram_bytes: int
    capability: tuple[int, int]
    flops: float
    """Dense products in bfloat16 (float16 before Ampere), operations a second."""

    bandwidth: float
    """Of its memory, bytes a second."""

    link: float
    """To and from the host, bytes a second each way."""


@cache
def cards() -> tuple[Card, ...]:
    """Every card in the table, in its order."""
    table = yaml.safe_load(_TABLE.read_text(encoding="utf-8"))
    return tuple(
        Card(
            name=name,
            vram_bytes=round(fields["gib"] * GIB),
            capability=(int(fields["capability"]), round(fields["capability"] * 10) % 10),
            flops=fields["tflops"] * 1e12,
            bandwidth=fields["bandwidth"] * 1e9,
            link=fields["link"] * 1e9,
        )
        for name, fields in table.items()
    )


def find_card(name: str) -> Card:
    """The card that a person means: "RTX 3060", "4060", "rtx3060 12GB", "NVIDIA GeForce RTX 4060 Laptop GPU".

    Raises:
        HardwareError: None in the table is called so; near names are offered.
    """
    found = _named(name)
    if found is not None:
        return found
    wanted = _plain(name)
    names = {_plain(card.name): card.name for card in cards()}
    near = list(dict.fromkeys(_offers(wanted, names)))
    offers = (
        f"did you mean {' or '.join(near[:3])}?"
        if near
        else f"known are {', '.join(names.values())}"
    )
    raise HardwareError(
        f"No card called {name!r} is known.",
        advice=f"Use --vram instead, or a known name: {offers}",
    )


def known_card(name: str) -> Card | None:
    """The card that a driver calls so, or None: for a laptop's that is not in the table its namesake, which may have more memory."""
    return _named(name) or _named(re.sub(r"(?i)laptop", "", name))


def _named(name: str) -> Card | None:
    wanted = _plain(name)
    for card in cards():
        plain, size = _plain(card.name), f"{card.vram_bytes / GIB:g}"
        spellings = {plain, plain.removeprefix("rtx")}
        if wanted in spellings | {f"{each}{size}gb" for each in spellings}:
            return card
    return None


def _offers(wanted: str, names: dict[str, str]) -> Iterator[str]:
    """Cards that are sold in several sizes first: "A100" is two."""
    yield from (full for plain, full in names.items() if wanted and plain.startswith(wanted))
    yield from (names[each] for each in get_close_matches(wanted, names, n=3, cutoff=0.7))
    yield from (full for plain, full in names.items() if wanted and wanted in plain)


def _plain(name: str) -> str:
    usual = normalize("NFKC", name).lower()
    words = re.sub(r"nvidia|geforce|tesla|gpu|pcie|sxm\d?|[-_]", " ", usual)
    return re.sub(r"(?<=\d)g(i?b)?$", "gb", "".join(words.split()))


def machine(
    *, card: Card | None, vram_bytes: int | None, ram_bytes: int, cpu_count: int
) -> Hardware:
    """A machine to plan for, with bitsandbytes on it.

    Args:
        card: Its card; None: one of Ampere's generation that nothing else is known of.
        vram_bytes: The card's memory; None: as the table says.
        ram_bytes: The host's memory.
        cpu_count: The host's cores.
    """
    capability = card.capability if card else (8, 6)
    size = vram_bytes if vram_bytes is not None else card.vram_bytes if card else 0
    return Hardware(
        device="cuda",
        name=card.name if card else f"a card of {round(size / GIB, 2):g} GiB",
        vram_bytes=size,
        ram_bytes=ram_bytes,
        cpu_count=cpu_count,
        compute_capability=capability,
        has_bfloat16=capability >= BFLOAT16_CAPABILITY,
        packages=frozenset({"bitsandbytes", "pytorch_optimizer"}),
    )


_UNITS: dict[str, int] = {"": GIB, "b": 1, "bytes": 1} | {
    f"{letter}{end}": base**power
    for power, letter in enumerate("mgt", start=2)
    for end, base in (("", 1024), ("b", 1000), ("ib", 1024))
}

LARGEST_BYTES = 2**50
"""1,024 TiB: no machine has so much; a number of bytes, taken for GiB, is above it."""


def read_size(text: str, option: str) -> int:
    """Bytes of "8GiB", "8GB", "8" (GiB), "512MiB", "1TB", "8589934592B".

    Raises:
        HardwareError: The text is no size, or none that a machine has.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if match is None or match[2].lower() not in _UNITS or float(match[1]) <= 0:
        raise HardwareError(
            f"{option} is {text!r}; it must be a size.",
            advice="Write it like 8GiB, 7.2GiB, 24GB or 1TB.",
        )
    size = round(float(match[1]) * _UNITS[match[2].lower()])
    if size > LARGEST_BYTES:
        unit = "" if match[2] else "; a number without a unit is taken for GiB"
        raise HardwareError(
            f"{option} is {text!r}, more than the 1,024 TiB that are allowed{unit}.",
            advice="Write it like 8GiB, 1TB or 8589934592B.",
        )
    return size
