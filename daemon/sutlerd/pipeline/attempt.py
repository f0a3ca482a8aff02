"""One flight's way: second tier, then attempts along the chain until one answers.

Every attempt is made here and nowhere else, so that each passes admission and the ledger
(where they are in force) before the provider may be contacted, and is settled after.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sutlerd.domain.call import ChatRequest, Route
from sutlerd.domain.errors import (
    CallError,
    ContextLengthExceeded,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from sutlerd.domain.ports import Clock
from sutlerd.domain.reply import Delta, Reply
from sutlerd.pipeline.coalesce import Flight
from sutlerd.pipeline.resolve import Resolved
from sutlerd.pipeline.result import encode_pieces
from sutlerd.pipeline.retry import Again, Effort, NextRoute
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Provider, Verdict


@dataclass(kw_only=True)
class Answered:
    """What an attempt brought, and who brought it."""

    reply: Reply
    route: Route
    built: BuiltRequest
    attempts: list[dict[str, Any]] = field(default_factory=list)


class Attempts:
    """Makes the attempts of flights. ``max_retries`` counts over the whole chain."""

    def __init__(
        self,
        *,
        provider_named: Callable[[str], Provider],
        clock: Clock,
        max_retries: int,
        max_timeout_s: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._provider_named = provider_named
        self._clock = clock
        self._max_retries = max_retries
        self._max_timeout_s = max_timeout_s
        self._chance = chance

    async def answer(self, flight: Flight, resolved: Resolved) -> Answered:
        """Try the chain. Raises the ``CallError`` that the callers are told."""
        routes = list(resolved.call.routes)
        route, built = routes.pop(0), resolved.built
        effort = Effort(attempts_left=self._max_retries + 1, routes_left=len(routes))
        attempts: list[dict[str, Any]] = []
        while True:
            effort.starts()
            started_s = self._clock.monotonic_s()
            try:
                reply = await self._one(flight, resolved, route, built)
            except AttemptFailed as failure:
                now_s = self._clock.monotonic_s()
                attempts.append(_told(route, failure.kind, now_s - started_s))
                decision = effort.after(
                    failure,
                    was_heard=flight.was_heard,
                    time_left_s=flight.latest_deadline_s() - now_s,
                    chance=self._chance(),
                )
                if isinstance(decision, Again):
                    await asyncio.sleep(decision.delay_s)
                elif isinstance(decision, NextRoute):
                    effort.moves_on()
                    route = routes.pop(0)
                    built = self._spelled(resolved, route)
                else:
                    raise _error(failure, route, attempts) from None
            else:
                attempts.append(_told(route, "ok", self._clock.monotonic_s() - started_s))
                return Answered(reply=reply, route=route, built=built, attempts=attempts)

    async def _one(
        self, flight: Flight, resolved: Resolved, route: Route, built: BuiltRequest
    ) -> Reply:
        provider = self._provider_named(route.provider)
        # The flight ends when its last follower leaves: no caller's time bounds an attempt.
        deadline_s = self._clock.monotonic_s() + self._max_timeout_s
        if not resolved.call.stream or not provider.capabilities(route.model).stream:
            return await provider.complete(built, deadline_s=deadline_s)
        reply: Reply | None = None
        async with provider.stream(built, deadline_s=deadline_s) as batches:
            async for batch in batches:
                deltas = [item for item in batch if isinstance(item, Delta)]
                if deltas:
                    flight.publish(encode_pieces(deltas))
                if batch and isinstance(batch[-1], Reply):
                    reply = batch[-1]
        assert reply is not None, "a provider's stream ends with its reply or raises"
        return reply

    def _spelled(self, resolved: Resolved, route: Route) -> BuiltRequest:
        request = resolved.call.request
        assert isinstance(request, ChatRequest)
        return self._provider_named(route.provider).build_chat(request, route.model)


def _told(route: Route, outcome: str, passed_s: float) -> dict[str, Any]:
    return {"provider": route.provider, "model": route.model, "outcome": outcome,
            "ms": round(passed_s * 1000, 3)}


def _error(failure: AttemptFailed, route: Route, attempts: list[dict[str, Any]]) -> CallError:
    """Say a failure in the words of the wire."""
    said = f"{route}: {failure.message}"
    if failure.verdict is Verdict.TOO_LONG:
        return ContextLengthExceeded(
            said, tokens_needed=failure.tokens_needed, tokens_allowed=failure.tokens_allowed,
            attempts=attempts,
        )
    if failure.verdict is not Verdict.RETRY:
        return ProviderError(said, attempts=attempts, status=failure.status)
    if failure.status == 429:
        return RateLimited(said, retry_after_s=failure.retry_after_s, attempts=attempts)
    return ProviderUnavailable(said, retry_after_s=failure.retry_after_s, attempts=attempts)
