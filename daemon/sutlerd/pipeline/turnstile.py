"""How an attempt passes the gate: what it needs, who it is, and what it turned out to use.

Translates between calls and the admission room's bare numbers. One boundary is one provider's
key, or a model of it that has limits of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import orjson

from sutlerd.admission.asking import Ask, Permit
from sutlerd.admission.bucket import Bucket
from sutlerd.admission.gate import Gate
from sutlerd.admission.learning import Estimates, Seen, heed
from sutlerd.admission.own_limits import OwnLimit, OwnLimits
from sutlerd.admission.quota import Quota
from sutlerd.config.schema_llm import CallerLimits, LlmConfig
from sutlerd.config.schema_provider import RateLimits
from sutlerd.domain.call import Route
from sutlerd.domain.ports import Clock
from sutlerd.domain.usage import Usage
from sutlerd.pipeline.places import Asker, Places
from sutlerd.pipeline.retry import backoff_s
from sutlerd.providers.contract import (
    AttemptFailed,
    BuiltRequest,
    Outcome,
    RateLimitView,
    Verdict,
)

#: A provider's bucket begins to refill when the first call arrives, ours when it leaves: what
#: refills in between must not be spent. At most this long, and this part of a full bucket.
ARRIVAL_MARGIN_S = 0.25
ARRIVAL_MARGIN_PART = 0.25
#: Dialects whose providers count the answer as it is, not as ``max_tokens`` allows.
_COUNTS_REAL_OUTPUT = frozenset({"anthropic"})
_TOO_MANY = 429


@dataclass(slots=True, kw_only=True)
class Passed:
    """An attempt that passed; ``size_bytes`` is its request's, 0 where nobody counts tokens.

    ``listens`` says whether there are limits that the provider's headers could correct.
    """

    permit: Permit
    route: Route
    size_bytes: int
    listens: bool


class Turnstile:
    """One per daemon, in front of all attempts."""

    def __init__(self, *, llm: LlmConfig, clock: Clock) -> None:
        self._llm = llm
        self._clock = clock
        self._estimates = Estimates()
        self._refusals: dict[str, int] = {}
        self._places = Places(llm.fairness)
        fairness = llm.fairness
        own_limits = OwnLimits(
            per_uid=_own_limit(fairness.per_uid), per_job=_own_limit(fairness.per_job)
        )
        self.gate = Gate(quota_of=self._quota, clock=clock, own_limits=own_limits)

    def adopt(self, llm: LlmConfig, places: Places) -> None:
        """Go by other limits and weights from now on, waiting calls included.

        Only boundaries whose limits were changed are touched, and their buckets keep their
        level in proportion: what a provider has taught about the others stays.
        """
        before, self._llm, self._places = self._llm, llm, places
        now_s = self._clock.monotonic_s()
        for boundary in self.gate.boundaries():
            if _limits_at(before, boundary) != _limits_at(llm, boundary):
                self.gate.change_limits(boundary, self._quota(boundary, now_s))
        fairness = llm.fairness
        self.gate.change_own_limits(
            per_uid=_own_limit(fairness.per_uid), per_job=_own_limit(fairness.per_job)
        )
        self.gate.wake()

    async def admit(
        self,
        asker: Asker,
        route: Route,
        built: BuiltRequest,
        *,
        max_tokens_out: int,
        wait_until_s: float,
    ) -> Passed:
        """Wait for leave to make one attempt. Raises ``CallError``."""
        limits = self._limits(route)
        size_bytes = len(orjson.dumps(built.body)) if _counts_tokens(limits) else 0
        ask = Ask(
            boundary=self._boundary(route),
            need=self._need(route, size_bytes, max_tokens_out),
            path=self._places.of(asker),
            uid=asker.caller.uid,
            job=asker.caller.job,
            wait_until_s=wait_until_s,
            labels={"lane": asker.lane, "job": asker.caller.job},
        )
        permit = await self.gate.admit(ask, _free)
        return Passed(permit=permit, route=route, size_bytes=size_bytes, listens=limits is not None)

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
        self._hear(boundary, seen)
        self.gate.end(passed.permit, self._used(route, usage))

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
        self._hear(boundary, failure.limits)
        if failure.status == _TOO_MANY and failure.verdict is Verdict.RETRY:
            self._refusals[boundary] = self._refusals.get(boundary, 0) + 1
            pause_s = failure.retry_after_s
            if pause_s is None:
                pause_s = backoff_s(self._refusals[boundary], chance=0.5 + chance / 2)
            self.gate.close(boundary, pause_s)
        self.gate.end(passed.permit, used)

    def abandoned(self, passed: Passed) -> None:
        """End a permit of an attempt that was cut: everything it took stays taken."""
        self.gate.end(passed.permit, {})

    def _hear(self, boundary: str, seen: RateLimitView | None) -> None:
        if seen is None or not seen.limits:
            return
        views = {
            name: Seen(limit=view.limit, remaining=view.remaining)
            for name, view in seen.limits.items()
        }
        quota = self.gate.quota(boundary)
        limits, _ = _limits_at(self._llm, boundary)
        learns = limits is not None and limits.auto
        heed(quota, views, learns=learns, now_s=self._clock.monotonic_s())

    def _boundary(self, route: Route) -> str:
        limits = self._provider_limits(route.provider)
        return str(route) if limits and route.model in limits.models else route.provider

    def _provider_limits(self, provider: str) -> RateLimits | None:
        return _provider_limits(self._llm, provider)

    def _limits(self, route: Route) -> RateLimits | None:
        limits = self._provider_limits(route.provider)
        return limits.models.get(route.model, limits) if limits is not None else None

    def _quota(self, boundary: str, now_s: float) -> Quota:
        limits, share = _limits_at(self._llm, boundary)
        if limits is None:
            return Quota({})
        part = 1.0 if share is None else float(share)
        return Quota(_buckets(limits, part, now_s), max_in_flight=limits.calls_in_flight)

    def _need(self, route: Route, size_bytes: int, max_tokens_out: int) -> dict[str, float]:
        need = {"requests": 1.0, "requests_per_day": 1.0}
        if size_bytes:
            tokens_in = self._estimates.tokens_in(route.model, size_bytes)
            tokens_out = float(max_tokens_out)
            if self._counts_real_output(route):
                tokens_out = self._estimates.tokens_out(route.model, max_tokens_out)
            both = tokens_in + tokens_out
            need |= {"tokens_in": tokens_in, "tokens_out": tokens_out}
            need |= {"tokens": both, "tokens_per_day": both}
        return need

    def _counts_real_output(self, route: Route) -> bool:
        settings = self._llm.providers.get(route.provider)
        return settings is not None and settings.dialect in _COUNTS_REAL_OUTPUT

    def _used(self, route: Route, usage: Usage) -> dict[str, float]:
        """Give what is known of the true use; what is not named stays as it was foreseen."""
        used: dict[str, float] = {}
        if usage.tokens_in is not None:
            used["tokens_in"] = float(usage.tokens_in)
        if self._counts_real_output(route):
            if usage.tokens_out is not None:
                used["tokens_out"] = float(usage.tokens_out)
            if usage.total_tokens is not None:
                used["tokens"] = used["tokens_per_day"] = float(usage.total_tokens)
        return used


def _provider_limits(llm: LlmConfig, provider: str) -> RateLimits | None:
    # A call under way may go to a provider that a reload has taken out: without limits.
    settings = llm.providers.get(provider)
    if settings is None or settings.limits is None:
        return llm.rate_limits.get(provider)
    return settings.limits


def _limits_at(llm: LlmConfig, boundary: str) -> tuple[RateLimits | None, Fraction | None]:
    """Give the limits of a boundary, and which part of them is this daemon's."""
    provider, _, model = boundary.partition("/")
    limits = _provider_limits(llm, provider)
    if limits is None:
        return None, None
    limits = limits.models.get(model, limits)
    settings = llm.providers.get(provider)
    return limits, limits.share or (settings.share if settings is not None else None)


def _own_limit(limits: CallerLimits) -> OwnLimit:
    share = None if limits.share is None else float(limits.share)
    return OwnLimit(share=share, calls_in_flight=limits.calls_in_flight)


def _free() -> None:
    """Stand where the ledger will: nothing is reserved, nothing refused."""


def _counts_tokens(limits: RateLimits | None) -> bool:
    return limits is not None and (
        limits.auto
        or limits.tokens_per_minute is not None
        or limits.tokens_per_day is not None
        or limits.input_tokens_per_minute is not None
        or limits.output_tokens_per_minute is not None
    )


def _buckets(limits: RateLimits, part: float, now_s: float) -> dict[str, Bucket]:
    per_window: Mapping[str, tuple[int | None, float]] = {
        "requests": (limits.requests_per_minute, 60.0),
        "tokens": (limits.tokens_per_minute, 60.0),
        "tokens_in": (limits.input_tokens_per_minute, 60.0),
        "tokens_out": (limits.output_tokens_per_minute, 60.0),
        "requests_per_day": (limits.requests_per_day, 86_400.0),
        "tokens_per_day": (limits.tokens_per_day, 86_400.0),
    }
    buckets = {}
    for name, (limit, window_s) in per_window.items():
        if limit is not None:
            per_s = limit * part / window_s
            burst_s = window_s if limits.burst_s is None else min(window_s, limits.burst_s)
            full = per_s * burst_s
            margin = min(per_s * ARRIVAL_MARGIN_S, full * ARRIVAL_MARGIN_PART)
            capacity = max(full - margin, 1.0)
            buckets[name] = Bucket(per_s=per_s, capacity=capacity, now_s=now_s)
    return buckets
