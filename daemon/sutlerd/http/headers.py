"""The daemon's own headers: what a request may say in them, what an answer says. Pure.

They are the wire's parameters that neither API has a word for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from sutlerd.domain.errors import InvalidParams
from sutlerd.http.calls import Told
from sutlerd.telemetry.trace_context import read_traceparent

_REQUEST_NAME = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_SHOWN = 100
#: Where the SDKs tell their own time limit: those of Python, and those of other languages.
_SDKS_PATIENCE = ("X-Stainless-Read-Timeout", "X-Stainless-Timeout")
#: An SDK's own time limit comes first, so that it raises what its callers catch; that it leaves
#: ends the call, too.
_GRACE_S = 1.0

#: (limit, remaining, reset_s) by the name of a bucket.
Shares = Mapping[str, tuple[float, float, float]]


def options(headers: Mapping[str, str], *, stream: Any = False) -> dict[str, Any]:
    """Give the parameters that a request's headers say. Raises ``InvalidParams``.

    ``x-sutler-labels`` is ``name=value`` with commas between; ``x-sutler-cache`` and
    ``x-sutler-lane`` are words of the wire, ``x-sutler-timeout`` is its ``timeout_s``.
    ``idempotency-key`` is the ``request_id``, a ``traceparent`` that is one that of ``metadata``.
    ``stream`` is the request's own word: there an SDK's time limit is for each piece.
    """
    found: dict[str, Any] = {}
    labels = _labels(_readable(headers, "X-Sutler-Labels") or "")
    if labels:
        found["labels"] = labels
    traceparent = headers.get("Traceparent")
    if read_traceparent(traceparent) is not None:
        found["metadata"] = {"traceparent": traceparent}
    for header, name in (("X-Sutler-Lane", "lane"), ("X-Sutler-Cache", "cache")):
        said = _readable(headers, header)
        if said is not None:
            found[name] = said
    timeout_s = _timeout_s(headers, streams=stream is True)
    if timeout_s is not None:
        found["timeout_s"] = timeout_s
    key = headers.get("Idempotency-Key")
    if key is not None:
        if not _REQUEST_NAME.fullmatch(key):
            raise InvalidParams("idempotency-key: must be 1 to 128 of A-Z a-z 0-9 . _ : / + = -")
        found["request_id"] = key
    return found


def _readable(headers: Mapping[str, str], header: str) -> str | None:
    """Give a header that is text: bytes that are none become characters that nobody can keep."""
    said = headers.get(header)
    if said is not None and not said.isascii():
        try:
            said.encode()
        except UnicodeEncodeError:
            raise InvalidParams(f"{header.lower()}: must be text in UTF-8") from None
    return said


def _timeout_s(headers: Mapping[str, str], *, streams: bool) -> float | None:
    """Give for how long this client waits, as far as it says so."""
    said = headers.get("X-Sutler-Timeout")
    if said is not None:
        seconds = _seconds(said)
        if seconds is None:
            raise InvalidParams("x-sutler-timeout: must be seconds, more than 0")
        return seconds
    for header in () if streams else _SDKS_PATIENCE:
        patience_s = _seconds(headers.get(header, ""))
        if patience_s is not None:
            return patience_s + _GRACE_S
    return None


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds < math.inf else None


def _labels(text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, value = pair.strip().partition("=")
        if not name and not equals:
            continue
        if not name or not equals:
            raise InvalidParams(f"x-sutler-labels: {pair.strip()[:_SHOWN]!r} is not name=value")
        labels[name.strip()] = value.strip()
    return labels


def about(told: Told) -> dict[str, str]:
    """Tell how an answer came about."""
    reply = told.answer.reply
    said = {
        "x-sutler-request-id": told.request_id,
        "x-sutler-cached": _truth(told.answer.cached),
        "x-sutler-coalesced": _truth(told.coalesced),
        "x-sutler-provider": str(reply["provider"]),
        "x-sutler-waited-ms": f"{told.answer.trace.get('queued_ms', 0.0):g}",
    }
    if told.cost_nanousd is not None:
        said["x-sutler-cost-nanousd"] = str(told.cost_nanousd)
    if told.saved_nanousd is not None:
        said["x-sutler-saved-nanousd"] = str(told.saved_nanousd)
    return said


def _truth(value: bool) -> str:
    return "true" if value else "false"
