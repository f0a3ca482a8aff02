"""Many requests on one connection, and many connections: each answered, or told why not, once."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from pathlib import Path

import pytest

from tests.contract import answers
from tests.contract.answers import Answer, Hang
from tests.integration.faults.rig import Rig, held
from tests.integration.faults.test_limits import _descriptors
from tests.integration.http.rig import http_rig, new_token, over_unix, port_of
from tests.integration.http.test_http_faults import CHAT, body_of, connected, request, rest, until

_PIPELINED = 10_000
_PROMPTS = 100
_CROWD = 3_000
_PROBE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
KIB = 1 << 10


def _contents(told: bytes) -> list[str]:
    """Give what was said, answer by answer; each begins with its head."""
    return [json.loads(f'"{each.decode()}"') for each in re.findall(rb'"content":"([^"]*)"', told)]


@pytest.mark.fault("C13")
def test_ten_thousand_requests_without_reading_are_each_answered_once_in_order(rig: Rig) -> None:
    requests = [request(f"q {number % _PROMPTS}") for number in range(_PIPELINED)]
    with connected(rig) as sock:
        writer = threading.Thread(target=sock.sendall, args=(b"".join(requests),))
        writer.start()
        for number in range(10):
            fresh = over_unix(rig.daemon, "POST", CHAT, body_of(f"of another {number}"))
            assert fresh.json["choices"][0]["message"]["content"] == f"to: of another {number}"
        parts, ends = [], 0
        while ends < _PIPELINED:
            parts.append(part := sock.recv(1 << 20))
            assert part
            # An answer's last words; they may be cut between two parts.
            ends = ends + part.count(b'"system_fingerprint"') if ends < 9_900 else _count(parts)
        writer.join()
    told = b"".join(parts)
    assert told.count(b"HTTP/1.1 200") == _PIPELINED
    assert _contents(told) == [f"to: q {number % _PROMPTS}" for number in range(_PIPELINED)]
    assert all(rig.asked(f'"q {number}"') == 1 for number in range(_PROMPTS))


def _count(parts: list[bytes]) -> int:
    return b"".join(parts).count(b'"system_fingerprint":null}')


@pytest.mark.fault("C13")
def test_reading_pauses_behind_a_request_that_waits_and_closing_works_at_once(rig: Rig) -> None:
    rig.answers["first"] = held("gate", answers.openai_chat("let go"))
    with connected(rig) as sock:
        sock.sendall(request("first"))
        rig.wait_until_asked("first")
        line, sent = request("behind"), 0
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while sent < 10_000 * len(line):
                sent += sock.send(line * 100)
        assert sent < 10_000 * len(line)
        status = rig.status()
        assert (status["calls_open"], rig.asked("behind")) == (1, 0)
        assert status["buffered_bytes"] < 1 << 20
        rig.provider.open("gate")
        sock.setblocking(True)
        wanted, told = sent // len(line), b""
        while told.count(b"HTTP/1.1 200") < wanted + 1:
            told += sock.recv(1 << 20)
    assert rig.asked("behind") == 1
    rig.answers["stuck"] = Answer((Hang(),), 9, 0)
    with connected(rig) as sock:
        sock.sendall(request("stuck") + request("never read") * 1_000)
        rig.wait_until_asked("stuck")
    until(rig, "calls_open", 0)
    assert rig.asked("never read") == 0
    rig.answers.clear()


@pytest.mark.fault("C14")
def test_of_a_crowd_of_connections_those_within_the_limit_are_served_and_the_rest_told(
    folder: Path,
) -> None:
    with http_rig(folder) as rig, _descriptors() as descriptors, contextlib.ExitStack() as stack:

        def come(count: int) -> list[socket.socket]:
            return [stack.enter_context(connected(rig)) for _ in range(count)]

        served = come(200)
        assert _all_ok(served)
        before_bytes = rig.rss_bytes()
        served += come(800)
        assert _all_ok(served)
        assert (rig.rss_bytes() - before_bytes) / 800 < 16 * KIB
        more = come(min(_CROWD, descriptors - 1_500))
        for sock in more[::2]:  # half of them say what they want first, as programs do
            with contextlib.suppress(ConnectionError):
                sock.sendall(_PROBE)
        told = [rest(sock) for sock in more[100:]]
        assert all(_is_refusal(each) for each in told)
        assert len(told) > 1_000
        assert _all_ok(served)


@pytest.mark.fault("C14")
def test_over_tcp_too_those_over_the_limit_are_told(folder: Path) -> None:
    limits = {"connections": 20, "connections_reserved": 1}
    with http_rig(folder, limits=limits) as rig, contextlib.ExitStack() as stack:
        token = new_token(rig.daemon)
        address = ("127.0.0.1", port_of(rig.daemon))
        many = [
            stack.enter_context(socket.create_connection(address, timeout=30)) for _ in range(60)
        ]
        told = []
        for sock in many[20:]:
            with contextlib.suppress(ConnectionError):
                sock.sendall(request("one too many", token=token))
            told.append(rest(sock))
        assert all(_is_refusal(each) for each in told)
        assert rig.asked("one too many") == 0
        many[0].sendall(request("within", token=token))
        assert many[0].recv(1 << 16).startswith(b"HTTP/1.1 200")


def _all_ok(socks: list[socket.socket]) -> bool:
    for sock in socks:
        sock.sendall(_PROBE)
    return all(sock.recv(1 << 16).endswith(b"ok\n") for sock in socks)


def _is_refusal(told: bytes) -> bool:
    assert told.startswith(b"HTTP/1.1 503"), told
    assert told.count(b"HTTP/1.1") == 1
    assert b"\r\nretry-after: 1\r\n" in told
    head, _, body = told.partition(b"\r\n\r\n")
    assert b"\r\nConnection: close\r\n" in head
    assert json.loads(body)["error"]["data"]["type"] == "overloaded"
    return True
