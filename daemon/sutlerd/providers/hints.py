"""What a provider's headers say of time and limits. Pure.

Durations as providers spell them, the hint when to try again, and the rate-limit headers in
one shape. Senseless values count as not said: a wrong hint must never become a crash, a
negative or an endless wait.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from sutlerd.domain.record import record
from sutlerd.providers.contract import LimitView, RateLimitView

#: What a hint that makes no sense, but says "wait", counts as.
SENSELESS_HINT_S = 60.0
#: No honest hint is longer: a longer one counts as senseless.
LONGEST_HINT_S = 24 * 3600.0

_GO_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|h|m|s)")
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
#: Plain numbers from here on are a moment since 1970, and from there on in milliseconds.
_EPOCH_FROM = 1e9
_EPOCH_MS_FROM = 1e11


@record
class LimitHeaders:
    """The headers that tell of one kind of ``RateLimitView``."""

    kind: str
    limit: str
    remaining: str
    reset: str


def retry_after_s(headers: Mapping[str, str], arrived_unix_s: float) -> float | None:
    """Give the hint of ``retry-after-ms``, else of ``retry-after``: positive seconds.

    Over 24 h or not finite counts as 60 s; zero, negative or unreadable as no hint. A date is
    compared with the reply's own ``date``: the provider's clock may differ from ours.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        hint = sensible_hint_s(milliseconds / 1000)
        if hint is not None:
            return hint
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None:
        return sensible_hint_s(seconds)
    moment = _http_date(text)
    return None if moment is None else sensible_hint_s(moment - now_unix_s(headers, arrived_unix_s))


def sensible_hint_s(seconds: float) -> float | None:
    """Bound a hint as described at ``retry_after_s``."""
    if not math.isfinite(seconds) or seconds > LONGEST_HINT_S:
        return SENSELESS_HINT_S
    return seconds if seconds > 0 else None


def now_unix_s(headers: Mapping[str, str], arrived_unix_s: float) -> float:
    """Give the moment of the reply on its sender's clock: its ``date``, else our own."""
    moment = _http_date(headers.get("date"))
    return arrived_unix_s if moment is None else moment


def duration_s(text: str | None) -> float | None:
    """Read Go's spelling (``6m0s``, ``2m59.56s``, ``20ms``) or plain seconds; ``None``: neither."""
    if text is None:
        return None
    text = text.strip()
    total, end = 0.0, 0
    for part in _GO_DURATION.finditer(text):
        if part.start() != end:
            return None
        total += float(part[1]) * _UNIT_S[part[2]]
        end = part.end()
    if end and end == len(text):
        return total
    return _number(text)


def reset_s(text: str | None, now_s: float) -> float | None:
    """Read when a limit is whole again, in seconds from now, 0 if that is past.

    Takes a duration, an RFC 3339 moment, or a moment since 1970 in seconds or milliseconds.
    ``None`` for what cannot be read or makes no sense.
    """
    if text is None:
        return None
    seconds = duration_s(text)
    if seconds is None:
        moment = _rfc3339(text.strip())
        if moment is None:
            return None
        seconds = max(0.0, moment - now_s)
    elif seconds >= _EPOCH_MS_FROM:
        seconds = max(0.0, seconds / 1000 - now_s)
    elif seconds >= _EPOCH_FROM:
        seconds = max(0.0, seconds - now_s)
    # Windows of a month exist; a year is a mistake.
    return seconds if math.isfinite(seconds) and 0 <= seconds < 366 * 86400 else None


def read_limits(
    headers: Mapping[str, str], names: Iterable[LimitHeaders], arrived_unix_s: float
) -> RateLimitView | None:
    """Read headers into one shape. A negative or unreadable number is left out; ``None`` if
    nothing was said."""
    now_s: float | None = None
    limits: dict[str, LimitView] = {}
    for name in names:
        limit = _amount(headers.get(name.limit))
        remaining = _amount(headers.get(name.remaining))
        if limit is None and remaining is None:
            continue
        if now_s is None:
            now_s = now_unix_s(headers, arrived_unix_s)
        until_s = reset_s(headers.get(name.reset), now_s)
        limits[name.kind] = LimitView(limit=limit, remaining=remaining, reset_s=until_s)
    return RateLimitView(limits=limits) if limits else None


def exhausted_reset_s(view: RateLimitView | None) -> float | None:
    """Give how long the limits that are used up stay so; ``None`` if none is, or none says."""
    if view is None:
        return None
    waits = [
        limit.reset_s
        for limit in view.limits.values()
        if limit.remaining is not None and limit.remaining < 1 and limit.reset_s
    ]
    return sensible_hint_s(max(waits)) if waits else None


def _number(text: str | None) -> float | None:
    """Read a number; ``nan`` and ``inf`` are ones, underscores and blanks inside are not."""
    if text is None or "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return math.inf if math.isnan(number) else number


def _amount(text: str | None) -> float | None:
    number = _number(text)
    return number if number is not None and math.isfinite(number) and number >= 0 else None


def _http_date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _rfc3339(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None
