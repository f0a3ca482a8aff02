"""From a line to a request: JSON-RPC 2.0 with the wire's two freedoms."""

from __future__ import annotations

from typing import Any

from sutler.wire import MAX_ID_BYTES, MAX_ID_INT, MIN_ID_INT
from sutlerd.domain.errors import InvalidRequest
from sutlerd.domain.record import quick, record
from sutlerd.system import strict

RequestId = int | str | None
#: Methods that the pipeline answers; all others are functions of ``server.methods``.
REPLY_METHODS = frozenset({"complete", "chat", "json", "function_call", "prompts.run"})
_MEMBERS = frozenset({"jsonrpc", "id", "method", "params"})


@record
class Request:
    """A well-formed request; ``params`` is an object, empty if it was left out."""

    id: RequestId
    method: str
    params: dict[str, Any]


_new_request = quick(Request)


class BadRequest(Exception):
    """JSON, but no request. ``id`` is the request's if a good one was read."""

    def __init__(self, error: InvalidRequest, request_id: RequestId) -> None:
        super().__init__(error.message)
        self.error = error
        self.id = request_id


def decode(line: bytes) -> Request:
    """Read one line. Raises ``ParseError`` or ``BadRequest``."""
    value = strict.loads(line)
    if not isinstance(value, dict):
        if isinstance(value, list):
            raise _bad("no batch arrays here: send one request a line, as many as you like")
        raise _bad("a request is a JSON object with a method")
    request_id = value.get("id")
    if not _good_id(request_id):
        raise _bad(f"id must be a string of at most {MAX_ID_BYTES} bytes or an integer of 64 bits")
    method = value.get("method")
    if not isinstance(method, str):
        raise _bad("method must be a string", request_id)
    if not value.keys() <= _MEMBERS:
        unknown = ", ".join(sorted(key[:40] for key in value.keys() - _MEMBERS)[:5])
        raise _bad(f"unknown member of the request: {unknown}", request_id)
    if value.get("jsonrpc", "2.0") != "2.0":
        raise _bad('jsonrpc must be "2.0" or be left out', request_id)
    params = value.get("params")
    if params is None:
        params = {}
    elif not isinstance(params, dict):
        raise _bad("params must be an object", request_id)
    return _new_request(id=request_id, method=method, params=params)


def _good_id(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, str):
        return len(value) <= MAX_ID_BYTES and len(value.encode()) <= MAX_ID_BYTES
    # bool is an int in Python and no id; orjson reads integers over 64 bits as floats.
    return type(value) is int and MIN_ID_INT <= value <= MAX_ID_INT


def _bad(message: str, request_id: RequestId = None) -> BadRequest:
    return BadRequest(InvalidRequest(message), request_id)
