"""The site's plain manners: what went wrong, for paths that belong to no API of others."""

from __future__ import annotations

from sutlerd.domain.errors import CallError
from sutlerd.http.door import Manners, Page, Refusal, json_page
from sutlerd.http.status import failure_headers, status_of


def tell_error(error: CallError, request_id: str | None) -> Page:
    return json_page(
        {"error": error.to_wire(request_id)},
        status=status_of(error),
        headers=failure_headers(error, request_id),
    )


def tell_refusal(refusal: Refusal) -> Page:
    return json_page(
        {"error": {"type": refusal.kind, "message": refusal.message}},
        status=refusal.status,
        headers=refusal.headers,
    )


PLAIN = Manners(error=tell_error, refusal=tell_refusal)
