"""Attempts along a chain of routes until one answers.

Every attempt is made here and nowhere else, so that each passes admission and the ledger
(where they are in force) before the provider may be contacted, and is settled after.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from sutlerd.domain.call import Route
from sutlerd.domain.errors import (
    BudgetExceeded,
    LedgerUnavailable,
    PriceUnknown,
    RateLimited,
    ShuttingDown,
)
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import quick
from sutlerd.domain.reply import Embedded, Reply
from sutlerd.pipeline.circuits import RouteClosed
from sutlerd.pipeline.experience import Experience
from sutlerd.pipeline.failing import error_of, error_of_closed
from sutlerd.pipeline.hedge import Beaten, Known, Race
from sutlerd.pipeline.journey import Arrived, Ear, Journey, Leg, T, Trip
from sutlerd.pipeline.retry import Again, Decision, Effort, NextRoute
from sutlerd.pipeline.till import Till
from sutlerd.pipeline.tried import ANSWERED, Tried
from sutlerd.pipeline.turnstile import Passed, Turnstile
from sutlerd.providers.contract import AttemptFailed, Outcome, Provider

_new_effort = quick(Effort)
_new_trip = quick(Trip)
_new_ear = quick(Ear)
_new_tried = quick(Tried)
_new_arrived = quick(Arrived)

#: Who waits in vain is told so, and for what, before its own time is up.
_TELLING_S = 0.05
#: Less than this is the clock's own grain, not another caller's time.
_MORE_PATIENCE_S = 0.01
#: Attempts that a hedged one takes.
_BOTH = 2
#: Refusals of an attempt before anything is sent. Other routes may be free, or have room.
_NOT_ASKED = (RateLimited, BudgetExceeded, PriceUnknown, LedgerUnavailable)


class Attempts:
    """Makes all attempts. ``max_retries`` counts over the whole chain. ``stopping`` is set when
    the daemon stops. ``hedge_after_pct``: a second route is asked, too, when the first takes
    longer than this part of its answers did; never if ``None``."""

    def __init__(
        self,
        *,
        providers: Mapping[str, Provider],
        turnstile: Turnstile,
        till: Till,
        queue_timeout_s: float,
        clock: Clock,
        max_retries: int,
        max_timeout_s: float,
        retry_after_sent: bool,
        hedge_after_pct: float | None,
        experience: Experience,
        stopping: asyncio.Event,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._providers = providers
        self._turnstile = turnstile
        self._till = till
        self._queue_timeout_s = queue_timeout_s
        self._clock = clock
        self._max_retries = max_retries
        self._max_timeout_s = max_timeout_s
        self._retry_after_sent = retry_after_sent
        self._hedge_after_pct = hedge_after_pct
        self._experience = experience
        self._chance = chance
        self._stopping = stopping

    def drain(self) -> None:
        """Begin no attempt from now on; who waits for one is told that the daemon stops."""
        self._stopping.set()
        self._turnstile.gate.drain()

    async def travel(
        self, routes: Sequence[Route], journey: Journey[T], *, retries_left: int | None = None
    ) -> Arrived[T]:
        """Try the chain. Raises the ``CallError`` that the callers are told, or ``Known``.

        ``retries_left`` is what an earlier journey for the same call has left of its retries;
        ``None`` for a call's first.
        """
        if retries_left is None:
            retries_left = self._max_retries
            self._experience.retry_budget.called(self._clock.monotonic_s())
        effort = self._effort(len(routes), retries_left)
        trip = _new_trip(journey=journey, ahead=list(routes), effort=effort)
        is_asked = self._experience.circuits.is_asked
        leg: Leg | None = journey.leg(trip.ahead.pop(0))
        while leg is not None:
            try:
                late_s = None if self._hedge_after_pct is None else self._late_s(trip, leg)
                if late_s is None:
                    return await self._attempt(trip, leg, _new_ear(clock=self._clock))
                return await self._hedged(trip, leg, late_s)
            except RouteClosed as closed:
                trip.closed.append(closed)
                decision: Decision = NextRoute()
            except _NOT_ASKED as refused:
                # Not asked at all; another route may be quicker, or free.
                trip.ends = refused
                if len(trip.told) > 1:
                    refused.data.setdefault("attempts", trip.told)
                decision = NextRoute()
            except AttemptFailed as failure:
                leg = trip.failed or leg
                provider = self._providers[leg.route.provider]
                trip.ends = error_of(failure, leg.route, provider, trip.told, is_asked)
                decision = self._decide(trip, failure, leg.route)
            if journey.is_deserted:
                leg = None
            elif isinstance(decision, Again):
                await self._pause(decision.delay_s)
            elif isinstance(decision, NextRoute):
                leg = trip.next_leg()
            else:
                leg = None
        raise trip.ends or error_of_closed(trip.closed, self._providers, trip.told, is_asked)

    def _effort(self, routes: int, retries: int) -> Effort:
        return _new_effort(
            attempts_left=retries + 1,
            routes_left=routes - 1,
            retry_after_sent=self._retry_after_sent,
        )

    def _decide(self, trip: Trip[T], failure: AttemptFailed, route: Route) -> Decision:
        now_s = self._clock.monotonic_s()
        return trip.effort.after(
            failure,
            was_heard=trip.journey.was_heard,
            time_left_s=trip.journey.time_left_s(),
            chance=self._chance(),
            granted=lambda: self._experience.retry_budget.take(now_s),
            refused_in_row=self._turnstile.refused_in_row(route),
        )

    async def _hedged(self, trip: Trip[T], leg: Leg, late_s: float) -> Arrived[T]:
        """Make an attempt, and another one on the next route if it takes so long."""
        race: Race[Arrived[T]] = Race()

        def second() -> Coroutine[Any, Any, Arrived[T]] | None:
            now_s, ahead = self._clock.monotonic_s(), trip.ahead
            if not ahead or not self._experience.circuits.is_asked(ahead[0]):
                return None
            if not self._experience.retry_budget.take(now_s):
                return None
            other = trip.next_leg()
            if other is None:
                return None
            return self._attempt(trip, other, Ear(clock=self._clock, race=race))

        first = self._attempt(trip, leg, _new_ear(clock=self._clock, race=race))
        arrived = await race.run(first, late_s=late_s, second=second)
        # Who answered stands last, whenever the other one ended.
        trip.told.sort(key=lambda row: bool(row["outcome"] == ANSWERED))
        return arrived

    def _late_s(self, trip: Trip[T], leg: Leg) -> float | None:
        """Tell after how long a second route is to be asked; ``None`` for never."""
        percent, effort = self._hedge_after_pct, trip.effort
        if percent is None or not trip.ahead or effort.attempts_left < _BOTH:
            return None
        route = (leg.route, trip.journey.streams)
        return self._experience.latencies.percentile_s(route, percent)

    async def _attempt(self, trip: Trip[T], leg: Leg, ear: Ear) -> Arrived[T]:
        """Make one attempt, and note how it ended. Raises ``Known`` if none is needed."""
        payload = await trip.journey.known(leg)
        if payload is not None:
            raise Known(payload)
        asked_s = self._clock.monotonic_s()
        try:
            passed = await self._admitted(trip.journey, leg, asked_s)
            trip.effort.starts()
            trip.queued_s += passed.permit.queued_s
            trip.bucket = passed.permit.bucket or trip.bucket
            sent_s = ear.sent()
            brought, cost_nanousd = await self._once(trip.journey, leg, passed, sent_s, ear)
        except RouteClosed:
            trip.note(self._tried(leg, "circuit_open", asked_s, ear))
            raise
        except _NOT_ASKED as refused:
            trip.note(self._tried(leg, refused.type, asked_s, ear))
            raise
        except AttemptFailed as failure:
            trip.note(self._tried(leg, failure.kind, asked_s, ear, status=failure.status))
            trip.failed = leg
            raise
        except (asyncio.CancelledError, Beaten):
            trip.note(self._tried(leg, "cut", asked_s, ear))
            raise
        tried = self._tried(leg, ANSWERED, asked_s, ear, brought=brought, cost_nanousd=cost_nanousd)
        trip.note(tried)
        if self._hedge_after_pct is not None:
            passed_s = (ear.heard_s or tried.ended_s) - sent_s
            self._experience.latencies.learn((leg.route, trip.journey.streams), passed_s)
        return _new_arrived(
            brought=brought,
            leg=leg,
            attempts=trip.told,
            queued_s=trip.queued_s,
            bucket=trip.bucket,
            cost_nanousd=cost_nanousd,
            retries_left=trip.effort.attempts_left,
        )

    def _tried(
        self,
        leg: Leg,
        outcome: str,
        asked_s: float,
        ear: Ear,
        *,
        status: int | None = None,
        brought: Reply | Embedded | None = None,
        cost_nanousd: int | None = None,
    ) -> Tried:
        """Say how an attempt that ends now went."""
        return _new_tried(
            route=leg.route,
            outcome=outcome,
            asked_s=asked_s,
            ended_s=self._clock.monotonic_s(),
            sent_s=ear.sent_s,
            heard_s=ear.heard_s,
            status=status,
            brought=brought,
            cost_nanousd=cost_nanousd,
        )

    async def _pause(self, delay_s: float) -> None:
        """Wait until the same route may be tried again. Raises ``ShuttingDown``."""
        try:
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()
        except TimeoutError:
            return
        raise ShuttingDown("the daemon is stopping: reconnect and ask again")

    async def _admitted(self, journey: Journey[T], leg: Leg, now_s: float) -> Passed:
        """Wait at the gate for as long as anybody who travels along has time."""
        circuits = self._experience.circuits
        # Seen before it waits, and once more when its turn comes.
        circuits.check(leg.route)
        spend = await self._till.quote(
            journey.bill,
            leg.route,
            leg.built.body,
            max_tokens_out=journey.max_tokens_out,
            within_s=self._queue_timeout_s,
        )
        queue_end_s = now_s + self._queue_timeout_s
        while True:
            wait_until_s = self._patience_ends_s(journey, queue_end_s)
            try:
                return await self._turnstile.admit(
                    journey.asker,
                    leg.route,
                    leg.built,
                    max_tokens_out=journey.max_tokens_out,
                    wait_until_s=wait_until_s,
                    enter=lambda: circuits.enter(leg.route),
                    reserve=lambda: self._till.reserve(spend),
                    check=lambda: circuits.check(leg.route),
                )
            except (RateLimited, BudgetExceeded):
                # Somebody more patient may have joined while it waited.
                patient_until_s = self._patience_ends_s(journey, queue_end_s)
                if patient_until_s <= wait_until_s + _MORE_PATIENCE_S:
                    raise

    def _patience_ends_s(self, journey: Journey[T], queue_end_s: float) -> float:
        ends_s = self._clock.monotonic_s() + journey.time_left_s()
        return min(ends_s - _TELLING_S, queue_end_s)

    async def _once(
        self, journey: Journey[T], leg: Leg, passed: Passed, now_s: float, ear: Ear
    ) -> tuple[T, int | None]:
        """Make one attempt under its permit and with its money, and end both whatever happens.

        Gives also what it cost.
        """
        if passed.reservation.is_free:
            return await self._asked(journey, leg, passed, now_s, ear)
        try:
            # From here on a crash finds the reservation, and charges it.
            await passed.reservation.on_disk()
        except BaseException:
            self._turnstile.unsent(passed)
            raise
        journey.paid.append(passed.reservation)
        try:
            return await self._asked(journey, leg, passed, now_s, ear)
        finally:
            journey.paid.remove(passed.reservation)

    async def _asked(
        self, journey: Journey[T], leg: Leg, passed: Passed, now_s: float, ear: Ear
    ) -> tuple[T, int | None]:
        """Ask the provider, and settle."""
        provider, asked_unix_s = self._providers[leg.route.provider], self._clock.unix_s()
        try:
            # Callers that leave end the journey: no caller's time bounds an attempt.
            brought = await journey.once(
                provider, leg, deadline_s=now_s + self._max_timeout_s, heard=ear.heard
            )
        except AttemptFailed as failure:
            self._till.failed(passed.reservation, failure.outcome)
            self._experience.circuits.failed(passed.entry, failure)
            self._turnstile.failed(passed, failure, chance=self._chance())
            raise
        except BaseException:
            self._till.failed(passed.reservation, Outcome.UNKNOWN)
            passed.entry.release()
            self._turnstile.abandoned(passed)
            raise
        self._experience.circuits.succeeded(passed.entry)
        try:
            cost_nanousd = await self._till.settle(
                passed.reservation, leg.route, brought, asked_unix_s=asked_unix_s
            )
        except BaseException:
            # Cut while its price was looked up: nobody waits for that any more.
            self._till.failed(passed.reservation, Outcome.UNKNOWN)
            self._turnstile.abandoned(passed)
            raise
        seen = provider.limits_seen(leg.built) if passed.listens else None
        self._turnstile.succeeded(passed, brought.usage, seen)
        return brought, cost_nanousd
