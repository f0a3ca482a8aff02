"""Descriptors handed over as systemd does, right ones and wrong ones."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sutlerd.system.activation import Inherited, WrongSocket, inherited_listeners
from sutlerd.system.exits import Exit
from sutlerd.system.listening import Listener


@pytest.fixture
def passed() -> Iterator[list[socket.socket]]:
    """Sockets that a test hands over; a descriptor taken over is not closed twice."""
    sockets: list[socket.socket] = []
    yield sockets
    for sock in sockets:
        sock.close()


def _take(descriptor: int, **environ: str) -> Listener | None:
    found = _take_all(descriptor, **environ)
    assert found is None or found.http is None
    return found.main if found is not None else None


def _take_all(descriptor: int, **environ: str) -> Inherited | None:
    told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", **environ}
    return inherited_listeners(told, pid=os.getpid(), first_descriptor=descriptor)


def _listening(path: str | bytes) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    return sock


def test_a_listening_stream_socket_is_taken_over_and_left_in_place(tmp_path: Path) -> None:
    descriptor = _listening(str(tmp_path / "s")).detach()
    os.set_inheritable(descriptor, True)
    listener = _take(descriptor, LISTEN_FDNAMES="sutlerd.socket")
    assert listener is not None
    assert listener.path == str(tmp_path / "s")
    assert not listener.socket.get_inheritable()
    assert not listener.socket.getblocking()
    assert not listener.is_ours
    (tmp_path / "s").rename(tmp_path / "moved")
    assert listener.still_there()  # whose file is the service manager's business
    (tmp_path / "moved").rename(tmp_path / "s")
    listener.close()
    assert (tmp_path / "s").is_socket()


def test_an_abstract_socket_has_a_readable_name(tmp_path: Path) -> None:
    listener = _take(_listening(b"\0" + bytes(tmp_path)).detach())
    assert listener is not None
    assert listener.path == f"@{tmp_path}"
    listener.close()


@pytest.mark.parametrize(
    "environ",
    [
        {"LISTEN_PID": "1"},
        {"LISTEN_PID": ""},
        {"LISTEN_FDS": "0"},
    ],
)
def test_what_is_not_meant_for_us_is_left_alone(environ: dict[str, str]) -> None:
    assert _take(0, **environ) is None
    assert inherited_listeners({}, pid=os.getpid()) is None


@pytest.mark.fault("O5")
@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"LISTEN_FDS": "many"}, "LISTEN_FDS is 'many', not a number"),
        ({"LISTEN_FDS": ""}, "LISTEN_FDS is '', not a number"),
        ({"LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:b:c"}, r"3 descriptors .*\(a:b:c\)"),
    ],
)
def test_a_wrong_count_is_refused(environ: dict[str, str], message: str) -> None:
    with pytest.raises(WrongSocket, match=message) as raised:
        _take(0, **environ)
    assert raised.value.exit_code == Exit.CONFIGURATION
    assert "ListenStream=" in raised.value.message


@pytest.mark.fault("O5")
def test_a_wrong_descriptor_is_refused_and_stays_open(
    tmp_path: Path, passed: list[socket.socket]
) -> None:
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    internet = socket.socket(socket.AF_INET)
    idle = socket.socket(socket.AF_UNIX)
    passed += [datagram, internet, idle]
    internet.bind(("127.0.0.1", 0))
    internet.listen()
    for sock, message in (
        (datagram, "a socket of SOCK_DGRAM"),
        (internet, "a socket of AF_INET"),
        (idle, "is not listening"),
    ):
        with pytest.raises(WrongSocket, match=message):
            _take(sock.fileno())
        os.fstat(sock.fileno())
    with open(tmp_path / "file", "w") as file, pytest.raises(WrongSocket, match="not a socket"):
        _take(file.fileno())
    with pytest.raises(WrongSocket, match="is not open"):
        _take(_free_descriptor())


def _pair(*paths: Path) -> int:
    """Listen at two paths, on descriptors that follow each other; give the first."""
    first = fcntl.fcntl(0, fcntl.F_DUPFD, 700)  # far from whatever else is opened meanwhile
    os.close(first)
    for number, path in enumerate(paths):
        sock = _listening(str(path))
        os.dup2(sock.fileno(), first + number)
        sock.close()
    return first


@pytest.mark.parametrize(
    ("names", "files", "http"),
    [
        ("sutler:sutler", ("s.sock", "s-http.sock"), "s-http.sock"),
        ("sutler:sutler", ("s-http.sock", "s.sock"), "s-http.sock"),
        ("", ("s-http.sock", "s.sock"), "s-http.sock"),
        ("http:sutler", ("web.sock", "s.sock"), "web.sock"),
    ],
)
def test_of_two_sockets_the_one_for_http_is_told_by_its_name(
    tmp_path: Path, names: str, files: tuple[str, str], http: str
) -> None:
    first = _pair(*(tmp_path / name for name in files))
    found = _take_all(first, LISTEN_FDS="2", LISTEN_FDNAMES=names)
    assert found is not None
    assert found.http is not None
    assert found.http.path == str(tmp_path / http)
    assert {found.main.path, found.http.path} == {str(tmp_path / name) for name in files}
    found.main.close()
    found.http.close()
    assert all((tmp_path / name).is_socket() for name in files)


@pytest.mark.fault("O5")
def test_two_sockets_that_cannot_be_told_apart_are_refused_and_stay_open(tmp_path: Path) -> None:
    for number, files in enumerate((("a.sock", "b.sock"), ("a-http.sock", "b-http.sock"))):
        (folder := tmp_path / str(number)).mkdir()
        first = _pair(*(folder / name for name in files))
        with pytest.raises(WrongSocket, match=r"which of .* is for HTTP cannot be told"):
            _take_all(first, LISTEN_FDS="2", LISTEN_FDNAMES="sutler:sutler")
        for descriptor in (first, first + 1):
            os.close(descriptor)


def _free_descriptor() -> int:
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor


SERVE_ONE = """
import os, select
from sutlerd.system.activation import inherited_listeners
listener = inherited_listeners(os.environ, pid=os.getpid()).main
select.select([listener.socket], [], [])
connection, _ = listener.socket.accept()
connection.sendall(b"served by %d" % os.getpid())
"""


def test_the_descriptor_is_number_three_in_a_fresh_process(
    tmp_path: Path, passed: list[socket.socket]
) -> None:
    listening = _listening(str(tmp_path / "s"))
    passed.append(listening)
    client = socket.socket(socket.AF_UNIX)
    passed.append(client)
    client.settimeout(20)
    client.connect(str(tmp_path / "s"))  # waits in the backlog: nobody serves yet
    hand_over = (
        "import os, sys\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "if sys.argv[1] == '3': os.set_inheritable(3, True)\n"
        "else: os.dup2(int(sys.argv[1]), 3)\n"
        "os.execv(sys.executable, [sys.executable, '-c', sys.argv[2]])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hand_over, str(listening.fileno()), SERVE_ONE],
        pass_fds=[listening.fileno()],
        env={**os.environ, "LISTEN_FDS": "1"},
    ) as process:
        assert client.recv(100) == b"served by %d" % process.pid
