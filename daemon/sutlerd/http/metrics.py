"""``/metrics``: everything that is counted, in Prometheus' text format."""

from __future__ import annotations

import asyncio

from sutlerd.http.door import Ask, Door, Page
from sutlerd.http.house import House
from sutlerd.telemetry.exposition import CONTENT_TYPE, Collected, collect, render


def metrics(house: House) -> list[Door]:
    async def scrape(ask: Ask) -> Page:
        body = await asyncio.to_thread(render, measured(house))
        return Page(body=body, content_type=CONTENT_TYPE)

    return [Door(method="GET", path="/metrics", run=scrape)]


def measured(house: House) -> Collected:
    """Give all values of this moment, hits included."""
    house.accounting.enter_hits()
    return collect(house.accounting.meter, house.services.readings())
