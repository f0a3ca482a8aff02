"""One limit of a boundary: what it is said to be, what it is believed to be, and its bucket.

Said by the operator or by the provider's headers; believed less of after refusals that recur
(multiplicative decrease), and a little more with every second that passes without (additive
increase); and less what others who use the same key are seen to take of it. Pure.
"""

from __future__ import annotations

import math

from sutlerd.admission.bucket import Bucket
from sutlerd.admission.supposed import Supposed

#: A provider's bucket begins to refill when the first call arrives, ours when it leaves: what
#: refills in between must not be spent. At most this long, and this part of a full bucket.
ARRIVAL_MARGIN_S = 0.25
ARRIVAL_MARGIN_PART = 0.25

_DAY_S = 86_400.0
_MINUTE_S = 60.0
_DECREASE = 0.8
#: A quarter of what is left after a decrease comes back in a minute.
_INCREASE_PER_S = 0.25 / 60.0
#: Where a provider says that use grew too fast: by half in a quarter of an hour.
_RAMP_PER_S = math.log(1.5) / 900.0
_LEAST_PER_WINDOW = 1.0
#: So much is saved up however little was seen: a timer that is late must not lose what refills.
_LEAST_BURST_S = 0.25
#: Of a limit that nobody told a single call may need any amount.
_UNBOUNDED = 1e18
#: Others are never believed to take all: some call must go out to find that they stopped.
_MOST_TAKEN_BY_OTHERS = 0.8
_OTHERS_LOOK_S = 0.5
_OTHERS_LOOKS = 4
_OTHERS_GAIN = 0.5
_OTHERS_NOISE = 0.02
_OTHERS_FADE = 0.9
_MANY = 8
_RISE_LOOK_S = 1.0
#: Differences as small as this come of rounding.
_NOISE_AMOUNT = 1.0
_NOISE_PART = 0.002


def window_s(name: str) -> float:
    """Give the seconds that a limit of this name counts over."""
    return _DAY_S if name.endswith("_per_day") else _MINUTE_S


class Limit:
    """A limit and its bucket. Amounts are per window: a minute, or a day.

    ``own`` is the operator's number, which is never exceeded; ``None``: there is none, and the
    provider's word counts. ``said`` is infinite where nobody says a number, and only ``cut``,
    what refusals taught (``supposed``), is known. ``burst_s`` is how much of the refill a full
    bucket holds; ``full`` is the most that the provider was ever seen to hold, which may be less.
    """

    def __init__(
        self,
        name: str,
        said: float,
        *,
        now_s: float,
        own: float | None = None,
        burst_s: float | None = None,
        level: float | None = None,
        cut: float = math.inf,
        measured: bool = True,
    ) -> None:
        self.name = name
        self.window_s = window_s(name)
        self.own = own
        self.said = said
        self.burst_s = self.window_s if burst_s is None else min(self.window_s, burst_s)
        self.cut = cut
        self.held = math.inf
        self.full = math.inf
        self.others_per_s = 0.0
        self.supposed: Supposed | None = None
        if said == math.inf:
            self.supposed = Supposed(cut / self.window_s, measured=measured)
        self._cut_at = min(said, cut)
        self._seen = 0
        self._lowest = math.inf
        self._lowest_since_s = now_s
        self._drift = 0.0
        self._looks = 0
        self._looked_s = now_s
        per_s = self.believed / self.window_s
        self.bucket = Bucket(per_s=per_s, capacity=self._most(), now_s=now_s, level=level)
        self._apply(now_s)

    @property
    def believed(self) -> float:
        """Give what is believed to be granted in a window, to all who use the key."""
        return min(self.said, self.cut)

    def is_said(self, limit: float, now_s: float) -> None:
        """Hear what the limit is; what the operator wrote is never exceeded."""
        said = limit if self.own is None else min(self.own, limit)
        if said != self.said:
            self.full *= said / self.said if math.isfinite(self.said) else math.inf
            self.said, self.supposed = said, None
            per_s, most = self.believed / self.window_s, self._most()
            if most < self.bucket.most < _UNBOUNDED:
                self.bucket.shrink(per_s=per_s, capacity=most, now_s=now_s)
            else:
                self.bucket.resize(per_s=per_s, capacity=most, now_s=now_s)
            self._apply(now_s)

    def adopt(self, settings: Limit, now_s: float) -> None:
        """Go by other settings; the level stays in proportion, and what refusals taught."""
        self.own, self.burst_s, self.said = settings.own, settings.burst_s, settings.said
        self.supposed = None
        per_s = self.believed / self.window_s
        self.bucket.resize(per_s=per_s, capacity=self._most(), now_s=now_s)
        self._apply(now_s)

    def has_held(self, amount: float, now_s: float) -> None:
        """Hear that the provider's bucket held so much.

        A minute's refill is what most grant at once, but not all: no more is saved up than was
        ever there to be seen.
        """
        if self.full == math.inf or amount > self.full:
            self.full = amount
            self._apply(now_s)

    def recall(self, cut: float, now_s: float) -> None:
        """Go on believing what refusals of an earlier life taught."""
        if _LEAST_PER_WINDOW <= cut < self.said:
            self.cut = self._cut_at = cut
            self._apply(now_s)

    def differs(
        self, off: float, *, later: float, may_rise: bool, now_s: float, passed_s: float = 0.0
    ) -> None:
        """Hear by how much the provider's level was above ours when an attempt was sent.

        ``later`` is what we took since: some of that may be in the provider's number, too, so
        a lack beyond it is surely somebody else's use. More than we thought is believed only
        where every difference of some time says so, and all but what refills on the way: in
        the ``passed_s`` since it was sent, as the number may be of the answer's end.
        """
        noise = max(_NOISE_AMOUNT, _NOISE_PART * self.bucket.capacity)
        move = min(0.0, off + later)
        if move > -noise:
            move = 0.0
            self._seen += 1
            self._lowest = min(self._lowest, off - passed_s * self.bucket.per_s)
            if self._seen > _MANY and now_s - self._lowest_since_s >= _RISE_LOOK_S:
                surely = self._lowest - max(noise, ARRIVAL_MARGIN_S * self.bucket.per_s)
                move = surely if may_rise and surely > 0 else 0.0
                self._look_for_rise(now_s)
        else:
            self._look_for_rise(now_s)
        self._is_off_by(move, now_s)

    def _look_for_rise(self, now_s: float) -> None:
        self._seen, self._lowest, self._lowest_since_s = 0, math.inf, now_s

    def _is_off_by(self, amount: float, now_s: float) -> None:
        """Move the level; a steady drift is what others take, and ours refills slower by it."""
        self.bucket.move(amount, now_s)
        self._drift += amount
        self._looks += 1
        passed_s = now_s - self._looked_s
        if passed_s < _OTHERS_LOOK_S or self._looks < _OTHERS_LOOKS:
            return
        per_s = self.believed / self.window_s
        drift_per_s = -self._drift / passed_s
        self._drift, self._looks, self._looked_s = 0.0, 0, now_s
        if abs(drift_per_s) < _OTHERS_NOISE * per_s:
            self.others_per_s *= _OTHERS_FADE
        else:
            self.others_per_s += _OTHERS_GAIN * drift_per_s
        self.others_per_s = min(max(self.others_per_s, 0.0), _MOST_TAKEN_BY_OTHERS * per_s)
        self._apply(now_s)

    def refused(
        self, need: float, *, excess: float, pause_s: float, recurs: bool, now_s: float
    ) -> None:
        """Hear that the provider's bucket had no ``need`` when ours had ``excess`` more.

        When the pause is over it holds just what was refused. The first time ours held too
        much; if it recurs, ours refills too fast.
        """
        bucket = self.bucket
        if recurs:
            self.decrease(now_s)
        elif excess > 0:
            least = max(need, 0.05 * bucket.most)
            self.held = min(self.held, max(least, bucket.capacity - excess))
            self._apply(now_s)
        target = min(need, bucket.capacity) - pause_s * bucket.per_s
        bucket.lower_to(max(target, min(0.0, need - bucket.capacity)), now_s)

    def pace_refused(
        self, need: float, *, taken: float | None, sent_s: float, pause_s: float, now_s: float
    ) -> None:
        """Hear of a refusal where the pace is only supposed.

        ``taken`` is what had been taken when what was refused was sent, at ``sent_s``.
        """
        supposed, bucket = self.supposed, self.bucket
        assert supposed is not None
        supposed.refused(math.nan if taken is None else taken, sent_s)
        self._go_by(supposed, now_s)
        bucket.lower_to(min(need, bucket.capacity) - pause_s * bucket.per_s, now_s)

    def hear_hint(self, pause_s: float, now_s: float) -> None:
        """Hear after how long what was refused first is said to pass."""
        if self.supposed is not None:
            self.supposed.hinted(pause_s)
            self._go_by(self.supposed, now_s)

    def _go_by(self, supposed: Supposed, now_s: float) -> None:
        self.cut = self._cut_at = max(supposed.per_s * self.window_s, _LEAST_PER_WINDOW)
        supposed.per_s = self.cut / self.window_s
        self._apply(now_s)

    def decrease(self, now_s: float, *, used: float = math.inf) -> None:
        """Believe less, multiplicatively. ``used`` is what we took per window of late."""
        lower = min(_DECREASE * self.believed, used)
        self.cut = self._cut_at = max(lower, _LEAST_PER_WINDOW)
        self._apply(now_s)

    def grow(
        self,
        passed_s: float,
        now_s: float,
        *,
        ramps: bool,
        calm: bool = False,
        sent_s: float = math.inf,
    ) -> None:
        """Believe more again, additively, or as slowly as a ramp limit wants it; ever faster
        where nobody tells a number and it is ``calm``: nothing was refused for some time."""
        if self.cut == self.held == math.inf:
            return
        if self.supposed is not None and not ramps:
            if self.bucket.level(now_s) >= max(1.0, 0.5 * self.bucket.capacity):
                self.supposed.was_idle()  # more of it would teach nothing
            else:
                self.supposed.grow(passed_s, sent_s=sent_s, calm=calm)
                self._go_by(self.supposed, now_s)
            return
        if ramps:
            self.cut *= math.exp(passed_s * _RAMP_PER_S)
        else:
            self.cut += self._cut_at * _INCREASE_PER_S * passed_s
        if self.held < math.inf:
            self.held += self.bucket.most * _INCREASE_PER_S * passed_s
        if self.cut >= self.said:
            self.cut = math.inf
        if self.held >= self.bucket.most:
            self.held = math.inf
        self._apply(now_s)

    def _most(self) -> float:
        """Give what a full bucket holds, and so the largest call that can ever pass."""
        if self.said == math.inf:
            return _UNBOUNDED
        per_s = self.said / self.window_s
        return _less_margin(per_s * self.burst_s, per_s)

    def _apply(self, now_s: float) -> None:
        per_s = self.believed / self.window_s
        full = max(_less_margin(self.full, per_s), per_s * _LEAST_BURST_S)
        capacity = min(self.bucket.most, self.held, full)
        if self.supposed is not None:
            capacity = max(1.0, per_s * self.supposed.burst_s)
        per_s = max(per_s - self.others_per_s, (1 - _MOST_TAKEN_BY_OTHERS) * per_s)
        self.bucket.believe(per_s=per_s, capacity=capacity, now_s=now_s)


def _less_margin(full: float, per_s: float) -> float:
    return max(full - min(per_s * ARRIVAL_MARGIN_S, full * ARRIVAL_MARGIN_PART), 1.0)
