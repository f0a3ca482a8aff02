"""Which calls share limits, and what those limits are: the configuration, as quotas.

A boundary is one provider's key, or a model of it that has limits of its own: because the
operator wrote them, or because they are to be learned, which vendors grant by the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from sutlerd.admission.learning import Habits, Learner
from sutlerd.admission.levels import Past, carried, noted, resume
from sutlerd.admission.limits import Limit
from sutlerd.admission.quota import Quota
from sutlerd.admission.trial import begin
from sutlerd.config.schema_llm import LlmConfig
from sutlerd.config.schema_provider import RateLimits
from sutlerd.domain.call import Route

#: Callers may name any model; beyond so many boundaries a provider's calls share one.
_MOST_BOUNDARIES = 1024
#: Dialects whose providers count the answer as it is, not as ``max_tokens`` allows.
_COUNTS_REAL_OUTPUT = frozenset({"anthropic"})


class Boundaries:
    """One per daemon. A ``Learner`` of each boundary is made when its quota is.

    ``past`` is what an earlier life left, kept on for boundaries that this one does not use.
    """

    def __init__(self, llm: LlmConfig, *, past: Past | None = None, now_s: float) -> None:
        self._llm = llm
        self._past = past
        self._began_s = now_s
        self._of_route: dict[Route, str] = {}
        self._learners: dict[str, Learner] = {}

    def of(self, route: Route) -> str:
        """Give the name of a route's boundary."""
        known = self._of_route.get(route)
        if known is not None:
            return known
        name = self._name(route)
        if len(self._of_route) < _MOST_BOUNDARIES:
            self._of_route[route] = name
            return name
        return name if name in self._learners else route.provider

    def learner(self, boundary: str, now_s: float) -> Learner:
        known = self._learners.get(boundary)
        if known is None:
            known = self._learners[boundary] = self._made(boundary, now_s)
            if self._past is not None:
                resume(known, boundary, self._past_at(self._past, now_s), now_s)
        return known

    def noted(self, now_s: float) -> dict[str, Any]:
        """Give what is to be kept for the daemon's next life, by boundary."""
        unused = {} if self._past is None else carried(self._past_at(self._past, now_s))
        return unused | {name: noted(learner, now_s) for name, learner in self._learners.items()}

    def _past_at(self, past: Past, now_s: float) -> Past:
        age_s = past.age_s + max(0.0, now_s - self._began_s)
        return Past(boundaries=past.boundaries, age_s=age_s, clean=past.clean)

    def quota(self, boundary: str, now_s: float) -> Quota:
        return self.learner(boundary, now_s).quota

    def adopt(self, llm: LlmConfig, now_s: float) -> list[str]:
        """Go by another configuration; give the boundaries whose limits it changes."""
        before, self._llm = self._llm, llm
        self._of_route.clear()
        changed = [
            name for name in self._learners if _limits_at(before, name) != _limits_at(llm, name)
        ]
        for name in changed:
            new = self._made(name, now_s)
            self._learners[name].adopt(new.limits, new.quota, new.habits, now_s)
        return changed

    def counts_real_output(self, provider: str) -> bool:
        """Whether the provider counts what is answered, not what ``max_tokens`` allows."""
        settings = self._llm.providers.get(provider)
        return settings is not None and settings.dialect in _COUNTS_REAL_OUTPUT

    def _hears(self, provider: str) -> bool:
        """Whether headers are understood without a word of the operator's: a vendor's, whose
        meaning is documented. Other servers may count by the second or the day."""
        settings = self._llm.providers.get(provider)
        if settings is None or settings.local:
            return False
        return not settings.kind.endswith("_compatible")

    def _name(self, route: Route) -> str:
        limits = _provider_limits(self._llm, route.provider)
        if limits is None:
            return str(route) if self._hears(route.provider) else route.provider
        own = route.model in limits.models or (limits.auto and not _numbers(limits))
        return str(route) if own else route.provider

    def _made(self, boundary: str, now_s: float) -> Learner:
        provider = boundary.partition("/")[0]
        limits, share = _limits_at(self._llm, boundary)
        later = frozenset({"tokens", "tokens_out"}) if self.counts_real_output(provider) else ()
        if limits is None:
            # Nothing is promised and nothing limited, until the provider tells or refuses.
            hears = self._hears(provider)
            habits = Habits(learns=True, hears=hears, counts_later=frozenset(later))
            return Learner({}, Quota({}), habits)
        part = 1.0 if share is None else float(share)
        made = {
            name: Limit(
                name,
                number * part,
                own=None if limits.auto else number * part,
                burst_s=limits.burst_s,
                now_s=now_s,
            )
            for name, number in _numbers(limits).items()
        }
        quota = Quota(
            {name: limit.bucket for name, limit in made.items()},
            max_in_flight=limits.calls_in_flight,
        )
        quota.untried = begin(made.values(), now_s)
        habits = Habits(
            learns=limits.auto,
            careful=limits.auto,
            part=part,
            counts_later=frozenset(later),
        )
        return Learner(made, quota, habits)


def _provider_limits(llm: LlmConfig, provider: str) -> RateLimits | None:
    # A call under way may go to a provider that a reload has taken out: without limits.
    settings = llm.providers.get(provider)
    if settings is None or settings.limits is None:
        return llm.rate_limits.get(provider)
    return settings.limits


def _limits_at(llm: LlmConfig, boundary: str) -> tuple[RateLimits | None, Fraction | None]:
    """Give the limits of a boundary, and which part of them is this daemon's."""
    provider, _, model = boundary.partition("/")
    whole = _provider_limits(llm, provider)
    if whole is None:
        return None, None
    limits = whole.models.get(model, whole)
    settings = llm.providers.get(provider)
    share = settings.share if settings is not None else None
    return limits, limits.share or whole.share or share


def _numbers(limits: RateLimits) -> dict[str, int]:
    """Give the numbers that are written, by the names of buckets."""
    written: Mapping[str, int | None] = {
        "requests": limits.requests_per_minute,
        "tokens": limits.tokens_per_minute,
        "tokens_in": limits.input_tokens_per_minute,
        "tokens_out": limits.output_tokens_per_minute,
        "requests_per_day": limits.requests_per_day,
        "tokens_per_day": limits.tokens_per_day,
    }
    return {name: number for name, number in written.items() if number is not None}
