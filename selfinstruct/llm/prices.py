"""What a model's tokens cost, by a table that people may edit; where the table knows nothing, neither do we."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from selfinstruct.llm.settings import LLMSettings, Price
from selfinstruct.types import Usage
from xtune.errors import XtuneError

TABLE = Path(__file__).with_name("prices.yaml")
_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4})$")


@dataclass(frozen=True, kw_only=True)
class Tariff:
    """The price in force; None: not known."""

    price: Price | None
    factor: float = 1.0

    def usd(self, usage: Usage) -> float | None:
        """US dollars; None where the price is not known."""
        if self.price is None:
            return None
        millionths = (
            usage.prompt_tokens * self.price.prompt
            + usage.completion_tokens * self.price.completion
        )
        return millionths * self.factor / 1e6


def dollars(usd: float) -> str:
    """A sum for people: cents, and parts of cents below a dollar."""
    return f"{usd:.2f} USD" if usd >= 1 else f"{usd:.4f} USD"


def tariff(settings: LLMSettings, *, batch: bool = False) -> Tariff:
    """The price of the model that the settings name.

    Raises:
        XtuneError: The price table cannot be read, or says something else than prices.
    """
    if settings.is_local:
        return Tariff(price=Price(prompt=0.0, completion=0.0))
    if settings.price is not None:
        return Tariff(price=settings.price)
    models, batch_factor = _table(Path(settings.prices) if settings.prices else TABLE)
    name = settings.model
    found = models.get(name) or models.get(_DATE.sub("", name))
    return Tariff(price=found, factor=batch_factor if batch else 1.0)


def _table(path: Path) -> tuple[dict[str, Price], float]:
    try:
        value: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        models = {str(name): Price.model_validate(price) for name, price in value["models"].items()}
        return models, float(value.get("batch_factor", 1.0))
    except OSError as error:
        raise XtuneError(f"The price table {path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError):
        raise XtuneError(
            f"The price table {path} is not one.",
            advice="It holds `models: {NAME: {prompt: USD, completion: USD}}`, per million tokens.",
        ) from None
