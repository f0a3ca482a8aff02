"""The gate before every attempt: limits, money and fairness in one synchronous step.

An attempt passes when all buckets of its boundary and ``also`` (the ledger, where there is
one) let it, or it waits and holds nothing. Nothing between looking and taking awaits. Waiting
is event-driven: one timer a boundary, set for when its head can go.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sutlerd.admission.fair_queue import FairQueue, Step, Waiting
from sutlerd.admission.quota import IN_FLIGHT, Quota, Shortage
from sutlerd.domain.errors import CallError, Overloaded, RateLimited, ShuttingDown
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import record

MAX_WAITING = 100_000
MONEY = "budget"
#: Timers fire a little early on coarse clocks; looking again at once would find nothing new.
_TIMER_SLACK_S = 0.001


class WaitForMoney(Exception):
    """Raised by ``also``: open reservations may settle to less; look again when one has."""


Also = Callable[[], Any]


@record
class Ask:
    """What one attempt wants. ``need`` is by bucket name; ``path`` is its place among callers.

    ``wait_until_s`` (monotonic) is the end of its patience.
    """

    boundary: str
    need: Mapping[str, float]
    path: tuple[Step, ...]
    uid: int
    wait_until_s: float
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Permit:
    """Leave to make one attempt. Ends exactly once, by ``Gate.end``.

    ``token`` is what ``also`` gave. ``bucket`` names what was waited for, if anything was.
    """

    ask: Ask
    token: Any
    queued_s: float
    bucket: str | None
    ended: bool = False


@dataclass(eq=False, slots=True, kw_only=True)
class _Waiter:
    ask: Ask
    also: Also
    since_s: float
    admitted: asyncio.Future[Permit]
    bucket: str


@dataclass(eq=False, slots=True)
class _Boundary:
    quota: Quota
    queue: FairQueue[_Waiter] = field(default_factory=FairQueue)
    timer: asyncio.TimerHandle | None = None


class Gate:
    """One per daemon. ``quota_of`` makes a boundary's quota when it is first asked for."""

    def __init__(
        self,
        *,
        quota_of: Callable[[str, float], Quota],
        clock: Clock,
        max_waiting: int = MAX_WAITING,
        max_waiting_per_uid: int = MAX_WAITING // 2,
    ) -> None:
        self._quota_of = quota_of
        self._clock = clock
        self._max_waiting = max_waiting
        self._max_waiting_per_uid = max_waiting_per_uid
        self._boundaries: dict[str, _Boundary] = {}
        self._waiting_by_uid: Counter[int] = Counter()
        self._draining = False

    @property
    def waiting(self) -> int:
        return self._waiting_by_uid.total()

    async def admit(self, ask: Ask, also: Also) -> Permit:
        """Wait for leave. Raises ``RateLimited``, ``Overloaded``, or what ``also`` refuses with.

        ``also`` is called only when every bucket would let the call pass; it reserves and
        gives a token, raises ``WaitForMoney``, or a ``CallError`` that ends the waiting.
        """
        now_s = self._clock.monotonic_s()
        boundary = self._boundary(ask.boundary, now_s)
        self._refuse_hopeless(ask, boundary.quota, now_s)
        shortage: str = "turn"
        if not len(boundary.queue):
            found = boundary.quota.shortage(ask.need, now_s)
            if found is None:
                try:
                    return self._grant(ask, boundary, also(), None, 0.0, now_s)
                except WaitForMoney:
                    shortage = MONEY
            else:
                shortage = found.bucket
        return await self._wait(ask, boundary, also, shortage, now_s)

    def end(self, permit: Permit, used: Mapping[str, float]) -> None:
        """End an attempt: ``used`` is what is known of its true use, by bucket name."""
        if permit.ended:
            raise ValueError("a permit ends once")
        permit.ended = True
        now_s = self._clock.monotonic_s()
        boundary = self._boundary(permit.ask.boundary, now_s)
        boundary.quota.end(permit.ask.need, used, now_s)
        self._pump(boundary)

    def close(self, boundary: str, for_s: float) -> None:
        """Let nobody pass for so long: the provider asked for it."""
        now_s = self._clock.monotonic_s()
        closed = self._boundary(boundary, now_s)
        closed.quota.close_until(now_s + for_s)
        self._pump(closed)

    def wake(self) -> None:
        """Look at all who wait again: money came back, or limits were changed."""
        for boundary in self._boundaries.values():
            self._pump(boundary)

    def boundaries(self) -> list[str]:
        """Name all that were ever asked for."""
        return list(self._boundaries)

    def change_limits(self, boundary: str, limits: Quota) -> None:
        """Go by the limits of another quota; levels and calls in flight are carried over.

        Who waits for more than they can ever give is told so. ``wake`` lets the others look.
        """
        changed = self._boundary(boundary, self._clock.monotonic_s())
        changed.quota.adopt(limits, self._clock.monotonic_s())
        for place in list(changed.queue):
            never = changed.quota.never_fits(place.item.ask.need)
            if never is not None:
                self._refuse(changed, place, _never(never))

    def drain(self) -> None:
        """End all waiting, now and from now on."""
        self._draining = True
        for boundary in self._boundaries.values():
            for place in list(boundary.queue):
                self._refuse(boundary, place, ShuttingDown("the daemon is stopping: ask again"))

    def quota(self, boundary: str) -> Quota:
        return self._boundary(boundary, self._clock.monotonic_s()).quota

    def who_waits(self) -> list[dict[str, Any]]:
        """Tell who waits, for what and since when, longest first."""
        now_s = self._clock.monotonic_s()
        rows = [
            {
                "boundary": name,
                "uid": place.item.ask.uid,
                "bucket": place.item.bucket,
                "waited_s": round(now_s - place.item.since_s, 3),
                **place.item.ask.labels,
            }
            for name, boundary in self._boundaries.items()
            for place in boundary.queue
        ]
        return sorted(rows, key=lambda row: -float(row["waited_s"]))

    def levels(self) -> list[dict[str, Any]]:
        """Tell the level of every bucket, and how many calls are in flight and waiting."""
        now_s = self._clock.monotonic_s()
        return [
            {
                "boundary": name,
                "in_flight": boundary.quota.in_flight,
                "waiting": len(boundary.queue),
                "buckets": {
                    bucket_name: {
                        "level": round(bucket.level(now_s), 3),
                        "capacity": bucket.capacity,
                        "per_minute": bucket.per_s * 60,
                    }
                    for bucket_name, bucket in boundary.quota.buckets.items()
                },
            }
            for name, boundary in self._boundaries.items()
        ]

    def _boundary(self, name: str, now_s: float) -> _Boundary:
        known = self._boundaries.get(name)
        if known is None:
            known = self._boundaries[name] = _Boundary(self._quota_of(name, now_s))
        return known

    def _refuse_hopeless(self, ask: Ask, quota: Quota, now_s: float) -> None:
        if self._draining:
            raise ShuttingDown("the daemon is stopping: reconnect and ask again")
        never = quota.never_fits(ask.need)
        if never is not None:
            raise _never(never)
        shortage = quota.shortage(ask.need, now_s)
        if shortage is not None and now_s + shortage.wait_s > ask.wait_until_s:
            raise self._too_long(ask, shortage)

    @staticmethod
    def _too_long(ask: Ask, shortage: Shortage) -> RateLimited:
        return RateLimited(
            f"{ask.boundary}: the wait for {shortage.bucket} takes {shortage.wait_s:.1f} s, "
            "longer than this call may wait",
            retry_after_s=round(shortage.wait_s, 3),
            bucket=shortage.bucket,
        )

    async def _wait(
        self, ask: Ask, boundary: _Boundary, also: Also, bucket: str, now_s: float
    ) -> Permit:
        if self.waiting >= self._max_waiting:
            raise Overloaded(f"{self.waiting} calls wait already", retry_after_s=5.0)
        if self._waiting_by_uid[ask.uid] >= self._max_waiting_per_uid:
            raise Overloaded(f"uid {ask.uid} has its share of waiting calls", retry_after_s=5.0)
        waiter = _Waiter(
            ask=ask,
            also=also,
            since_s=now_s,
            admitted=asyncio.get_running_loop().create_future(),
            bucket=bucket,
        )
        place = boundary.queue.push(waiter, path=ask.path, cost=boundary.quota.weight(ask.need))
        self._waiting_by_uid[ask.uid] += 1
        self._pump(boundary)
        try:
            async with asyncio.timeout(max(0.0, ask.wait_until_s - now_s)):
                return await waiter.admitted
        except TimeoutError:
            self._take_back(waiter)
            shortage = boundary.quota.shortage(ask.need, self._clock.monotonic_s())
            wait_s = shortage.wait_s if shortage is not None else 0.0
            raise self._too_long(ask, Shortage(waiter.bucket, wait_s, 0.0, 0.0)) from None
        except asyncio.CancelledError:
            self._take_back(waiter)
            raise
        finally:
            self._leave(boundary, place)

    def _take_back(self, waiter: _Waiter) -> None:
        """Undo what was granted in the very turn of the loop in which its caller gave up."""
        admitted = waiter.admitted
        if admitted.done() and not admitted.cancelled() and admitted.exception() is None:
            permit = admitted.result()
            release = getattr(permit.token, "release", None)
            if release is not None:
                release()
            self.end(permit, dict.fromkeys(permit.ask.need, 0.0))

    def _leave(self, boundary: _Boundary, place: Waiting[_Waiter]) -> None:
        if not place.left:
            boundary.queue.remove(place)
            self._count_down(place.item.ask.uid)
            self._pump(boundary)

    def _grant(
        self,
        ask: Ask,
        boundary: _Boundary,
        token: Any,
        bucket: str | None,
        queued_s: float,
        now_s: float,
    ) -> Permit:
        boundary.quota.take(ask.need, now_s)
        if bucket is None and not boundary.quota.is_open:
            boundary.queue.served(ask.path, boundary.quota.weight(ask.need))
        return Permit(ask=ask, token=token, queued_s=queued_s, bucket=bucket)

    def _pump(self, boundary: _Boundary) -> None:
        """Let pass whose turn it is, as long as the head can; then set the timer."""
        if boundary.timer is not None:
            boundary.timer.cancel()
            boundary.timer = None
        while (place := boundary.queue.head()) is not None:
            waiter, now_s = place.item, self._clock.monotonic_s()
            if waiter.admitted.done():
                # Its caller has left in this very turn of the loop.
                boundary.queue.remove(place)
                self._count_down(waiter.ask.uid)
                continue
            shortage = boundary.quota.shortage(waiter.ask.need, now_s)
            if shortage is not None:
                waiter.bucket = shortage.bucket
                self._set_timer(boundary, shortage)
                return
            try:
                token = waiter.also()
            except WaitForMoney:
                waiter.bucket = MONEY
                return
            except CallError as refusal:
                self._refuse(boundary, place, refusal)
                continue
            boundary.queue.pop()
            self._count_down(waiter.ask.uid)
            queued_s = now_s - waiter.since_s
            waiter.admitted.set_result(
                self._grant(waiter.ask, boundary, token, waiter.bucket, queued_s, now_s)
            )

    def _set_timer(self, boundary: _Boundary, shortage: Shortage) -> None:
        if shortage.bucket != IN_FLIGHT and math.isfinite(shortage.wait_s):
            boundary.timer = asyncio.get_running_loop().call_later(
                shortage.wait_s + _TIMER_SLACK_S, self._pump, boundary
            )

    def _refuse(self, boundary: _Boundary, place: Waiting[_Waiter], error: CallError) -> None:
        boundary.queue.remove(place)
        self._count_down(place.item.ask.uid)
        if not place.item.admitted.done():
            place.item.admitted.set_exception(error)

    def _count_down(self, uid: int) -> None:
        self._waiting_by_uid[uid] -= 1
        if not self._waiting_by_uid[uid]:
            del self._waiting_by_uid[uid]


def _never(never: Shortage) -> RateLimited:
    return RateLimited(
        f"the call needs {never.need:g} of {never.bucket}, more than the limit of "
        f"{never.capacity:g} can ever give: make it smaller",
        retryable=False,
        bucket=never.bucket,
        need=never.need,
        capacity=never.capacity,
    )
