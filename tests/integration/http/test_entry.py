"""Who is let in at the HTTP side: the kernel's word, a token, and never a web page."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from tests.integration.faults.rig import Rig
from tests.integration.http.rig import (
    http_rig,
    http_socket,
    new_token,
    over_tcp,
    over_unix,
    port_of,
)

CHAT = {"model": "test-model", "messages": [{"role": "user", "content": "hello"}]}


def raw(rig: Rig, data: bytes) -> bytes:
    """Send bytes to the TCP port; give all that comes until the daemon closes."""
    with socket.create_connection(("127.0.0.1", port_of(rig.daemon)), timeout=30) as sock:
        sock.sendall(data)
        answer = b""
        while part := sock.recv(65_536):
            answer += part
        return answer


def test_health_and_readiness_are_open_to_all_on_both_doors(rig: Rig) -> None:
    for over in (over_unix, over_tcp):
        assert over(rig.daemon, "GET", "/healthz").body == b"ok\n"
        assert over(rig.daemon, "GET", "/readyz").body == b"ready\n"


def test_the_socket_is_beside_the_other_one_with_its_mode(rig: Rig) -> None:
    assert stat.S_IMODE(http_socket(rig.daemon).stat().st_mode) == 0o600


@pytest.mark.fault("X12")
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Referer": "http://evil.example/page"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost@evil.example"},
    ],
)
def test_what_a_web_page_sends_is_refused_whatever_it_asks(
    rig: Rig, headers: dict[str, str]
) -> None:
    token = {"Authorization": f"Bearer {new_token(rig.daemon)}"}
    for path in ("/healthz", "/v1/chat/completions"):
        method, body = ("GET", None) if path == "/healthz" else ("POST", CHAT)
        for over in (over_unix, over_tcp):
            reply = over(rig.daemon, method, path, body, {**token, **headers})
            assert reply.status == 403, (path, headers)
            assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.fault("X12")
def test_over_tcp_only_a_good_token_is_let_in_also_on_loopback(rig: Rig) -> None:
    token = new_token(rig.daemon)
    wrong = ("", "Bearer", "Bearer ", f"Bearer {token}x", f"Basic {token}", "Bearer sutler-")
    for said in wrong:
        reply = over_tcp(rig.daemon, "POST", "/v1/chat/completions", CHAT, {"Authorization": said})
        assert reply.status == 401, said
        assert reply.headers["www-authenticate"] == "Bearer"
    for said in ({"Authorization": f"Bearer {token}"}, {"X-Api-Key": token}):
        assert over_tcp(rig.daemon, "GET", "/nowhere", headers=said).status == 404


@pytest.mark.fault("X12")
def test_a_simple_post_of_a_form_is_refused(rig: Rig) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        reply = over_unix(rig.daemon, "POST", "/v1/chat/completions", CHAT, {"Content-Type": kind})
        assert reply.status == 415
    packed = {"Content-Encoding": "gzip"}
    assert over_unix(rig.daemon, "POST", "/v1/chat/completions", CHAT, packed).status == 415


@pytest.mark.fault("X12")
def test_two_lengths_or_two_hosts_are_a_bad_request(rig: Rig) -> None:
    start = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    shapes = [
        start + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        start + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        start + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        start + b"Content-Length: +2\r\n\r\n{}",
        start + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        start + b"Host: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ]
    for shape in shapes:
        assert raw(rig, shape).split()[1] == b"400", shape


@pytest.mark.fault("X12")
def test_what_is_there_twice_or_names_another_host_is_no_request_of_ours(rig: Rig) -> None:
    token = f"Authorization: Bearer {new_token(rig.daemon)}"

    def status(target: str, *lines: str) -> bytes:
        head = (f"GET {target} HTTP/1.1", "Host: localhost", "Connection: close", token, *lines)
        return raw(rig, "\r\n".join([*head, "", ""]).encode()).split()[1]

    own = "http://localhost"
    assert status("/v1/models", f"Origin: {own}", "Origin: http://evil.example") == b"400"
    assert status("/v1/models", f"Referer: {own}/", "Referer: http://evil.example/") == b"400"
    assert status("/v1/models", "Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site") == b"400"
    # A target with a host of its own counts for more than Host does, to those who relay it.
    assert status("http://evil.example/v1/models") == b"403"
    assert status("http://localhost@evil.example/v1/models") == b"403"
    assert status("http://localhost:80/v1/models") == b"200"
    start = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    for coded in (
        b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
    ):
        asked = start + b"Content-Type: application/json\r\n" + coded + b"\r\n"
        assert raw(rig, asked).split()[1] == b"400", coded


def test_who_asks_for_the_head_of_a_stream_gets_no_event(rig: Rig) -> None:
    token = b"Authorization: Bearer " + new_token(rig.daemon).encode() + b"\r\n"
    asked = b"HEAD /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + token
    head, _, body = raw(rig, asked + b"\r\n").partition(b"\r\n\r\n")
    assert head.split()[1] == b"200"
    assert b"text/event-stream" in head
    assert body == b""


def test_a_tunnel_is_refused_and_its_connection_closed(rig: Rig) -> None:
    asked = b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert raw(rig, asked).split()[1] == b"401"


@pytest.mark.fault("X12")
def test_a_refusal_comes_before_the_body(rig: Rig) -> None:
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{"
    )
    assert raw(rig, head).split()[1] == b"401"


def test_a_token_is_kept_as_a_hash_survives_a_restart_and_can_be_revoked(folder: Path) -> None:
    with http_rig(folder) as rig:
        daemon = rig.daemon
        token = new_token(daemon)
        file = folder / "state" / "tokens.json"
        assert token not in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        bearer = {"Authorization": f"Bearer {token}"}
        daemon.stop()
        daemon.start()
        assert over_tcp(daemon, "GET", "/nowhere", headers=bearer).status == 404
        newer = {"Authorization": f"Bearer {new_token(daemon)}"}
        assert over_tcp(daemon, "GET", "/nowhere", headers=bearer).status == 401
        assert over_tcp(daemon, "GET", "/nowhere", headers=newer).status == 404
        assert daemon.result("token.revoke")["revoked"] is True
        assert over_tcp(daemon, "GET", "/nowhere", headers=newer).status == 401
