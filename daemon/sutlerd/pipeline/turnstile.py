"""How an attempt passes the gate: what it needs, who it is, and what it turned out to use.

Translates between calls and the admission room's bare numbers. One boundary is one provider's
key, or a model of it that has limits of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from sutlerd.admission.asking import Ask, Permit
from sutlerd.admission.estimates import Estimates
from sutlerd.admission.gate import Gate
from sutlerd.admission.learning import NOTHING, Learner, Seen
from sutlerd.admission.levels import Past
from sutlerd.admission.own_limits import OwnLimit, OwnLimits
from sutlerd.config.schema_llm import CallerLimits, LlmConfig
from sutlerd.domain.call import Route
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import quick
from sutlerd.domain.usage import Usage
from sutlerd.ledger.reservation import Reservation
from sutlerd.pipeline.boundaries import Boundaries
from sutlerd.pipeline.circuits import Entry
from sutlerd.pipeline.places import Asker, Places
from sutlerd.pipeline.retry import closed_s
from sutlerd.providers.contract import (
    AttemptFailed,
    BuiltRequest,
    Outcome,
    RateLimitView,
    Verdict,
)

_new_ask = quick(Ask)

_TOO_MANY = 429
_ONE_REQUEST: Mapping[str, float] = {"requests": 1.0, "requests_per_day": 1.0}


@dataclass(slots=True, kw_only=True)
class Ticket:
    """What an attempt was given in the gate's step, besides its permit."""

    entry: Entry
    reservation: Reservation

    def release(self) -> None:
        self.entry.release()
        self.reservation.release()


_new_ticket = quick(Ticket)


@dataclass(slots=True, kw_only=True)
class Passed:
    """An attempt that passed; ``size_bytes`` is its request's, 0 where nobody counts tokens.

    ``listens`` says whether there are limits that the provider's headers could correct.
    """

    entry: Entry
    learner: Learner
    permit: Permit
    reservation: Reservation
    route: Route
    size_bytes: int
    listens: bool


_new_passed = quick(Passed)


class Turnstile:
    """One per daemon, in front of all attempts."""

    def __init__(self, *, llm: LlmConfig, clock: Clock, past: Past | None = None) -> None:
        self._clock = clock
        self._boundaries = Boundaries(llm, past=past, now_s=clock.monotonic_s())
        self._estimates = Estimates()
        self._refusals: dict[str, int] = {}
        self._places = Places(llm.fairness)
        fairness = llm.fairness
        own_limits = OwnLimits(
            per_uid=_own_limit(fairness.per_uid), per_job=_own_limit(fairness.per_job)
        )
        self.gate = Gate(quota_of=self._boundaries.quota, clock=clock, own_limits=own_limits)

    def adopt(self, llm: LlmConfig, places: Places) -> None:
        """Go by other limits and weights from now on, waiting calls included.

        Only boundaries whose limits were changed are touched, and their buckets keep their
        level in proportion: what a provider has taught about the others stays.
        """
        self._places = places
        for boundary in self._boundaries.adopt(llm, self._clock.monotonic_s()):
            self.gate.limits_changed(boundary)
        fairness = llm.fairness
        self.gate.change_own_limits(
            per_uid=_own_limit(fairness.per_uid), per_job=_own_limit(fairness.per_job)
        )
        self.gate.wake()

    def noted(self) -> dict[str, Any]:
        """Give the levels to be kept for the daemon's next life, by boundary."""
        return self._boundaries.noted(self._clock.monotonic_s())

    async def admit(
        self,
        asker: Asker,
        route: Route,
        built: BuiltRequest,
        *,
        max_tokens_out: int,
        wait_until_s: float,
        enter: Callable[[], Entry],
        reserve: Callable[[], Reservation],
        check: Callable[[], None] = lambda: None,
    ) -> Passed:
        """Wait for leave to make one attempt. Raises ``CallError``.

        In the step that grants it ``enter`` lets it through the circuits, or raises
        ``RouteClosed``, and ``reserve`` holds the money. ``check`` raises as soon as there is
        no use in waiting: see ``recheck``.
        """
        boundary = self._boundaries.of(route)
        learner = self._boundaries.learner(boundary, self._clock.monotonic_s())
        size_bytes = len(orjson.dumps(built.body)) if learner.counts_tokens else 0
        ask = _new_ask(
            boundary=boundary,
            need=self._need(route, size_bytes, max_tokens_out),
            path=self._places.of(asker),
            uid=asker.caller.uid,
            job=asker.caller.job,
            wait_until_s=wait_until_s,
            check=check,
            lane=asker.lane,
        )

        def take() -> Ticket:
            entry = enter()
            try:
                return _new_ticket(entry=entry, reservation=reserve())
            except BaseException:
                entry.release()
                raise

        permit = await self.gate.admit(ask, take)
        ticket: Ticket = permit.token
        return _new_passed(
            learner=learner,
            entry=ticket.entry,
            permit=permit,
            reservation=ticket.reservation,
            route=route,
            size_bytes=size_bytes,
            listens=learner.listens,
        )

    def succeeded(self, passed: Passed, usage: Usage, seen: RateLimitView | None) -> None:
        """End a permit by what the attempt really used."""
        route, boundary = passed.route, passed.permit.ask.boundary
        self._refusals.pop(boundary, None)
        self._estimates.learn(
            route.model,
            size_bytes=passed.size_bytes,
            tokens_in=usage.tokens_in,
            tokens_out=usage.tokens_out,
        )
        now_s = self._clock.monotonic_s()
        permit, used = passed.permit, NOTHING
        passed.learner.answered(now_s, permit.ask.need, sent_s=permit.sent.at_s)
        if seen is not None or permit.owners or passed.learner.quota.buckets:
            used = self._used(passed, usage)
        if seen is not None:
            passed.learner.told(_views(seen), permit.ask.need, permit.sent, now_s, used=used)
        self.gate.end(permit, used)

    def failed(self, passed: Passed, failure: AttemptFailed, *, chance: float) -> None:
        """End a permit of an attempt that failed; a 429 closes the boundary for all."""
        boundary = passed.permit.ask.boundary
        need = passed.permit.ask.need
        used: dict[str, float] = {}
        if failure.outcome is Outcome.NOT_SENT:
            used = dict.fromkeys(need, 0.0)
        elif failure.outcome is Outcome.NOT_BILLED:
            # Providers count refused requests too, but not tokens they never read.
            used = {name: 0.0 for name in need if not name.startswith("requests")}
        now_s, seen = self._clock.monotonic_s(), _views(failure.limits)
        if failure.status == _TOO_MANY and failure.verdict is Verdict.RETRY:
            self._refusals[boundary] = self._refusals.get(boundary, 0) + 1
            pause_s = failure.retry_after_s
            if pause_s is None:
                pause_s = closed_s(self._refusals[boundary], chance=chance)
            passed.learner.refused(
                need,
                seen,
                passed.permit.sent,
                pause_s=pause_s,
                ramp=failure.kind == "ramp_limit",
                now_s=now_s,
            )
        else:
            passed.learner.told(seen, need, passed.permit.sent, now_s)
        self.gate.end(passed.permit, used)

    def refused_in_row(self, route: Route) -> int:
        """Tell how often a route's limit was said to be used up since its last answer."""
        return self._refusals.get(self._boundaries.of(route), 0)

    def recheck(self, provider: str) -> None:
        """Let all who wait for a provider look whether they still may: whichever of its limits
        they wait for, and soon, not at once."""
        self.gate.recheck(
            name for name in self.gate.boundaries() if name.partition("/")[0] == provider
        )

    def unsent(self, passed: Passed) -> None:
        """End a permit of an attempt that was not made."""
        passed.entry.release()
        self.gate.end(passed.permit, dict.fromkeys(passed.permit.ask.need, 0.0))

    def abandoned(self, passed: Passed) -> None:
        """End a permit of an attempt that was cut: everything it took stays taken."""
        self.gate.end(passed.permit, {})

    def _need(self, route: Route, size_bytes: int, max_tokens_out: int) -> Mapping[str, float]:
        if not size_bytes:
            return _ONE_REQUEST
        tokens_in = self._estimates.tokens_in(route.model, size_bytes)
        tokens_out = float(max_tokens_out)
        if self._boundaries.counts_real_output(route.provider):
            tokens_out = self._estimates.tokens_out(route.model, max_tokens_out)
        both = tokens_in + tokens_out
        return {
            **_ONE_REQUEST,
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "tokens": both,
            "tokens_per_day": both,
        }

    def _used(self, passed: Passed, usage: Usage) -> Mapping[str, float]:
        """Give what is known of the true use; what is not named stays as it was foreseen.

        Anthropic counts real answers, and no prompt that it had in its cache. Others count
        what ``max_tokens`` allows, whatever is answered.
        """
        used: dict[str, float] = {}
        tokens_in = usage.tokens_in
        if self._boundaries.counts_real_output(passed.route.provider):
            if tokens_in is not None:
                used["tokens_in"] = float(max(0, tokens_in - (usage.cached_tokens_in or 0)))
            if usage.tokens_out is not None:
                used["tokens_out"] = float(usage.tokens_out)
            if usage.total_tokens is not None:
                used["tokens"] = used["tokens_per_day"] = float(usage.total_tokens)
        elif tokens_in is not None:
            allowed = passed.permit.ask.need.get("tokens_out", 0.0)
            used["tokens_in"] = float(tokens_in)
            used["tokens"] = used["tokens_per_day"] = tokens_in + allowed
        return used


def _views(seen: RateLimitView | None) -> dict[str, Seen]:
    if seen is None:
        return {}
    return {
        name: Seen(limit=view.limit, remaining=view.remaining) for name, view in seen.limits.items()
    }


def _own_limit(limits: CallerLimits) -> OwnLimit:
    share = None if limits.share is None else float(limits.share)
    return OwnLimit(share=share, calls_in_flight=limits.calls_in_flight)
