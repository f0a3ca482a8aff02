"""What went wrong, as Anthropic says it. Pure."""

from __future__ import annotations

from typing import Any

from sutlerd.domain.errors import CallError
from sutlerd.http.anthropic_tell import event
from sutlerd.http.door import Manners, Page, Refusal, json_page
from sutlerd.http.openai_errors import plain_words
from sutlerd.http.status import failure_headers, status_of

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OVERLOADED = 529


def _status(error: CallError) -> int:
    """They have a status of their own for what would be 503."""
    return _OVERLOADED if error.type in ("overloaded", "shutting_down") else status_of(error)


def _object(error: CallError) -> dict[str, Any]:
    status = _status(error)
    by_default = "api_error" if status >= 500 else "invalid_request_error"
    return {"type": _TYPES.get(status, by_default), "message": plain_words(error.message)}


def tell_error(error: CallError, request_id: str | None) -> Page:
    headers = failure_headers(error, request_id)
    if request_id is not None:
        headers["request-id"] = request_id
    body = {"type": "error", "error": _object(error), "request_id": request_id}
    return json_page(body, status=_status(error), headers=headers)


def tell_refusal(refusal: Refusal) -> Page:
    kind = _TYPES.get(refusal.status, "invalid_request_error")
    body = {
        "type": "error",
        "error": {"type": kind, "message": refusal.message},
        "request_id": None,
    }
    headers = {**refusal.headers, "x-should-retry": "false"}
    return json_page(body, status=refusal.status, headers=headers)


def error_event(error: CallError) -> bytes:
    """Give the event that ends a stream which had begun."""
    return event("error", error=_object(error))


ANTHROPIC = Manners(error=tell_error, refusal=tell_refusal)
