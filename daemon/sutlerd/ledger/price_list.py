"""The published prices that genai-prices brings along, read into our own words.

Nothing here touches the network: the package's own list is used as it was installed. Reading
it takes half a second, so it is done once, in a thread, when a price is first needed.
"""

from __future__ import annotations

import calendar
import hashlib
from collections.abc import Mapping
from datetime import UTC, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sutlerd.ledger.tariff import Price, Rates, Spell, Step, Tariff

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ConditionalPrice, ModelPrice

#: Our names of the rates that we can meet, by the list's.
_RATES = {
    "input_mtok": "input_usd",
    "output_mtok": "output_usd",
    "cache_read_mtok": "cache_read_usd",
    "cache_write_mtok": "cache_write_usd",
    "cache_write_1h_mtok": "cache_write_1h_usd",
    "output_reasoning_mtok": "reasoning_usd",
}
_REQUESTS = "requests_kcount"


class PublishedPrices:
    """A list of prices as it was published. ``version`` names it, ``digest`` proves it."""

    def __init__(self, snapshot: DataSnapshot, *, version: str, digest: str) -> None:
        self._snapshot = snapshot
        self.version = version
        self.digest = digest

    def find(self, seller: str | None, base_url: str, model: str) -> Tariff | None:
        """Give what a seller asks for a model; ``None`` where the list does not know.

        ``seller`` is a name in the list; without one the address tells.
        """
        try:
            _, found = self._snapshot.find_provider_model(
                model, None, seller, base_url if seller is None else None
            )
        except LookupError:
            return None
        prices = found.prices if isinstance(found.prices, list) else [found.prices]
        spells = tuple(_spell(price) for price in prices)
        return Tariff(spells=spells, source=self.version) if spells else None


def read_published() -> PublishedPrices:
    """Read the installed list. Blocks for up to a second; raises ``ImportError``, ``OSError``."""
    from importlib.metadata import version

    from genai_prices import data
    from genai_prices.data_snapshot import DataSnapshot

    # Not the package's own current list: a program beside us could have changed that one.
    snapshot = DataSnapshot(providers=data.providers, from_auto_update=False)
    digest = hashlib.sha256(Path(str(data.__file__)).read_bytes()).hexdigest()
    return PublishedPrices(
        snapshot, version=f"genai-prices {version('genai-prices')}", digest=digest
    )


def _spell(priced: ModelPrice | ConditionalPrice) -> Spell:
    constraint = getattr(priced, "constraint", None)
    price = _price(vars(getattr(priced, "prices", priced)))
    start_date = getattr(constraint, "start_date", None)
    if start_date is not None:
        return Spell(price=price, from_unix_s=float(calendar.timegm(start_date.timetuple())))
    start_time = getattr(constraint, "start_time", None)
    end_time = getattr(constraint, "end_time", None)
    if start_time is not None and end_time is not None:
        return Spell(price=price, daily_s=(_second_of_day(start_time), _second_of_day(end_time)))
    return Spell(price=price)


def _second_of_day(moment: time) -> int:
    offset = moment.utcoffset() if moment.tzinfo is not UTC else None
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
    return int(seconds - (offset.total_seconds() if offset is not None else 0)) % 86_400


def _price(prices: Mapping[str, Any]) -> Price:
    """Read one price, whose every rate may have steps of its own, as rates by step."""
    known = {name: value for name, value in prices.items() if name in _RATES and value is not None}
    per_thousand = prices.get(_REQUESTS)
    request_usd = _rate(per_thousand, 0) / 1000 if per_thousand is not None else Decimal(0)
    bounds = {
        tier.start
        for value in [*known.values(), per_thousand]
        for tier in getattr(value, "tiers", ())
    }

    def rates(tokens_in: int) -> Rates:
        found = {_RATES[name]: _rate(value, tokens_in) for name, value in known.items()}
        return Rates(**{"input_usd": None, "output_usd": None, **found}, request_usd=request_usd)

    return Price(
        base=rates(0),
        steps=tuple(
            Step(above_tokens_in=bound, rates=rates(bound + 1)) for bound in sorted(bounds)
        ),
    )


def _rate(value: Any, tokens_in: int) -> Decimal:
    if isinstance(value, Decimal):
        return value
    rate: Decimal = value.base
    for tier in value.tiers:
        if tokens_in > tier.start:
            rate = tier.price
    return rate
