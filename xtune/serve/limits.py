"""What a server takes on; cheap to import, as torch is not."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server takes on."""

    concurrent: int = 16
    """Most answers in the batch."""

    queued: int = 64
    """Most answers waiting; beyond, requests are refused."""

    input_tokens: int | None = None
    """Longest prompt; None: as the model reads."""

    output_tokens: int = 2048
    """Longest answer, and the length of one that asks for none."""

    body_bytes: int = 4 << 20
    """Largest request."""
