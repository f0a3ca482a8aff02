"""What is kept of a boundary's levels from one life of the daemon to the next. Pure.

After a clean stop levels go on where they were, and have refilled since. After a crash nobody
knows what was sent after the last note: then they begin at what cannot overrun.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sutlerd.admission.learning import Learner
from sutlerd.admission.limits import Limit
from sutlerd.domain.record import record

#: Levels are noted so often while the daemon runs, for the case that it crashes.
NOTED_EVERY_S = 10.0
#: A day's limit is only bounded by a minute's; this much is one window of it.
_WINDOW_S = 60.0
#: After so long every bucket is full again, those of a day, too.
_FORGOTTEN_AFTER_S = 86_400.0


@record
class Past:
    """What an earlier life left. ``age_s`` is the time since it was written, at least 0.

    ``boundaries`` is what ``noted`` gave, by boundary; ``clean``: nothing was sent after.
    """

    boundaries: Mapping[str, Any]
    age_s: float
    clean: bool


def noted(learner: Learner, now_s: float) -> dict[str, Any]:
    """Give what to keep of a boundary, as JSON can hold it."""
    return {
        "closed_s": learner.quota.closed_s(now_s),
        "limits": {
            name: {
                "level": limit.bucket.level(now_s),
                "said": _finite(limit.said),
                "cut": _finite(limit.cut),
                "full": _finite(limit.full),
                "own": limit.own,
                "tried": name not in learner.quota.untried,
            }
            for name, limit in learner.limits.items()
        },
    }


def carried(past: Past) -> dict[str, Any]:
    """Give what is to be kept on of boundaries that this life, which begins at ``past``, never
    used: a life between must not make them full."""
    entries = {
        name: {
            **kept,
            "age_s": past.age_s + max(0.0, _number(kept.get("age_s"))),
            "clean": past.clean and kept.get("clean") is not False,
        }
        for name, kept in past.boundaries.items()
        if isinstance(kept, dict)
    }
    return {name: kept for name, kept in entries.items() if kept["age_s"] < _FORGOTTEN_AFTER_S}


def resume(learner: Learner, boundary: str, past: Past, now_s: float) -> None:
    """Begin a new boundary where an earlier life left it. Overlooks what makes no sense."""
    kept = past.boundaries.get(boundary)
    kept = kept if isinstance(kept, dict) else {}
    age_s = past.age_s + max(0.0, _number(kept.get("age_s")))
    clean = past.clean and kept.get("clean") is not False
    closed_s = _number(kept.get("closed_s")) - age_s
    if 0 < closed_s < math.inf:
        learner.quota.close_until(now_s + closed_s)
    limits = kept.get("limits")
    limits = limits if isinstance(limits, dict) else {}
    for name, entry in limits.items():
        if isinstance(entry, dict):
            learner.recall(
                name,
                said=_number(entry.get("said"), math.inf),
                cut=_number(entry.get("cut"), math.inf),
                now_s=now_s,
            )
    for name, limit in learner.limits.items():
        entry = limits.get(name)
        level = None
        if isinstance(entry, dict):
            level = _number(entry.get("level"))
            if _number(entry.get("full")) > 0 and entry.get("own") == limit.own:
                limit.has_held(_number(entry.get("full")), now_s)
            if entry.get("tried") is True and entry.get("own") == limit.own:
                _goes_on(learner, limit, _number(entry.get("said")), now_s)
        if clean:
            if level is not None:
                limit.bucket.lower_to(level + age_s * limit.bucket.per_s, now_s)
        else:
            limit.bucket.lower_to(_after_a_crash(limit, level, learner, age_s), now_s)


def _goes_on(learner: Learner, limit: Limit, said: float, now_s: float) -> None:
    """Believe what the provider confirmed of a limit that is written as it was then."""
    learner.quota.untried.pop(limit.name, None)
    if said >= 1:
        limit.is_said(said, now_s)


def _after_a_crash(limit: Limit, level: float | None, learner: Learner, age_s: float) -> float:
    """Give the least that can be in a bucket whose last note is ``age_s`` old.

    The crash came at most ``NOTED_EVERY_S`` after the note. Of a minute's limit everything may
    have been sent by then; of a day's only as much as the minute's let pass.
    """
    refilled = max(0.0, age_s - NOTED_EVERY_S) * limit.bucket.per_s
    minute = learner.limits.get(limit.name.removesuffix("_per_day"))
    if minute is None or minute is limit or level is None:
        return min(0.0, level or 0.0) + refilled
    sent = minute.bucket.most + NOTED_EVERY_S * minute.said / _WINDOW_S
    return max(0.0, level - sent) + refilled


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: object, otherwise: float = 0.0) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return otherwise
    return float(value)
