"""Which HTTP status each way to fail has, and what the headers of a failure say. Pure."""

from __future__ import annotations

import math
from typing import Final

from sutlerd.domain.errors import CallError

#: By the wire's type. ``provider_error`` has the provider's own status where that is the
#: caller's doing; see ``status_of``.
STATUS: Final[dict[str, int]] = {
    "parse_error": 400,
    "invalid_request": 400,
    "method_not_found": 404,
    "invalid_params": 400,
    "internal_error": 500,
    "budget_exceeded": 402,
    "rate_limited": 429,
    "provider_error": 502,
    "provider_unavailable": 503,
    "timeout": 504,
    "cancelled": 499,
    "overloaded": 503,
    "access_denied": 403,
    "cache_miss": 404,
    "invalid_output": 422,
    "shutting_down": 503,
    "price_unknown": 400,
    "context_length_exceeded": 400,
    "outcome_unknown": 409,
    "ledger_unavailable": 503,
}
#: What a client's own library may try again: here nobody has tried yet. Where the daemon has
#: (a provider that is away, a time limit), more tries are the caller's own decision.
_WORTH_RETRYING = frozenset({"overloaded", "shutting_down", "rate_limited"})
#: A provider's refusals that the request itself brought about, and no operator can mend.
_CALLERS_DOING = frozenset({400, 413, 422})


def status_of(error: CallError) -> int:
    if error.type == "provider_error":
        said = error.data.get("status")
        return said if said in _CALLERS_DOING else STATUS[error.type]
    if error.data.get("unknown_model"):
        return 404
    return STATUS[error.type]


def failure_headers(error: CallError, request_id: str | None) -> dict[str, str]:
    """Give ``retry-after`` and whether the caller's library should try again by itself.

    Both SDKs obey ``x-should-retry``, and would otherwise go by the status alone.
    """
    again = error.retryable and error.type in _WORTH_RETRYING
    headers = {
        "x-should-retry": "true" if again else "false",
        "x-sutler-error": error.type,
    }
    if error.retry_after_s is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after_s))
    if request_id is not None:
        headers["x-sutler-request-id"] = request_id
    return headers
