"""What a provider's words teach about one boundary's limits. Pure.

Its rate-limit headers move our buckets to its view, never above what the operator configured:
limits that we did not know, less remaining than we thought, others who use the same key. Its
refusals close the boundary for as long as they say; those that recur lower what we believe.
Who knows no limit begins carefully.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from sutlerd.admission.limits import Limit
from sutlerd.admission.quota import Quota, Sent
from sutlerd.admission.trial import let_pass
from sutlerd.domain.record import record

#: Calls in flight of somebody who knows no limit; one more with each answer.
FIRST_WINDOW = 4
_WIDENS_FAST = 16
_WIDENS_SLOWLY = 0.25
_TOOK_GAIN = 0.1
_SPREAD = 1.25
#: A refusal so soon after the one before recurs: the pause did not mend it.
_RECURS_WITHIN_S = 60.0
_MEMORY_S = 10.0
#: So many answers within the memory are a measure of what passes; fewer say nothing of a limit.
_MEASURE = 10.0
_LEAST_SUPPOSED_PER_MINUTE = 12.0
#: So long without a refusal, and what refusals alone have taught is doubted.
_CALM_S = 120.0
#: No vendor grants so much: a number beyond it, or below one, is a mistake.
_LARGEST = 1e12
NOTHING: Mapping[str, float] = MappingProxyType({})


@record
class Seen:
    """One limit as the provider tells it."""

    limit: float | None = None
    remaining: float | None = None


@record
class Habits:
    """How a boundary is treated.

    ``learns``: limits are made of what the provider tells or refuses. ``careful``: until one
    is known, few calls are in flight. ``hears``: headers count before any limit is known.
    ``part`` of all limits is ours. ``counts_later`` are limits of which the provider takes an
    amount only when it is known (real answers).
    """

    learns: bool = False
    careful: bool = False
    hears: bool = False
    part: float = 1.0
    counts_later: frozenset[str] = frozenset()


class Learner:
    """Learns for one quota, whose buckets are those of its limits."""

    def __init__(self, limits: Mapping[str, Limit], quota: Quota, habits: Habits) -> None:
        self.limits = dict(limits)
        self.quota = quota
        self.habits = habits
        self._newest_s: dict[str, float] = {}
        self._refused_s = -math.inf
        self._ramps = False
        self._answers = 0.0
        self._widens = 0.0
        self._took_s = 0.0
        self._began_s = 0.0
        self._grown_s: float | None = None
        if habits.careful and not limits:
            quota.window = FIRST_WINDOW

    @property
    def listens(self) -> bool:
        """Whether the provider's headers could teach anything."""
        habits = self.habits
        return bool(self.limits) or habits.careful or habits.hears or self.quota.window is not None

    @property
    def counts_tokens(self) -> bool:
        """Whether it matters how many tokens a call takes."""
        habits = self.habits
        return (
            habits.careful or habits.hears or any(name.startswith("tokens") for name in self.limits)
        )

    def adopt(
        self, limits: Mapping[str, Limit], quota: Quota, habits: Habits, now_s: float
    ) -> None:
        """Go by other settings; levels, calls in flight and what was learned are carried over.

        What the settings neither name nor let be learned is no limit any more.
        """
        self.habits = habits
        self.quota.max_in_flight = quota.max_in_flight
        raised = [
            name
            for name, limit in limits.items()
            if name not in self.limits or limit.said > (self.limits[name].own or 0.0)
        ]
        self.quota.untried = {
            name: small
            for name, small in quota.untried.items()
            if name in raised or name in self.quota.untried
        }
        if not (habits.careful and not self.limits):
            self.quota.window = None
        kept = {
            name: limit
            for name, limit in self.limits.items()
            if habits.learns and limit.own is None
        }
        for name, new in limits.items():
            known = kept[name] = self.limits.get(name, new)
            if known is not new:
                known.adopt(new, now_s)
        self.limits = kept
        self.quota.buckets = {name: limit.bucket for name, limit in kept.items()}

    def recall(self, name: str, *, said: float, cut: float, now_s: float) -> None:
        """Go on with what an earlier life learned of a limit; what is configured wins."""
        known = self.limits.get(name)
        if known is not None:
            known.recall(cut, now_s)
        elif self.habits.learns and 1 <= min(said, cut) <= _LARGEST:
            self._add(Limit(name, said, now_s=now_s, cut=cut))
            self.quota.window = None

    def answered(
        self, now_s: float, need: Mapping[str, float] = NOTHING, *, sent_s: float = math.inf
    ) -> None:
        """Hear of a call that was let pass: believe a little more with the time.

        ``sent_s`` is when it was sent.
        """
        if self.quota.untried:
            let_pass(self.quota.untried, self.quota.buckets, need, now_s)
        if self._grown_s is None or now_s - self._grown_s > _MEMORY_S:
            self._began_s = now_s
        passed_s = 0.0 if self._grown_s is None else max(0.0, now_s - self._grown_s)
        self._grown_s = now_s
        self._answers = self._answers * math.exp(-passed_s / _MEMORY_S) + 1.0
        if self.quota.window is not None:
            self._widen(self.quota.window, now_s - sent_s, now_s)
        calm = now_s - self._refused_s > _CALM_S
        for limit in self.limits.values():
            limit.grow(
                min(passed_s, 2 * _MEMORY_S), now_s, ramps=self._ramps, calm=calm, sent_s=sent_s
            )

    def _widen(self, window: int, took_s: float, now_s: float) -> None:
        """One more with each answer; later fewer, where a whole burst is likely to be granted
        before the limit shows: what is under way then is refused. Spread over the time that an
        answer takes."""
        if took_s > 0 and self.habits.careful:
            self._took_s += (took_s - self._took_s) * (_TOOK_GAIN if self._took_s else 1.0)
            self.quota.spread(_SPREAD * window / self._took_s, now_s)
        self._widens += 1.0 if window < _WIDENS_FAST or not self.habits.careful else _WIDENS_SLOWLY
        if self._widens >= 1.0:
            self._widens -= 1.0
            self.quota.window = window + 1

    def told(
        self,
        seen: Mapping[str, Seen],
        need: Mapping[str, float],
        sent: Sent,
        now_s: float,
        *,
        used: Mapping[str, float] = NOTHING,
    ) -> None:
        """Hear what the headers say that came with the answer to an attempt.

        ``used`` is what it turned out to need; it has not ended yet.
        """
        for name, view in seen.items():
            if name == "tokens" and ("tokens_in" in seen or "tokens_out" in seen):
                continue  # Anthropic's: whichever of the two is the tightest
            limit = self.limits.get(name)
            if view.limit is not None and 1 <= view.limit <= _LARGEST:
                ours = view.limit * self.habits.part
                if limit is None:
                    if self.habits.learns:
                        self._find(name, ours, view, need, now_s)
                    continue
                self.quota.untried.pop(name, None)
                limit.is_said(ours, now_s)
            if limit is not None and view.remaining is not None and 0 <= view.remaining <= _LARGEST:
                self._compare(limit, view, sent, need.get(name, 0.0), used.get(name), now_s)

    def refused(
        self,
        need: Mapping[str, float],
        seen: Mapping[str, Seen],
        sent: Sent,
        *,
        pause_s: float,
        ramp: bool,
        now_s: float,
    ) -> None:
        """Hear of a refusal for too much at once, and what its headers say.

        Attempts sent before the last refusal was heard of teach nothing more.
        """
        self.quota.close_until(now_s + pause_s)
        had = {name: self._stood(limit, sent) for name, limit in self.limits.items()}
        self.told(seen, need, sent, now_s)
        if sent.at_s <= self._refused_s:
            for limit in self.limits.values():
                limit.hear_hint(pause_s, now_s)
            return
        recurs = now_s - self._refused_s <= _RECURS_WITHIN_S + pause_s
        self._refused_s = now_s
        self._ramps = ramp
        self.quota.window = None
        self.quota.untried.clear()
        if not self.limits and self.habits.learns:
            self._suppose(pause_s, now_s, recurs=recurs)
            return
        for name, limit in _blamed(self.limits, need, seen).items():
            amount = need.get(name, 0.0)
            if ramp:
                limit.decrease(now_s, used=amount * self._answers / _MEMORY_S * limit.window_s)
            if limit.supposed is not None and not ramp:
                taken = sent.taken.get(name)
                limit.pace_refused(
                    amount,
                    taken=None if taken is None else taken - amount,
                    sent_s=sent.at_s,
                    pause_s=pause_s,
                    now_s=now_s,
                )
                limit.supposed.begins(self.quota.taken.get(name, 0.0), now_s)
                continue
            limit.refused(
                amount,
                excess=had.get(name, 0.0),
                pause_s=pause_s,
                recurs=recurs and not ramp,
                now_s=now_s,
            )

    def _find(
        self, name: str, ours: float, view: Seen, need: Mapping[str, float], now_s: float
    ) -> None:
        """Make a limit of what was told; calls under way may not be in what remains."""
        level = ours
        if view.remaining is not None and 0 <= view.remaining <= _LARGEST:
            under_way = max(0, self.quota.in_flight - 1) * need.get(name, 0.0)
            level = view.remaining * self.habits.part - under_way
            self.quota.reserved[name] = under_way
        limit = Limit(name, ours, now_s=now_s, level=level)
        if view.remaining is not None:
            limit.has_held(view.remaining * self.habits.part + self._counted(name, need), now_s)
        self._add(limit)
        self.quota.window = None

    def _counted(self, name: str, need: Mapping[str, float]) -> float:
        """Give what an answer's own attempt has surely taken of the level that it tells."""
        return 0.0 if name in self.habits.counts_later else need.get(name, 0.0)

    def _suppose(self, pause_s: float, now_s: float, *, recurs: bool) -> None:
        """Make a limit of what was let pass before a refusal that told none.

        One refusal after few answers may have had any reason: then few calls are in flight for
        a while. Where it recurs a low pace is tried, which doubles until it is refused, too.
        """
        passed_s = 0.0 if self._grown_s is None else max(0.0, now_s - self._grown_s)
        answers = self._answers * math.exp(-passed_s / _MEMORY_S)
        enough = answers >= _MEASURE
        if not enough and not recurs:
            self.quota.window, self.quota.paced = FIRST_WINDOW, None
            return
        cut = max(0.8 * answers / _MEMORY_S * 60.0, _LEAST_SUPPOSED_PER_MINUTE)
        level = min(1.0 - pause_s * cut / 60.0, 0.0)
        # What passed in a moment was a burst that somebody grants, and no pace.
        measured = enough and now_s - self._began_s >= _MEMORY_S
        limit = Limit("requests", math.inf, now_s=now_s, cut=cut, level=level, measured=measured)
        if limit.supposed is not None:
            limit.supposed.begins(self.quota.taken.get("requests", 0.0), now_s)
            limit.hear_hint(pause_s, now_s)
        self._add(limit)

    def _add(self, limit: Limit) -> None:
        self.limits[limit.name] = limit
        self.quota.buckets[limit.name] = limit.bucket

    def _compare(
        self,
        limit: Limit,
        view: Seen,
        sent: Sent,
        need: float,
        used: float | None,
        now_s: float,
    ) -> None:
        """Move the bucket by what the provider saw less or more than we did.

        Both are compared as they stood when the attempt was sent, so that calls sent since
        do not count as somebody else's. Of what is counted later, what is set aside for calls
        under way is not missing with the provider yet.
        """
        name = limit.name
        if name not in sent.stood or sent.at_s < self._newest_s.get(name, -math.inf):
            return
        self._newest_s[name] = sent.at_s
        assert view.remaining is not None
        theirs = view.remaining * self.habits.part
        if name in self.habits.counts_later:
            limit.has_held(theirs, now_s)
            off = theirs - limit.bucket.level(now_s) - self.quota.reserved.get(name, 0.0)
            limit.differs(off, later=0.0, may_rise=False, now_s=now_s)
            return
        passed_s, stood = now_s - sent.at_s, self._stood(limit, sent)
        # What was foreseen too much the provider never took.
        unused = 0.0 if used is None else need - used
        held = theirs + need - max(unused, 0.0)
        if limit.full < held and stood + need >= limit.bucket.capacity - 1e-6:
            # Ours was full, but of less than theirs can hold.
            limit.has_held(held, now_s)
            surely = theirs - stood - passed_s * limit.bucket.per_s - self.quota.reserved[name]
            limit.bucket.move(max(0.0, surely), now_s)
            stood = self._stood(limit, sent)
        unused += self.quota.returned.get(name, 0.0) - sent.returned.get(name, 0.0)
        limit.differs(
            theirs - stood - unused,
            later=self.quota.taken[name] - sent.taken[name],
            may_rise=limit.said == view.limit,
            now_s=now_s,
            passed_s=passed_s,
        )
        limit.has_held(held, now_s)

    @staticmethod
    def _stood(limit: Limit, sent: Sent) -> float:
        """Tell how a bucket stood after an attempt was sent, as we think today."""
        stood = sent.stood.get(limit.name, 0.0) + limit.bucket.moved
        return min(stood, limit.bucket.capacity)


def _blamed(
    limits: Mapping[str, Limit], need: Mapping[str, float], seen: Mapping[str, Seen]
) -> dict[str, Limit]:
    """Choose the limits that can have refused: those used up by the provider's own word, else
    all of a minute that it does not clear."""
    left = {name: view.remaining for name, view in seen.items() if view.remaining is not None}
    used_up = {
        name: limit
        for name, limit in limits.items()
        if name in left and left[name] < need.get(name, 0.0)
    }
    if used_up:
        return used_up
    return {
        name: limit
        for name, limit in limits.items()
        if name not in left and not name.endswith("_per_day")
    }
