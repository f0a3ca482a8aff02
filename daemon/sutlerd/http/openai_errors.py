"""What went wrong, as OpenAI says it. Pure."""

from __future__ import annotations

from typing import Any

from sutlerd.domain.errors import CallError
from sutlerd.http.door import Manners, Page, Refusal, json_page
from sutlerd.http.openai_tell import event
from sutlerd.http.status import failure_headers, status_of

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    422: "invalid_output",
    429: "rate_limit_error",
    504: "timeout_error",
}
_CODES = {
    "invalid_params": None,
    "parse_error": None,
    "rate_limited": "rate_limit_exceeded",
    "budget_exceeded": "budget_exceeded",
}


def error_object(error: CallError) -> dict[str, Any]:
    status = status_of(error)
    code = _CODES.get(error.type, error.type)
    if error.data.get("unknown_model"):
        code = "model_not_found"
    return {
        "message": plain_words(error.message),
        "type": _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
        "param": _param(error),
        "code": code,
    }


def tell_error(error: CallError, request_id: str | None) -> Page:
    headers = failure_headers(error, request_id)
    if request_id is not None:
        headers["x-request-id"] = request_id
    return json_page({"error": error_object(error)}, status=status_of(error), headers=headers)


def tell_refusal(refusal: Refusal) -> Page:
    told = {
        "message": refusal.message,
        "type": _TYPES.get(refusal.status, "invalid_request_error"),
        "param": None,
        "code": "invalid_api_key" if refusal.kind == "unauthorised" else refusal.kind,
    }
    headers = {**refusal.headers, "x-should-retry": "false"}
    return json_page({"error": told}, status=refusal.status, headers=headers)


def error_event(error: CallError) -> bytes:
    """Give the event that ends a stream which had begun."""
    return event({"error": error_object(error)})


def plain_words(message: str) -> str:
    """The wire's paths begin with ``params``, which nobody here has sent."""
    return message.replace("params.", "").replace("params: ", "")


def _param(error: CallError) -> str | None:
    problems = error.data.get("problems")
    if not problems:
        return None
    path = plain_words(problems[0]).partition(":")[0]
    return path if len(path) < 100 and " " not in path else None


OPENAI = Manners(error=tell_error, refusal=tell_refusal)
