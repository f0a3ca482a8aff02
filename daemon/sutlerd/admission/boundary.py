"""One limit boundary as the gate keeps it: its quota, its line, its timers; and what is told."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sutlerd.admission.asking import Also, Ask, Permit
from sutlerd.admission.line import Key, Line, Spot
from sutlerd.admission.quota import Quota
from sutlerd.domain.errors import CallError


@dataclass(eq=False, slots=True, kw_only=True)
class Waiter:
    ask: Ask
    also: Also
    since_s: float
    admitted: asyncio.Future[Permit]
    bucket: str
    refusal: CallError | None = None


@dataclass(eq=False, slots=True)
class Boundary:
    name: str
    quota: Quota
    line: Line[Waiter] = field(default_factory=Line)
    timer: asyncio.Handle | None = None
    #: When there will be news of an owner's own share.
    share_timers: dict[Key, asyncio.TimerHandle] = field(default_factory=dict)
    #: Nobody who waits has patience for less long than until then.
    soonest_end_s: float = math.inf

    def push(self, waiter: Waiter) -> Spot[Waiter]:
        """Let one stand in line."""
        ask = waiter.ask
        self.soonest_end_s = min(self.soonest_end_s, ask.wait_until_s)
        return self.line.push(waiter, path=ask.path, cost=self.quota.weight(ask.need))

    def hopeless(self, now_s: float) -> list[Spot[Waiter]]:
        """Give those whose patience ends before the provider lets anybody pass again.

        All who wait are looked at only if one of them may be among them.
        """
        opens_s = now_s + self.quota.closed_s(now_s)
        if opens_s <= max(now_s, self.soonest_end_s):
            return []
        late, self.soonest_end_s = [], math.inf
        for spot in self.line:
            if spot.item.ask.wait_until_s < opens_s:
                late.append(spot)
            else:
                self.soonest_end_s = min(self.soonest_end_s, spot.item.ask.wait_until_s)
        return late


def who_waits(boundaries: Mapping[str, Boundary], now_s: float) -> list[dict[str, Any]]:
    """Tell who waits, for what and since when, longest first."""
    rows = [
        {
            "boundary": name,
            "uid": spot.item.ask.uid,
            "bucket": spot.item.bucket,
            "waited_s": round(now_s - spot.item.since_s, 3),
            "lane": spot.item.ask.lane,
            "job": spot.item.ask.job,
        }
        for name, boundary in boundaries.items()
        for spot in boundary.line
    ]
    return sorted(rows, key=lambda row: -float(row["waited_s"]))


def levels(boundaries: Mapping[str, Boundary], now_s: float) -> list[dict[str, Any]]:
    """Tell the level of every bucket, and how many calls are in flight and waiting."""
    return [
        {
            "boundary": name,
            "in_flight": boundary.quota.in_flight,
            "closed_s": round(boundary.quota.closed_s(now_s), 3),
            "waiting": len(boundary.line),
            "buckets": {
                bucket_name: {
                    "level": round(bucket.level(now_s), 3),
                    "capacity": bucket.capacity,
                    "per_minute": bucket.per_s * 60,
                }
                for bucket_name, bucket in boundary.quota.buckets.items()
            },
        }
        for name, boundary in boundaries.items()
    ]
