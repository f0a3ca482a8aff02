"""From outcomes to lines. Every byte the daemon sends on a connection is written here."""

from __future__ import annotations

from typing import Any

import orjson

from sutlerd.domain.errors import CallError
from sutlerd.server.requests import RequestId

_OPTIONS = orjson.OPT_NON_STR_KEYS


def encode_id(request_id: RequestId) -> bytes:
    if type(request_id) is int:
        return b"%d" % request_id
    return orjson.dumps(request_id)


def result_line(request_id: bytes, result: bytes) -> bytes:
    """``request_id`` and ``result`` are JSON texts."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}\n' % (request_id, result)


def value_line(request_id: RequestId, value: Any) -> bytes:
    return result_line(encode_id(request_id), orjson.dumps(value, option=_OPTIONS))


def error_line(
    request_id: RequestId, error: CallError, *, name: str | None = None, **data: Any
) -> bytes:
    """``name`` is the call's request id, if it has one already."""
    told = error.to_wire(name)
    told["data"].update(data)
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}\n' % (encode_id(request_id), orjson.dumps(told))


def chunk_lines(request_id: bytes, pieces: list[bytes] | tuple[bytes, ...]) -> bytes:
    head = b'{"jsonrpc":"2.0","method":"chunk","params":{"id":%b,' % request_id
    return b"".join([head + piece + b"}}\n" for piece in pieces])
