"""What tells of the daemon by itself, without being asked: the last hour, the textfile."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sutlerd.app import App
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.http.metrics import measured
from sutlerd.telemetry.exposition import Collected, render
from sutlerd.telemetry.history import EVERY_S
from sutlerd.telemetry.textfile import write_textfile

#: As often as Prometheus usually scrapes.
TEXTFILE_EVERY_S = 15.0
HITS_EVERY_S = 1.0


async def keep_history(app: App, clock: Clock) -> None:
    """Note, every few seconds, what was counted since the last time."""
    while True:
        house = app.hub
        house.accounting.enter_hits()
        readings = house.services.readings()
        house.accounting.history.note(
            house.accounting.meter,
            unix_s=clock.unix_s(),
            waiting=sum(lane.waiting for lane in readings.lanes),
            in_flight=sum(readings.in_flight.values()),
        )
        await asyncio.sleep(EVERY_S)


async def tell_of_hits(app: App, log: EventLog) -> None:
    """Sum up once a second, in one line, what was answered from the cache."""
    told = 0
    while True:
        await asyncio.sleep(HITS_EVERY_S)
        hits = app.hub.tally.hits
        if hits != told:
            log.event("info", "hits", count=hits - told)
            told = hits


async def keep_textfile(app: App, log: EventLog, *, every_s: float = TEXTFILE_EVERY_S) -> None:
    """Write the configured file, if there is one, again and again. Trouble is told once."""
    is_in_trouble = False
    while True:
        prometheus = app.config.llm.monitoring.prometheus
        if prometheus.enabled and prometheus.textfile is not None:
            path = prometheus.textfile
            try:
                await asyncio.to_thread(_write, path, measured(app.hub))
            except OSError as error:
                if not is_in_trouble:
                    log.event("error", "textfile", said=f"cannot write {path}: {error.strerror}")
                is_in_trouble = True
            else:
                is_in_trouble = False
        await asyncio.sleep(every_s)


def _write(path: Path, collected: Collected) -> None:
    write_textfile(path, render(collected))
