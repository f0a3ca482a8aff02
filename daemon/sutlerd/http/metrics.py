"""``/metrics``: everything that is counted, in Prometheus' text format."""

from __future__ import annotations

import asyncio
from typing import Final

from sutlerd.http.door import Ask, Door, Page
from sutlerd.http.house import House
from sutlerd.telemetry.exposition import CONTENT_TYPE, Collected, collect, render

#: Scraped more often than this, the same text is given again.
MAX_AGE_S: Final = 1.0


def metrics(house: House) -> list[Door]:
    rendered = Rendered(house)

    async def scrape(ask: Ask) -> Page:
        return Page(body=await rendered.body(), content_type=CONTENT_TYPE)

    return [Door(method="GET", path="/metrics", run=scrape)]


class Rendered:
    """The text as it was at most a second ago, written once for all who ask meanwhile."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._at_s = -MAX_AGE_S
        self._under_way: asyncio.Task[bytes] | None = None

    async def body(self) -> bytes:
        now_s = self._house.clock.monotonic_s()
        if self._under_way is None or now_s - self._at_s >= MAX_AGE_S:
            self._at_s = now_s
            self._under_way = asyncio.ensure_future(
                asyncio.to_thread(render, measured(self._house))
            )
        # One who leaves does not take it away from the others.
        return await asyncio.shield(self._under_way)


def measured(house: House) -> Collected:
    """Give all values of this moment, hits included."""
    house.accounting.enter_hits()
    return collect(house.accounting.meter, house.services.readings())
