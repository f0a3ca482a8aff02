"""Where a model's price is looked up: the configuration, then nothing for local models, then
the published list, which is read when it is first needed, and never for a local model.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from sutlerd.domain.ports import EventLog
from sutlerd.domain.record import record
from sutlerd.ledger.tariff import FREE, Tariff

#: Names of models that served come from outside, so their number has a bound.
MAX_KEPT: Final = 4096


class PriceList(Protocol):
    """Published prices, or a test's. ``version`` names the list, ``digest`` proves it."""

    version: str
    digest: str

    def find(self, seller: str | None, base_url: str, model: str) -> Tariff | None: ...


class NoPrices:
    """Stands for a list that cannot be read."""

    version = "none"
    digest = ""

    def find(self, seller: str | None, base_url: str, model: str) -> Tariff | None:
        return None


@record
class Seller:
    """Who bills for a configured provider. ``price_list`` is its name in published lists;
    without one its own name or its address may be known there."""

    local: bool
    base_url: str
    price_list: str | None = None


class PriceTable:
    """One per daemon. ``written`` are the configuration's, by ``provider/model`` or by model."""

    def __init__(
        self,
        *,
        written: Mapping[str, Tariff],
        sellers: Mapping[str, Seller],
        read: Callable[[], PriceList],
        log: EventLog,
    ) -> None:
        self._written = dict(written)
        self._sellers = dict(sellers)
        self._read = read
        self._log = log
        self._list: PriceList | None = None
        self._reading: asyncio.Future[PriceList] | None = None
        self._kept: dict[tuple[str, str], Tariff | None] = {}
        self._written_digest = hashlib.sha256(repr(sorted(self._written.items())).encode())

    @property
    def is_loaded(self) -> bool:
        return self._list is not None

    @property
    def hash(self) -> str:
        """Name the table as it is now, for records of what was priced by it."""
        digest = self._written_digest.copy()
        digest.update(b"" if self._list is None else self._list.digest.encode())
        return digest.hexdigest()[:16]

    def prepare(self, provider: str, model: str) -> None:
        """Begin to read the list if this model's price needs it, without waiting for it."""
        if self._needs_list(provider, model):
            self._begin()

    def is_free(self, provider: str, model: str) -> bool:
        """Tell whether this model was looked up before and costs nothing."""
        return self._kept.get((provider, model)) is FREE

    async def tariff(self, provider: str, model: str) -> Tariff | None:
        """Give a model's price, ``None`` for unknown. Waits only for the first that needs the
        list; otherwise it does not give way to others at all."""
        if self._needs_list(provider, model):
            await self._loaded()
        return self._known(provider, model)

    def _needs_list(self, provider: str, model: str) -> bool:
        if (provider, model) in self._kept:
            return False
        return self._list is None and self._here(provider, model) is None

    def _here(self, provider: str, model: str) -> Tariff | None:
        written = self._written.get(f"{provider}/{model}")
        if written is not None:
            return written
        if self._sellers[provider].local:
            return FREE
        return self._written.get(model)

    def _known(self, provider: str, model: str) -> Tariff | None:
        key = (provider, model)
        if key not in self._kept:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[key] = self._here(provider, model) or self._published(provider, model)
        return self._kept[key]

    def _published(self, provider: str, model: str) -> Tariff | None:
        assert self._list is not None, "who asks has waited for the list"
        seller = self._sellers[provider]
        if seller.price_list is not None:
            return self._list.find(seller.price_list, seller.base_url, model)
        # Who bills is told by the address; only where that is unknown, by the given name.
        return self._list.find(None, seller.base_url, model) or self._list.find(
            provider, seller.base_url, model
        )

    def _begin(self) -> asyncio.Future[PriceList]:
        if self._reading is None:
            loop = asyncio.get_running_loop()
            self._reading = loop.run_in_executor(None, self._read)
            # Read once, so that a failure nobody waits for is no unheard one.
            self._reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._reading

    async def _loaded(self) -> None:
        try:
            # One who leaves must not end it for the others.
            found = await asyncio.shield(self._begin())
        except (ImportError, OSError, AttributeError) as error:
            found = NoPrices()
            if self._list is None:
                self._log.event("error", "price_list", outcome="unreadable", error=str(error))
        if self._list is None:
            self._list = found
