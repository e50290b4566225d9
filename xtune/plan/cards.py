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
from xtune.recipe.models import TRACKERS

_TABLE = Path(__file__).with_name("gpus.yaml")


@dataclass(frozen=True, kw_only=True)
class Card:
    """A card's published figures."""

    name: str
    vram_bytes: int
    """As a driver tells torch: a little less than it is sold with."""

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


SIZE_TOLERANCE = 0.1
"""By how much the memory that a card is sold with may differ from what is in the table: drivers keep some, and error correction takes a sixteenth."""

OTHERS = "one of NVIDIA's GeForce GTX 10 to RTX 50, Titan, Quadro RTX, RTX A, Ada and PRO, or data centres' from the P40 to the B300"


def find_card(name: str, vram_bytes: int | None = None) -> Card:
    """The card that a person means: "RTX 3060", "4060", "rtx3060 12GB", "NVIDIA GeForce RTX 4060 Laptop GPU".

    Args:
        name: What it is called.
        vram_bytes: Its memory, which tells apart those that are sold in several sizes; None: not said.

    Raises:
        HardwareError: None in the table is called so, or several are; near names are offered.
    """
    called, size = _called(name), _parts(name)[1]
    found = [card for card in called if size is None or _has(card, size)]
    usual = [card for card in found if _parts(card.name)[1] is None]  # of several sizes
    if vram_bytes is not None:
        exact = [card for card in found if _has(card, vram_bytes / GIB)]
        found, usual = exact or found, [] if exact else usual
        if found and not usual:
            return _nearest(found, vram_bytes)
    if len(found) == 1 or usual:
        return (usual or found)[0]
    near = [card.name for card in called] or list(dict.fromkeys(_offers(_plain(name))))[:3]
    offers = f"did you mean {' or '.join(near)}?" if near else f"{OTHERS}."
    if called and not found:
        offers += " With --vram it is planned with other memory."
    raise HardwareError(
        f"No card called {name!r} is known.",
        advice=f"Use --vram instead, or a known name: {offers}",
    )


def known_card(name: str, vram_bytes: int = 0) -> Card | None:
    """The card that a driver calls so, of several sizes the nearest, or None; for a laptop's that is not in the table its namesake."""
    called = _called(name) or _called(re.sub(r"(?i)laptop", "", name))
    return _nearest(called, vram_bytes) if called else None


def _nearest(found: list[Card], vram_bytes: int) -> Card:
    return min(found, key=lambda card: abs(card.vram_bytes - vram_bytes))


def _has(card: Card, gib: float) -> bool:
    return abs(card.vram_bytes / GIB - gib) <= SIZE_TOLERANCE * gib


def _called(name: str) -> list[Card]:
    """Cards of this name in every size; its connector told apart where that makes another card."""
    for each in (name, re.sub(r"(?i)pcie|sxm\d?", " ", name)):
        wanted = _parts(each)[0]
        found = [card for card in cards() if _parts(card.name)[0] == wanted]
        if found:
            return found
    return []


def _offers(wanted: str) -> Iterator[str]:
    """Cards that begin so first, then those that look so."""
    names = {_plain(card.name): card.name for card in cards()}
    yield from (full for plain, full in names.items() if wanted and plain.startswith(wanted))
    yield from (names[each] for each in get_close_matches(wanted, names, n=3, cutoff=0.7))
    yield from (full for plain, full in names.items() if wanted and wanted in plain)


_UNSAID = re.compile(r"nvidia|geforce|tesla|gpu|generation|blackwell|workstation|edition|hbm\d?e?")
"""Words in drivers' names by which no two cards differ."""

_LAPTOPS = re.compile(r"with max q design|mobile|notebook|laptop")

_SIZE = re.compile(
    r"(?:(?<= )|(?<=ti)|(?<=super)|(?<=laptop)|(?<=\d{4}))([1-9]\d{0,2}) ?g(?:i?b)?(?![^ ])"
)
"""A size behind a name, "12 GB", "3060Ti8G", and not the end of one, "A10G"."""

_BARE_SIZE = re.compile(r"(?<=[\dirps]) ([1-9]\d{0,2})(?= *$)")
"""The same without a unit: "A100 80", "4060 Ti 16"."""


def _plain(name: str) -> str:
    core, size = _parts(name)
    return core if size is None else f"{core}{size}gb"


@cache
def _parts(name: str) -> tuple[str, int | None]:
    """A name in small letters and figures alone, without its series and a laptop's word last; and the GiB that it says."""
    text = re.sub(r"[^a-z0-9]+", " ", normalize("NFKC", name).lower())
    text = _UNSAID.sub(" ", text)
    found = _SIZE.search(text) or _BARE_SIZE.search(text)
    if found is not None:
        text = text[: found.start()] + text[found.end() :]
    rest = "".join(_LAPTOPS.sub(" ", text).split()).removeprefix("rtx").removeprefix("gtx")
    core = f"{rest}laptop" if _LAPTOPS.search(text) else rest
    return core, None if found is None else int(found[1])


def machine(
    *, card: Card | None, vram_bytes: int | None, ram_bytes: int, cpu_count: int
) -> Hardware:
    """A machine to plan for, with every package on it that a recipe may ask for by name but flash attention.

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
        packages=frozenset({"bitsandbytes", "pytorch_optimizer", "modelscope", *TRACKERS}),
    )


_UNITS: dict[str, int] = {"": GIB, "b": 1, "bytes": 1} | {
    f"{letter}{end}": base**power
    for power, letter in enumerate("mgt", start=2)
    for end, base in (("", 1024), ("b", 1000), ("ib", 1024))
}

LARGEST_BYTES = 2**50
"""1,024 TiB: no machine has so much; a number of bytes, taken for GiB, is above it."""


LARGEST_TOKENS = 10**9
"""Hundreds of times the longest contexts of November 2026."""


def read_tokens(text: str) -> int:
    """Tokens of "4096", "4,096", "32k" (32,768, as lengths are published) or "1M".

    Raises:
        HardwareError: The text is no length, or none that a model has.
    """
    match = re.fullmatch(r"\s*(\d{1,3}(?:[,_]\d{3})+|\d+)\s*([kKmM]?)\s*", text)
    units = {"": 1, "k": 2**10, "m": 2**20}
    tokens = int(re.sub("[,_]", "", match[1])) * units[match[2].lower()] if match else 0
    if not 0 < tokens <= LARGEST_TOKENS:
        raise HardwareError(
            f"--tokens is {text!r}; it must be a whole number from 1 to {LARGEST_TOKENS:,}.",
            advice="Write it like 4096, 32k (32,768) or 1M.",
        )
    return tokens


def read_size(text: str, option: str) -> int:
    """Bytes of "8GiB", "8GB", "8" (GiB), "512MiB", "1TB", "8589934592B".

    Raises:
        HardwareError: The text is no size, or none that a machine has.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if match is None or match[2].lower() not in _UNITS or float(match[1]) <= 0:
        raise HardwareError(
            f"{option} is {text!r}; it must be a size above 0.",
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
