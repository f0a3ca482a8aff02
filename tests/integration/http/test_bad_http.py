"""Bytes that are not quite HTTP: refused in the API's own shape, and never two requests of one."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.integration.faults.rig import Rig
from tests.integration.http.rig import over_unix
from tests.integration.http.test_http_faults import CHAT, body_of, connected, rest

MESSAGES = "/v1/messages"
_BODY = json.dumps(body_of("smuggled", max_tokens=5)).encode()
_INNER = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _post(path: str, *lines: bytes) -> bytes:
    start = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return start.encode() + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def _chunk(data: bytes, size: bytes | None = None) -> bytes:
    return (size or b"%x" % len(data)) + b"\r\n" + data + b"\r\n"


def _answers(rig: Rig, data: bytes) -> list[tuple[int, Any]]:
    """Send bytes and no more; give status and JSON of each answer there is until it closes."""
    with connected(rig) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        left, found = rest(sock), []
    while left:
        head, _, left = left.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        found.append((int(head.split()[1]), json.loads(left[:length])))
        left = left[length:]
    return found


_CHUNKED = b"Transfer-Encoding: chunked"
_LENGTH = b"Content-Length: %d" % len(_BODY)
#: Shapes that two readers may read differently: a name, and what is sent.
_AMBIGUOUS = {
    "both lengths": (_LENGTH, _CHUNKED, b"", _BODY + _INNER),
    "chunked first": (_CHUNKED, _LENGTH, b"", b"0\r\n\r\n" + _INNER),
    "two lengths": (_LENGTH, b"Content-Length: 0", b"", _BODY + _INNER),
    "a list of lengths": (_LENGTH + b", 0", b"", b"", _BODY + _INNER),
    "a signed length": (b"Content-Length: +%d" % len(_BODY), b"", b"", _BODY + _INNER),
    "a length in hexadecimal": (b"Content-Length: 0x10", b"", b"", _BODY + _INNER),
    "a length with an underscore": (b"Content-Length: 1_0", b"", b"", _BODY + _INNER),
    "a huge length": (b"Content-Length: " + b"9" * 30, b"", b"", _BODY + _INNER),
    "a folded line": (b"X-A: b", b" c", _LENGTH, _BODY + _INNER),
    "space before the colon": (b"Transfer-Encoding : chunked", _LENGTH, b"", _BODY + _INNER),
    "a name with a control": (b"Transfer-Encoding\x0b: chunked", _LENGTH, b"", _BODY + _INNER),
    "a NUL in a value": (b"X-A: \x00", _LENGTH, b"", _BODY + _INNER),
    "chunked twice": (_CHUNKED, _CHUNKED, b"", b"0\r\n\r\n" + _INNER),
    "chunked not last": (_CHUNKED + b", identity", b"", b"", b"0\r\n\r\n" + _INNER),
    "not quite chunked": (b"Transfer-Encoding: xchunked", b"", b"", b"0\r\n\r\n" + _INNER),
    "a bare carriage return": (b"X-A: b\rContent-Length: 5", _LENGTH, b"", _BODY + _INNER),
    "a chunk longer than said": (_CHUNKED, b"", b"", _chunk(_BODY, b"4") + b"0\r\n\r\n" + _INNER),
    "a huge chunk": (_CHUNKED, b"", b"", _chunk(_BODY, b"f" * 17) + b"0\r\n\r\n" + _INNER),
    "a chunk of -1": (_CHUNKED, b"", b"", _chunk(_BODY, b"-1") + b"0\r\n\r\n" + _INNER),
    "a chunk of 0x": (_CHUNKED, b"", b"", _chunk(_BODY, b"0x9") + b"0\r\n\r\n" + _INNER),
    "chunks by line feeds": (_CHUNKED, b"", b"", b"1\n{\n0\n\n" + _INNER),
    "an extension by a line feed": (
        _CHUNKED,
        b"",
        b"",
        b"%x;a\nb\r\n" % len(_BODY) + _BODY + b"\r\n0\r\n\r\n" + _INNER,
    ),
}


@pytest.mark.fault("X12")
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_what_two_readers_may_read_differently_is_one_refusal_in_the_apis_shape(
    rig: Rig, path: str
) -> None:
    for name, (first, second, third, body) in _AMBIGUOUS.items():
        lines = [line for line in (first, second, third) if line]
        told = _answers(rig, _post(path, *lines) + body)
        assert [status for status, _ in told] == [400], (name, told)
        error = told[0][1]["error"]
        assert error["type"] == "invalid_request_error", (name, told)
        assert error["message"].isprintable()
        assert ("param" in error) == (path == CHAT)
        assert (told[0][1].get("type") == "error") == (path == MESSAGES)
    assert rig.asked("smuggled") == 0


@pytest.mark.fault("X12")
def test_line_feeds_alone_end_no_line_and_no_two_requests_come_of_one(rig: Rig) -> None:
    bare = _post(CHAT, _LENGTH).replace(b"\r\n", b"\n") + _BODY
    assert [status for status, _ in _answers(rig, bare + _INNER)] == [400]
    assert rig.asked("smuggled") == 0


def test_chunks_and_their_extensions_are_one_body(rig: Rig) -> None:
    body = json.dumps(body_of("in chunks")).encode()
    pieces = [body[:7], body[7:9], body[9:]]
    data = b"".join(_chunk(each, b"%x;name=value" % len(each)) for each in pieces)
    told = _answers(rig, _post(CHAT, _CHUNKED) + data + b"0\r\nTrailer: x\r\n\r\n")
    assert [status for status, _ in told] == [200]
    assert told[0][1]["choices"][0]["message"]["content"] == "to: in chunks"


@pytest.mark.fault("C6")
def test_heads_over_their_bounds_are_told_in_the_apis_shape(rig: Rig) -> None:
    long = b"X-Long: " + b"y" * 100_000
    for path in (CHAT, MESSAGES):
        (status, told), *none = _answers(rig, _post(path, long))
        assert (status, none) == (431, [])
        assert (told.get("type") == "error") == (path == MESSAGES)
        (status, told), *none = _answers(rig, _post(path, *[b"A: b"] * 10_000))
        assert (status, none) == (400, [])
        assert (told.get("type") == "error") == (path == MESSAGES)


@pytest.mark.fault("X12")
def test_what_comes_along_with_a_declined_upgrade_is_no_request(rig: Rig) -> None:
    for protocol in (b"h2c", b"websocket"):
        upgrade = b"Connection: Upgrade\r\nUpgrade: " + protocol
        head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + upgrade + b"\r\n\r\n"
        with connected(rig) as sock:
            sock.sendall(head + _post(CHAT, _LENGTH) + _BODY)
            told = rest(sock)
        assert told.startswith(b"HTTP/1.1 200")
        assert told.endswith(b"ok\n")
    # Java's own client offers it with every request, and means to go on if it is declined.
    body = json.dumps(body_of("by Java")).encode()
    length = b"Content-Length: %d" % len(body)
    with connected(rig) as sock:
        for _ in range(2):
            sock.sendall(_post(CHAT, upgrade.replace(b"websocket", b"h2c"), length) + body)
            assert b"to: by Java" in sock.recv(1 << 16)
    assert rig.asked("smuggled") == 0


def test_paths_that_are_not_served_say_so_in_each_apis_shape(rig: Rig) -> None:
    for path in ("/v1/files", "/v1/audio/speech", "/v1/images/generations"):
        told = over_unix(rig.daemon, "POST", path, {})
        assert told.status == 404
        assert f"POST {path} is not served here" in told.json["error"]["message"]
        assert told.json["error"]["code"] == "not_found"
    upload = {"Content-Type": "multipart/form-data; boundary=x"}
    assert over_unix(rig.daemon, "POST", "/v1/files", b"--x--", upload).status == 404
    for headers in ({"Anthropic-Version": "2023-06-01"}, None):
        path = "/v1/files?beta=true" if headers else "/v1/messages/batches"
        told = over_unix(rig.daemon, "GET", path, headers=headers)
        assert told.status == 404
        assert told.json["type"] == "error"
        assert told.json["error"]["type"] == "not_found_error"
    assert over_unix(rig.daemon, "GET", "/nowhere").json["error"]["type"] == "not_found"
