"""The daemon's state at one moment, gathered for the metrics: no user's details in it."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sutlerd import __version__
from sutlerd.admission.gate import Gate
from sutlerd.cache.contract import Store
from sutlerd.providers.contract import Provider
from sutlerd.system.stall import StallWatcher
from sutlerd.telemetry.readings import BucketReading, LaneReading, MoneyReadings, Readings

if TYPE_CHECKING:
    from sutlerd.server.hub import Hub


def gather(
    *,
    hub: Hub,
    gate: Gate,
    providers: Mapping[str, Provider],
    store: Store,
    stalls: StallWatcher | None,
    uptime_s: float,
    lanes: Mapping[str, Mapping[str, float]],
    circuits: Iterable[Mapping[str, Any]],
    money: MoneyReadings,
    spans: Mapping[str, int],
) -> Readings:
    """Read everything once. To be called on the event loop: what it reads belongs to it."""
    return Readings(
        version=__version__,
        python=platform.python_version(),
        uptime_s=uptime_s,
        draining=hub.draining,
        connections=len(hub.connections),
        calls_open=hub.calls_open,
        buffered_bytes=hub.buffered_bytes,
        clients_cut=hub.tally.cut_slow,
        connections_refused=hub.tally.refused_connections,
        loop_stalls=stalls.count if stalls is not None else 0,
        longest_stall_s=stalls.longest_s if stalls is not None else 0.0,
        loop_lag_s=stalls.late_s if stalls is not None else 0.0,
        money=money,
        spans=dict(spans),
        in_flight={name: _in_flight(provider) for name, provider in providers.items()},
        circuits={_route(row): row["state"] for row in circuits},
        store_bytes={
            "cache": int(store.stats(None)["size_bytes"]),
            "ledger": money.ledger_bytes,
        },
        lanes=tuple(
            LaneReading(lane=lane, waiting=int(row["waiting"]), oldest_s=row["oldest_s"])
            for lane, row in lanes.items()
        ),
        buckets=tuple(
            reading for level in gate.levels() for reading in _buckets(level["boundary"], level)
        ),
    )


def _route(row: Mapping[str, Any]) -> str:
    return row["provider"] if row["model"] is None else f"{row['provider']}/{row['model']}"


def _in_flight(provider: Provider) -> int:
    count = provider.health().get("in_flight", 0)
    return count if isinstance(count, int) else 0


def _buckets(boundary: str, level: Mapping[str, Any]) -> list[BucketReading]:
    return [
        BucketReading(boundary=boundary, bucket=name, limit=row["capacity"], level=row["level"])
        for name, row in level["buckets"].items()
    ]
