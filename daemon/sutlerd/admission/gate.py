"""The gate before every attempt: limits, money and fairness in one synchronous step.

An attempt passes when all buckets of its boundary and ``also`` (the ledger, where there is
one) let it, or it waits and holds nothing. Nothing between looking and taking awaits. Waiting
is event-driven: one timer a boundary, set for when its head can go. A head that lacks what others
do not want, money or a slot of its own uid, stands aside until there is news of that (``line``).
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sutlerd.admission.asking import (
    MONEY,
    Also,
    Ask,
    Permit,
    WaitForMoney,
    never_fits,
    too_long,
)
from sutlerd.admission.boundary import Boundary, Waiter, levels, who_waits
from sutlerd.admission.line import Spot
from sutlerd.admission.own_limits import RANK_JOB, RANK_UID, OwnLimit, OwnLimits, OwnShortage
from sutlerd.admission.quota import CLOSED, IN_FLIGHT, Quota, Shortage
from sutlerd.domain.errors import CallError, Overloaded, ShuttingDown
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import quick

_new_permit = quick(Permit)

MAX_WAITING = 100_000
#: What is waited for behind others.
TURN = "turn"
#: Timers fire a little early on coarse clocks; looking again at once would find nothing new.
_TIMER_SLACK_S = 0.001
#: Heads looked at in one turn of the loop, so that refusing very many holds up nobody else.
_HEADS_A_TURN = 512
#: Wants that come after an owner's own limits: see ``line``.
_RANK_MONEY = 2


class Gate:
    """One per daemon. ``quota_of`` makes a boundary's quota when it is first asked for."""

    def __init__(
        self,
        *,
        quota_of: Callable[[str, float], Quota],
        clock: Clock,
        own_limits: OwnLimits | None = None,
        max_waiting: int = MAX_WAITING,
        max_waiting_per_uid: int = MAX_WAITING // 2,
    ) -> None:
        self._quota_of = quota_of
        self._clock = clock
        self._own = own_limits or OwnLimits()
        self._max_waiting = max_waiting
        self._max_waiting_per_uid = max_waiting_per_uid
        self._boundaries: dict[str, Boundary] = {}
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
        if self._draining:
            raise ShuttingDown("the daemon is stopping: reconnect and ask again")
        owners = self._own.owners(ask.uid, ask.job)
        is_free = not owners and boundary.quota.lets_all_pass(now_s)
        if not is_free:
            self._refuse_hopeless(ask, boundary, now_s)
        if not boundary.line.in_turn and (
            is_free
            or (
                self._own_shortage(ask, boundary, now_s) is None
                and boundary.quota.shortage(ask.need, now_s) is None
            )
        ):
            try:
                token = also()
            except WaitForMoney:
                pass  # asked once more when it stands in the line, and set aside there
            else:
                return self._grant(ask, boundary, token, None, 0.0, now_s)
        return await self._wait(ask, boundary, also, now_s)

    def end(self, permit: Permit, used: Mapping[str, float]) -> None:
        """End an attempt: ``used`` is what is known of its true use, by bucket name.

        Its money is settled before, so that who waits for some is asked again.
        """
        if permit.ended:
            raise ValueError("a permit ends once")
        permit.ended = True
        ask, now_s = permit.ask, self._clock.monotonic_s()
        ended = self._boundary(ask.boundary, now_s)
        ended.quota.end(ask.need, used, now_s)
        for owner in permit.owners:
            self._own.end(owner, ask.boundary, ask.need, used, now_s)
        if not self._waiting_by_uid:
            return
        for boundary in self._boundaries.values():
            news = boundary.line.wake_all(_RANK_MONEY)
            for owner in permit.owners:
                news = boundary.line.wake(owner) or news
            if news or boundary is ended:
                self._pump(boundary)

    def close(self, boundary: str, for_s: float) -> None:
        """Let nobody pass for so long: the provider asked for it."""
        now_s = self._clock.monotonic_s()
        closed = self._boundary(boundary, now_s)
        closed.quota.close_until(now_s + for_s)
        self._pump(closed)

    def wake(self, accounts: Collection[Hashable] | None = None) -> None:
        """Look at who waits again: limits were changed, or money came back to these accounts."""
        ranks = (_RANK_MONEY,) if accounts is not None else (RANK_UID, RANK_JOB, _RANK_MONEY)
        for boundary in self._boundaries.values():
            woken = [boundary.line.wake_all(rank, accounts) for rank in ranks]
            if any(woken) or accounts is None:
                self._pump(boundary)

    def boundaries(self) -> list[str]:
        """Name all that were ever asked for."""
        return list(self._boundaries)

    def limits_changed(self, boundary: str) -> None:
        """Tell who waits for more than a boundary's quota can ever give from now on.

        ``wake`` lets the others look.
        """
        changed = self._boundary(boundary, self._clock.monotonic_s())
        for spot in list(changed.line):
            never = changed.quota.never_fits(spot.item.ask.need)
            if never is not None:
                self._refuse(changed, spot, never_fits(never))

    def recheck(self, boundaries: Iterable[str]) -> None:
        """Tell who waits there and may not go any more whatever comes, by ``Ask.check``: some
        of them in each of the loop's next turns."""
        now_s = self._clock.monotonic_s()
        for name in boundaries:
            checked = self._boundary(name, now_s)
            spots = list(checked.line)
            if spots:
                asyncio.get_running_loop().call_soon(self._recheck, checked, spots)

    def _recheck(self, boundary: Boundary, spots: list[Spot[Waiter]]) -> None:
        for spot in spots[-_HEADS_A_TURN:]:
            try:
                if spot.place is not None:
                    spot.item.ask.check()
            except CallError as refusal:
                self._refuse(boundary, spot, refusal)
        del spots[-_HEADS_A_TURN:]
        if spots:
            asyncio.get_running_loop().call_soon(self._recheck, boundary, spots)
        else:
            self._pump(boundary)

    def change_own_limits(self, *, per_uid: OwnLimit, per_job: OwnLimit) -> None:
        """Go by other limits for each uid and job; calls in flight are carried over."""
        self._own.change(per_uid=per_uid, per_job=per_job)

    def drain(self) -> None:
        """End all waiting, now and from now on."""
        self._draining = True
        for boundary in self._boundaries.values():
            for spot in list(boundary.line):
                self._refuse(boundary, spot, ShuttingDown("the daemon is stopping: ask again"))
            for timer in boundary.share_timers.values():
                timer.cancel()
            boundary.share_timers.clear()

    def quota(self, boundary: str) -> Quota:
        return self._boundary(boundary, self._clock.monotonic_s()).quota

    def who_waits(self) -> list[dict[str, Any]]:
        """Tell who waits, for what and since when, longest first."""
        return who_waits(self._boundaries, self._clock.monotonic_s())

    def levels(self, only: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Tell levels, and calls in flight and waiting, of all boundaries or of ``only`` these."""
        wanted = self._boundaries if only is None else only
        told = {name: self._boundaries[name] for name in wanted if name in self._boundaries}
        return levels(told, self._clock.monotonic_s())

    def _boundary(self, name: str, now_s: float) -> Boundary:
        known = self._boundaries.get(name)
        if known is None:
            known = self._boundaries[name] = Boundary(name, self._quota_of(name, now_s))
        return known

    def _refuse_hopeless(self, ask: Ask, boundary: Boundary, now_s: float) -> None:
        quota = boundary.quota
        never = quota.never_fits(ask.need)
        shortages = [quota.shortage(ask.need, now_s, surely=True)]
        for owner in self._own.owners(ask.uid, ask.job):
            own = self._own.shortage(owner, boundary.name, quota, ask.need, now_s)
            if own is not None:
                shortages.append(own.shortage)
                never = own.shortage if own.shortage.wait_s == math.inf else never
        if never is not None:
            raise never_fits(never)
        for shortage in shortages:
            if shortage is not None and now_s + shortage.wait_s > ask.wait_until_s:
                raise too_long(ask, shortage)

    def _own_shortage(
        self, ask: Ask, boundary: Boundary, now_s: float, *, trying: bool = False
    ) -> OwnShortage | None:
        """Give what a call's uid or job lacks of its own, the job first.

        Who comes new waits behind those of the same owner that stand aside.
        """
        for owner in self._own.owners(ask.uid, ask.job):
            own = self._own.shortage(owner, boundary.name, boundary.quota, ask.need, now_s)
            if own is None and not trying and boundary.line.holds(owner):
                own = OwnShortage(owner, Shortage(TURN, 0.0, 0.0, 0.0))
            if own is not None:
                return own
        return None

    async def _wait(self, ask: Ask, boundary: Boundary, also: Also, now_s: float) -> Permit:
        if self.waiting >= self._max_waiting:
            raise Overloaded(f"{self.waiting} calls wait already", retry_after_s=5.0)
        if self._waiting_by_uid[ask.uid] >= self._max_waiting_per_uid:
            raise Overloaded(f"uid {ask.uid} has its share of waiting calls", retry_after_s=5.0)
        waiter = Waiter(
            ask=ask,
            also=also,
            since_s=now_s,
            admitted=asyncio.get_running_loop().create_future(),
            bucket=TURN,
        )
        spot = boundary.push(waiter)
        self._waiting_by_uid[ask.uid] += 1
        self._pump(boundary)
        try:
            async with asyncio.timeout(max(0.0, ask.wait_until_s - now_s)):
                return await waiter.admitted
        except TimeoutError:
            self._take_back(waiter)
            if waiter.bucket == MONEY and waiter.refusal is not None:
                raise waiter.refusal from None
            raise too_long(ask, self._lacked(boundary, waiter)) from None
        except asyncio.CancelledError:
            self._take_back(waiter)
            raise
        finally:
            self._leave(boundary, spot)

    def _lacked(self, boundary: Boundary, waiter: Waiter) -> Shortage:
        """Tell for what one waited in vain: behind others, for what their first waits for."""
        bucket, head = waiter.bucket, boundary.line.head()
        if bucket == TURN and head is not None:
            bucket = head.item.bucket
        shortage = boundary.quota.shortage(waiter.ask.need, self._clock.monotonic_s())
        if shortage is None:
            return Shortage(bucket, 0.0, 0.0, 0.0)
        return shortage if waiter.bucket == TURN else replace(shortage, bucket=bucket)

    def _take_back(self, waiter: Waiter) -> None:
        """Undo what was granted in the very turn of the loop in which its caller gave up."""
        admitted = waiter.admitted
        if admitted.done() and not admitted.cancelled() and admitted.exception() is None:
            permit = admitted.result()
            release = getattr(permit.token, "release", None)
            if release is not None:
                release()
            self.end(permit, dict.fromkeys(permit.ask.need, 0.0))

    def _leave(self, boundary: Boundary, spot: Spot[Waiter]) -> None:
        if spot.place is not None:
            boundary.line.leave(spot)
            self._count_down(spot.item.ask.uid)
            self._pump(boundary)

    def _grant(
        self,
        ask: Ask,
        boundary: Boundary,
        token: Any,
        bucket: str | None,
        queued_s: float,
        now_s: float,
    ) -> Permit:
        sent = boundary.quota.take(ask.need, now_s)
        owners = self._own.owners(ask.uid, ask.job)
        for owner in owners:
            self._own.take(owner, boundary.name, boundary.quota, ask.need, now_s)
        if bucket is None and not boundary.quota.is_open:
            boundary.line.served(ask.path, boundary.quota.weight(ask.need))
        return _new_permit(
            ask=ask, sent=sent, token=token, queued_s=queued_s, bucket=bucket, owners=owners
        )

    def _pump(self, boundary: Boundary) -> None:
        """Let pass whose turn it is, as long as the head can; then set the timer."""
        if boundary.timer is not None:
            boundary.timer.cancel()
            boundary.timer = None
        now_s = self._clock.monotonic_s()
        for late in boundary.hopeless(now_s):
            closed = Shortage(CLOSED, boundary.quota.closed_s(now_s), 0.0, 0.0)
            self._refuse(boundary, late, too_long(late.item.ask, closed))
        for _ in range(_HEADS_A_TURN):
            spot = boundary.line.head()
            if spot is None:
                return
            if not self._look_at(boundary, spot):
                return
        boundary.timer = asyncio.get_running_loop().call_soon(self._pump, boundary)

    def _look_at(self, boundary: Boundary, spot: Spot[Waiter]) -> bool:
        """Deal with the head: let it pass, aside, or go. Tells whether the next is to be seen."""
        waiter, now_s = spot.item, self._clock.monotonic_s()
        if waiter.admitted.done():
            # Its caller has left in this very turn of the loop.
            boundary.line.leave(spot)
            self._count_down(waiter.ask.uid)
            return True
        own = self._own_shortage(waiter.ask, boundary, now_s, trying=spot.trying)
        if own is not None:
            waiter.bucket = own.shortage.bucket
            boundary.line.set_aside(spot, own.owner)
            self._expect_share(boundary, own)
            return True
        shortage = boundary.quota.shortage(waiter.ask.need, now_s)
        if shortage is not None:
            waiter.bucket = shortage.bucket
            self._set_timer(boundary, shortage)
            return False
        try:
            token = waiter.also()
        except WaitForMoney as short:
            waiter.bucket, waiter.refusal = MONEY, short.refusal
            whose = (waiter.ask.uid, waiter.ask.job)
            key = (_RANK_MONEY, short.account, short.need.bit_length(), *whose)
            boundary.line.set_aside(spot, key)
            return True
        except CallError as refusal:
            self._refuse(boundary, spot, refusal)
            return True
        boundary.line.pop()
        self._count_down(waiter.ask.uid)
        queued_s = now_s - waiter.since_s
        waiter.admitted.set_result(
            self._grant(waiter.ask, boundary, token, waiter.bucket, queued_s, now_s)
        )
        return True

    def _set_timer(self, boundary: Boundary, shortage: Shortage) -> None:
        if shortage.bucket != IN_FLIGHT and math.isfinite(shortage.wait_s):
            boundary.timer = asyncio.get_running_loop().call_later(
                shortage.wait_s + _TIMER_SLACK_S, self._pump, boundary
            )

    def _expect_share(self, boundary: Boundary, own: OwnShortage) -> None:
        """Have those aside for their owner's share look again when it has refilled."""
        wait_s, key = own.shortage.wait_s, own.owner
        if wait_s <= 0 or not math.isfinite(wait_s) or key in boundary.share_timers:
            return

        def refilled() -> None:
            del boundary.share_timers[key]
            boundary.line.wake(key)
            self._pump(boundary)

        boundary.share_timers[key] = asyncio.get_running_loop().call_later(
            wait_s + _TIMER_SLACK_S, refilled
        )

    def _refuse(self, boundary: Boundary, spot: Spot[Waiter], error: CallError) -> None:
        boundary.line.leave(spot)
        self._count_down(spot.item.ask.uid)
        if not spot.item.admitted.done():
            spot.item.admitted.set_exception(error)

    def _count_down(self, uid: int) -> None:
        self._waiting_by_uid[uid] -= 1
        if not self._waiting_by_uid[uid]:
            del self._waiting_by_uid[uid]
