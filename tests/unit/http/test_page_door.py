"""Who gets to see the status page through `sutler page`'s port, judged head by head."""

from __future__ import annotations

import os
import re
import socket

import pytest

from sutler.relay_page import NOBODY, PageDoor, uid_of_connection

PORT = 41234
HOST = f"Host: 127.0.0.1:{PORT}"


def door() -> PageDoor:
    return PageDoor(lambda peer_port, port: os.geteuid())


def head(target: str, *lines: str, method: str = "GET") -> bytes:
    fields = lines if any(line.startswith("Host") for line in lines) else (HOST, *lines)
    return "\r\n".join([f"{method} {target} HTTP/1.1", *fields, "", ""]).encode("latin-1")


def status(page: PageDoor, asked: bytes) -> int:
    """Give the status refused with, or 0 for what is passed on."""
    verdict = page.judge(asked, PORT, 50000)
    return 0 if verdict.answer is None else int(verdict.answer.split()[1])


def entered(page: PageDoor) -> str:
    """Open the address; give the cookie's line."""
    answer = page.judge(head(page.address(PORT).partition(str(PORT))[2]), PORT, 50000).answer
    assert answer is not None
    assert answer.startswith(b"HTTP/1.1 303 ")
    found = re.search(rb"Set-Cookie: (\S+); HttpOnly; SameSite=Strict; Path=/\r\n", answer)
    assert found is not None
    return f"Cookie: theme=dark; {found[1].decode()}"


def test_the_address_opens_once_and_the_cookie_after_it() -> None:
    page = door()
    target = page.address(PORT).partition(str(PORT))[2]
    cookie = entered(page)
    assert status(page, head("/", cookie)) == status(page, head("/events", cookie)) == 0
    assert status(page, head(target)) == 401
    assert status(page, head(target, cookie)) == 303, "the same browser may load it again"
    with pytest.raises(ValueError, match="used"):
        page.address(PORT)


def test_only_the_page_and_its_events_are_asked_and_in_words_of_the_relays_own() -> None:
    page = door()
    cookie = entered(page)
    for target in ("/metrics", "/v1/models", "/events/", "//", "/?x=1#/v1", "/%2e%2e/v1/models"):
        assert status(page, head(target, cookie)) in (0, 404)
        sent = page.judge(head(target, cookie), PORT, 50000).head
        assert sent in (b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    smuggled = head("/events?a=b", cookie, "Content-Length: 40", "Transfer-Encoding: chunked")
    verdict = page.judge(smuggled, PORT, 50000)
    assert verdict.one_request
    assert verdict.head == b"GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for method in ("POST", "HEAD", "OPTIONS", "DELETE", "CONNECT"):
        assert status(page, head("/", cookie, method=method)) == 405


@pytest.mark.parametrize(
    "lines",
    [
        ("Host: evil.example",),
        ("Host: 127.0.0.1",),
        (f"Host: 127.0.0.1:{PORT + 1}",),
        (HOST, HOST),
        (HOST, "Origin: http://evil.example"),
        (HOST, "Origin: null"),
        (HOST, f"Origin: http://127.0.0.1:{PORT}", "Origin: http://evil.example"),
        (HOST, "Sec-Fetch-Site: cross-site"),
        (HOST, "Sec-Fetch-Site: same-site"),
    ],
)
def test_other_pages_and_names_are_refused_with_the_right_cookie_and_do_not_use_the_address_up(
    lines: tuple[str, ...],
) -> None:
    page = door()
    target = page.address(PORT).partition(str(PORT))[2]
    assert status(page, head(target, *lines)) == 403
    assert status(page, head("/", *lines, entered(page))) == 403


def test_another_users_connection_gets_nothing_even_with_the_address() -> None:
    owner = [54321]
    page = PageDoor(lambda peer_port, port: owner[0])
    target = page.address(PORT).partition(str(PORT))[2]
    assert status(page, head(target)) == 403
    owner[0] = os.geteuid()
    cookie = entered(page)
    owner[0] = 54321
    assert status(page, head("/", cookie)) == 403


@pytest.mark.parametrize(
    "asked",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/2\r\nHost: x\r\n\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"\xff\xfe\x00 / HTTP/1.1 \r\n\r\n",
    ],
)
def test_what_is_no_plain_request_is_refused_as_such(asked: bytes) -> None:
    assert status(door(), asked) == 400


def test_wrong_tokens_and_cookies_open_nothing() -> None:
    page = door()
    target = page.address(PORT).partition(str(PORT))[2]
    for wrong in ("/", "/?token=", "/?token=wrong", "/?token=\xff", target + "x", target[:-1]):
        assert status(page, head(wrong)) == 401
    cookie = entered(page)
    assert status(page, head("/", cookie[:-1])) == 401
    assert status(page, head("/", cookie.replace(str(PORT), str(PORT + 1)))) == 401
    assert status(page, head("/", cookie + "\xe9")) == 401


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_kernel_tells_whose_a_connection_is_whatever_family_it_is_of(family: int) -> None:
    address = "127.0.0.1" if family == socket.AF_INET else "::ffff:127.0.0.1"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.socket(family) as client:
            client.connect((address, port))
            mine = client.getsockname()[1]
            assert uid_of_connection(mine, port) == os.geteuid()
            client.shutdown(socket.SHUT_WR)
            assert uid_of_connection(mine, port) == NOBODY, "half closed, it could still read"
        assert uid_of_connection(1, port) == NOBODY


def test_a_connection_whose_owner_is_not_told_where_others_are_gets_nothing() -> None:
    page = PageDoor(lambda peer_port, port: NOBODY)
    assert status(page, head(page.address(PORT).partition(str(PORT))[2])) == 403
    silent = PageDoor(lambda peer_port, port: None)
    assert status(silent, head(silent.address(PORT).partition(str(PORT))[2])) == 303
