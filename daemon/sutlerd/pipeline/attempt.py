"""Attempts along a chain of routes until one answers.

Every attempt is made here and nowhere else, so that each passes admission and the ledger
(where they are in force) before the provider may be contacted, and is settled after.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from sutlerd.domain.call import Route
from sutlerd.domain.errors import (
    CallError,
    ContextLengthExceeded,
    InvalidParams,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    ShuttingDown,
)
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import record
from sutlerd.domain.usage import Usage
from sutlerd.pipeline.places import Asker
from sutlerd.pipeline.retry import Again, Decision, Effort, NextRoute
from sutlerd.pipeline.turnstile import Passed, Turnstile
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Provider, Verdict

#: Less than this is the clock's own grain, not another caller's time.
_MORE_PATIENCE_S = 0.01

T = TypeVar("T", bound="Used")
T_co = TypeVar("T_co", covariant=True)


@record
class Leg:
    """One route of a chain and its request in that route's spelling."""

    route: Route
    built: BuiltRequest


class Journey(Protocol[T_co]):
    """What is to be answered along a chain; a chat flight or a batch of texts."""

    @property
    def asker(self) -> Asker:
        """Tell for whom the journey is made: who opened it."""

    @property
    def max_tokens_out(self) -> int: ...

    @property
    def was_heard(self) -> bool:
        """Whether a caller was given a piece: from then on nothing is tried again."""

    def time_left_s(self) -> float:
        """Give the most patient caller's time."""

    def leg(self, route: Route) -> Leg: ...

    async def once(self, provider: Provider, leg: Leg, *, deadline_s: float) -> T_co:
        """Make one attempt. Raises ``AttemptFailed``."""


class Used(Protocol):
    """What an attempt brings says what it used."""

    @property
    def usage(self) -> Usage: ...


@record
class Arrived(Generic[T]):
    """What the last attempt brought, who brought it, and all that were made.

    ``asked_unix_s`` is when it was sent: its price is of that time.
    """

    brought: T
    leg: Leg
    attempts: list[dict[str, Any]]
    queued_s: float
    bucket: str | None
    asked_unix_s: float


class Attempts:
    """Makes all attempts. ``max_retries`` counts over the whole chain. ``stopping`` is set when
    the daemon stops."""

    def __init__(
        self,
        *,
        providers: Mapping[str, Provider],
        turnstile: Turnstile,
        queue_timeout_s: float,
        clock: Clock,
        max_retries: int,
        max_timeout_s: float,
        stopping: asyncio.Event,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._providers = providers
        self._turnstile = turnstile
        self._queue_timeout_s = queue_timeout_s
        self._clock = clock
        self._max_retries = max_retries
        self._max_timeout_s = max_timeout_s
        self._chance = chance
        self._stopping = stopping

    def drain(self) -> None:
        """Begin no attempt from now on; who waits for one is told that the daemon stops."""
        self._stopping.set()
        self._turnstile.gate.drain()

    async def travel(self, routes: Sequence[Route], journey: Journey[T]) -> Arrived[T]:
        """Try the chain. Raises the ``CallError`` that the callers are told."""
        ahead = list(routes)
        leg = journey.leg(ahead.pop(0))
        effort = Effort(attempts_left=self._max_retries + 1, routes_left=len(ahead))
        told: list[dict[str, Any]] = []
        queued_s, bucket = 0.0, None
        while True:
            effort.starts()
            started_s = self._clock.monotonic_s()
            ends: CallError
            try:
                passed = await self._admitted(journey, leg, started_s)
                queued_s += passed.permit.queued_s
                bucket = passed.permit.bucket or bucket
                started_s = self._clock.monotonic_s()
                asked_unix_s = self._clock.unix_s()
                brought = await self._once(journey, leg, passed, started_s)
            except RateLimited as refused:
                # Not asked at all: the wait would be longer than the caller's time.
                told.append(_told(leg.route, refused.type, 0.0))
                ends = refused
                decision: Decision = NextRoute()
            except AttemptFailed as failure:
                now_s = self._clock.monotonic_s()
                told.append(_told(leg.route, failure.kind, now_s - started_s))
                ends = _error(failure, leg.route, told)
                decision = effort.after(
                    failure,
                    was_heard=journey.was_heard,
                    time_left_s=journey.time_left_s(),
                    chance=self._chance(),
                )
            else:
                told.append(_told(leg.route, "ok", self._clock.monotonic_s() - started_s))
                return Arrived(
                    brought=brought,
                    leg=leg,
                    attempts=told,
                    queued_s=queued_s,
                    bucket=bucket,
                    asked_unix_s=asked_unix_s,
                )
            if isinstance(decision, Again):
                await self._pause(decision.delay_s)
                continue
            onward = None
            if isinstance(decision, NextRoute):
                onward = _next_leg(journey, ahead, effort, told)
            if onward is None:
                raise ends
            leg = onward

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
        while True:
            asked_s = self._clock.monotonic_s()
            queue_end_s = now_s + self._queue_timeout_s
            wait_until_s = min(asked_s + journey.time_left_s(), queue_end_s)
            try:
                return await self._turnstile.admit(
                    journey.asker,
                    leg.route,
                    leg.built,
                    max_tokens_out=journey.max_tokens_out,
                    wait_until_s=wait_until_s,
                )
            except RateLimited:
                # Somebody more patient may have joined while it waited.
                patient_until_s = self._clock.monotonic_s() + journey.time_left_s()
                if min(patient_until_s, queue_end_s) <= wait_until_s + _MORE_PATIENCE_S:
                    raise

    async def _once(self, journey: Journey[T], leg: Leg, passed: Passed, now_s: float) -> T:
        """Make one attempt under its permit, and end the permit whatever happens."""
        provider = self._providers[leg.route.provider]
        try:
            # Callers that leave end the journey: no caller's time bounds an attempt.
            brought = await journey.once(provider, leg, deadline_s=now_s + self._max_timeout_s)
        except AttemptFailed as failure:
            self._turnstile.failed(passed, failure, chance=self._chance())
            raise
        except BaseException:
            self._turnstile.abandoned(passed)
            raise
        seen = provider.limits_seen(leg.built) if passed.listens else None
        self._turnstile.succeeded(passed, brought.usage, seen)
        return brought


def _next_leg(
    journey: Journey[T], ahead: list[Route], effort: Effort, told: list[dict[str, Any]]
) -> Leg | None:
    """Give the next route's leg, passing over routes that cannot honour the request."""
    while ahead:
        route = ahead.pop(0)
        effort.moves_on()
        try:
            return journey.leg(route)
        except InvalidParams:
            told.append(_told(route, "cannot_honour", 0.0))
    return None


def _told(route: Route, outcome: str, passed_s: float) -> dict[str, Any]:
    return {
        "provider": route.provider,
        "model": route.model,
        "outcome": outcome,
        "ms": round(passed_s * 1000, 3),
    }


def _error(failure: AttemptFailed, route: Route, attempts: list[dict[str, Any]]) -> CallError:
    """Say a failure in the words of the wire."""
    said = f"{route}: {failure.message}"
    if failure.verdict is Verdict.TOO_LONG:
        return ContextLengthExceeded(
            said,
            tokens_needed=failure.tokens_needed,
            tokens_allowed=failure.tokens_allowed,
            attempts=attempts,
        )
    if failure.verdict is not Verdict.RETRY:
        return ProviderError(said, attempts=attempts, status=failure.status)
    if failure.status == 429:
        return RateLimited(said, retry_after_s=failure.retry_after_s, attempts=attempts)
    return ProviderUnavailable(said, retry_after_s=failure.retry_after_s, attempts=attempts)
