"""Limits that are written but that no reply has confirmed yet. Pure.

What is configured may be more than the provider grants, and a whole burst would learn it by as
many refusals. So until the provider has told the limit, each written one has a smaller bucket
beside its own that a call must pass, too. It refills as fast, so that nobody who wrote the truth
loses time, but holds only a part of the burst. Each call that is let pass widens it by half as
much again as that call took; at the first header that tells the limit, at the first refusal, or
when it is as wide as the true one, it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sutlerd.admission.bucket import Bucket
from sutlerd.admission.limits import Limit

_PART = 1 / 16
_FIRST_CALLS = 4.0
#: An answer makes room for so many calls like it: half as many again are under way each time.
_GROWTH = 1.5
#: Of a limit over a day no burst is likely to be more than is left.
_ONLY = frozenset({"requests", "tokens", "tokens_in", "tokens_out"})


def begin(limits: Iterable[Limit], now_s: float) -> dict[str, Bucket]:
    """Give the small buckets, by the limits' names."""
    small = {}
    for limit in limits:
        capacity = limit.bucket.capacity * _PART
        if limit.name == "requests":
            capacity = max(capacity, _FIRST_CALLS)
        if limit.name in _ONLY and capacity < limit.bucket.capacity:
            bucket = Bucket(per_s=limit.bucket.per_s, capacity=capacity, now_s=now_s)
            bucket.most = limit.bucket.most
            small[limit.name] = bucket
    return small


def let_pass(
    untried: dict[str, Bucket],
    buckets: Mapping[str, Bucket],
    need: Mapping[str, float],
    now_s: float,
) -> None:
    """Hear that a call which took ``need`` was answered: widen, and end what is wide enough."""
    for name, bucket in list(untried.items()):
        amount = _GROWTH * need.get(name, 0.0)
        bucket.capacity += amount
        bucket.give_back(amount, now_s)
        if name not in buckets or bucket.capacity >= buckets[name].capacity:
            del untried[name]
