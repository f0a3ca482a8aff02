"""The guard itself: a test that wants the real network is refused, in every way there is."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import pytest

OUTSIDE = "192.0.2.1"  # a documentation address: nobody is there
REFUSED = "tests reach loopback only"


def test_a_socket_that_leaves_the_machine_is_refused() -> None:
    with socket.socket() as sock:
        with pytest.raises(RuntimeError, match=REFUSED):
            sock.connect((OUTSIDE, 80))
        with pytest.raises(RuntimeError, match=REFUSED):
            sock.connect_ex((OUTSIDE, 80))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(RuntimeError, match=REFUSED),
    ):
        sock.sendto(b"x", (OUTSIDE, 53))


def test_a_name_outside_is_not_looked_up() -> None:
    with pytest.raises(RuntimeError, match=REFUSED):
        socket.getaddrinfo("example.org", 443)


@pytest.mark.loop("asyncio", "uvloop")
async def test_no_event_loop_is_a_way_round() -> None:
    for host in (OUTSIDE, "example.org"):
        with pytest.raises(RuntimeError, match=REFUSED):
            await asyncio.open_connection(host, 443)
        with pytest.raises(RuntimeError, match=REFUSED):
            await asyncio.get_running_loop().getaddrinfo(host, 443)


def test_child_processes_are_refused_too() -> None:
    code = f"import socket; socket.create_connection(({OUTSIDE!r}, 80), timeout=1)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.returncode == 1
    assert REFUSED in child.stderr


@pytest.mark.loop("asyncio", "uvloop")
async def test_loopback_is_reached() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        for host in ("127.0.0.1", "localhost"):
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection(host, port)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
