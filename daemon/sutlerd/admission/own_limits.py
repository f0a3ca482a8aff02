"""What the operator grants one uid, or one job, of what all share. Pure.

A share is a part of every limit of a boundary, and follows it when it is learned anew; calls in
flight are counted over all boundaries. An owner that is at its limit waits by itself: others pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sutlerd.admission.bucket import Bucket
from sutlerd.admission.quota import IN_FLIGHT, Quota, Shortage
from sutlerd.domain.record import record

#: Ranks of ``line.Key``: a job's limit is narrower than its user's.
RANK_UID, RANK_JOB = 0, 1
#: Owners at rest are forgotten from here on.
_MANY_OWNERS = 1024

Owner = tuple[int, int, str | None]
Need = Mapping[str, float]


@record
class OwnLimit:
    """``share`` is a part of each limit, above 0 and at most 1."""

    share: float | None = None
    calls_in_flight: int | None = None

    @property
    def limits(self) -> bool:
        return self.share is not None or self.calls_in_flight is not None


@dataclass(frozen=True, slots=True)
class OwnShortage:
    """Which owner lacks what. ``shortage`` has no wait where a call in flight must end."""

    owner: Owner
    shortage: Shortage


@dataclass(eq=False, slots=True)
class _Part:
    """An owner's part of one boundary."""

    buckets: dict[str, Bucket] = field(default_factory=dict)
    in_flight: int = 0


class OwnLimits:
    def __init__(self, *, per_uid: OwnLimit | None = None, per_job: OwnLimit | None = None) -> None:
        self.change(per_uid=per_uid or OwnLimit(), per_job=per_job or OwnLimit())
        self._in_flight: dict[Owner, int] = {}
        self._parts: dict[tuple[str, Owner], _Part] = {}
        self._forget_from = _MANY_OWNERS

    def change(self, *, per_uid: OwnLimit, per_job: OwnLimit) -> None:
        """Go by other limits; calls that count for an owner already still do."""
        self._by_rank = {RANK_JOB: per_job, RANK_UID: per_uid}
        self._limits = per_uid.limits or per_job.limits

    def owners(self, uid: int, job: str | None) -> tuple[Owner, ...]:
        """Give the owners with a limit that a call counts for, the narrowest first."""
        if not self._limits:
            return ()
        owners: list[Owner] = []
        if job is not None and self._by_rank[RANK_JOB].limits:
            owners.append((RANK_JOB, uid, job))
        if self._by_rank[RANK_UID].limits:
            owners.append((RANK_UID, uid, None))
        return tuple(owners)

    def shortage(
        self, owner: Owner, boundary: str, quota: Quota, need: Need, now_s: float
    ) -> OwnShortage | None:
        """Give what this owner lacks for a call now, or ``None``."""
        limit = self._by_rank[owner[0]]
        most = limit.calls_in_flight
        if most is not None and self._in_flight.get(owner, 0) >= most:
            return _short(owner, Shortage(IN_FLIGHT, 0.0, 1.0, most))
        if limit.share is None:
            return None
        part = self._part(owner, limit.share, boundary, quota, now_s)
        worst: Shortage | None = None
        for name, bucket in part.buckets.items():
            wait_s = bucket.wait_s(need.get(name, 0.0), now_s)
            if wait_s > 0 and (worst is None or wait_s > worst.wait_s):
                worst = Shortage(name, wait_s, need.get(name, 0.0), bucket.capacity)
        if worst is None and quota.max_in_flight is not None:
            most = max(1, math.floor(quota.max_in_flight * limit.share))
            if part.in_flight >= most:
                worst = Shortage(IN_FLIGHT, 0.0, 1.0, most)
        return None if worst is None else _short(owner, worst)

    def take(self, owner: Owner, boundary: str, quota: Quota, need: Need, now_s: float) -> None:
        self._in_flight[owner] = self._in_flight.get(owner, 0) + 1
        share = self._by_rank[owner[0]].share
        if share is not None:
            part = self._part(owner, share, boundary, quota, now_s)
            part.in_flight += 1
            for name, bucket in part.buckets.items():
                bucket.take(need.get(name, 0.0), now_s)

    def end(self, owner: Owner, boundary: str, need: Need, used: Need, now_s: float) -> None:
        """End a call: as ``Quota.end`` does."""
        left = self._in_flight[owner] - 1
        if left:
            self._in_flight[owner] = left
        else:
            del self._in_flight[owner]
        part = self._parts.get((boundary, owner))
        if part is None:
            return
        # A share may have come with a reload, when the call was under way.
        part.in_flight = max(0, part.in_flight - 1)
        for name, bucket in part.buckets.items():
            if name in used:
                unused = need.get(name, 0.0) - used[name]
                if unused >= 0:
                    bucket.give_back(unused, now_s)
                else:
                    bucket.take(-unused, now_s)

    def _part(self, owner: Owner, share: float, boundary: str, quota: Quota, now_s: float) -> _Part:
        part = self._parts.get((boundary, owner))
        if part is None:
            if len(self._parts) >= self._forget_from:
                self._forget_idle(now_s)
            part = self._parts[boundary, owner] = _Part()
        for name, whole in quota.buckets.items():
            per_s, capacity = whole.per_s * share, max(whole.capacity * share, 1.0)
            bucket = part.buckets.get(name)
            if bucket is None:
                part.buckets[name] = Bucket(per_s=per_s, capacity=capacity, now_s=now_s)
            elif (bucket.per_s, bucket.capacity) != (per_s, capacity):
                bucket.resize(per_s=per_s, capacity=capacity, now_s=now_s)
        return part

    def _forget_idle(self, now_s: float) -> None:
        self._parts = {
            key: part
            for key, part in self._parts.items()
            if part.in_flight
            or any(bucket.level(now_s) < bucket.capacity for bucket in part.buckets.values())
        }
        self._forget_from = max(_MANY_OWNERS, 2 * len(self._parts))


def _short(owner: Owner, shortage: Shortage) -> OwnShortage:
    whose = "job" if owner[0] == RANK_JOB else "uid"
    named = Shortage(
        f"{whose}.{shortage.bucket}", shortage.wait_s, shortage.need, shortage.capacity
    )
    return OwnShortage(owner, named)
