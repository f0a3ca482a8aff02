"""Sockets on real paths: fresh, stale, live, squatted, linked, too long, and lost."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sutlerd.system.exits import Exit
from sutlerd.system.listening import (
    Listener,
    SocketAccess,
    SocketInUse,
    listen,
    listen_again,
    somaxconn_warning,
)
from sutlerd.system.lock import Locked
from sutlerd.system.open_folder import UnsafeFolder, UnusableFolder
from sutlerd.system.socket_path import closed_folder_warning, reachable
from tests.support.other_user import OTHER_UID, as_user, needs_root

UID = os.geteuid()
Listen = Callable[..., Listener]


@pytest.fixture
def listening() -> Iterator[Listen]:
    """Give ``listen`` with defaults; what it made is closed in the end."""
    made: list[Listener] = []

    def start(path: Path, mode: int = 0o600, gid: int | None = None) -> Listener:
        made.append(listen(path, SocketAccess(mode=mode, gid=gid), uid=UID))
        return made[-1]

    yield start
    for listener in made:
        listener.close()


def _greets(listener: Listener, path: str | Path | None = None) -> bool:
    """Say whether a client at the path reaches just this listener."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path or listener.path))
        connection, _ = listener.socket.accept()
        with connection:
            connection.sendall(b"hi")
        return client.recv(10) == b"hi"


def _bound_socket(path: Path, kind: int = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.bind(str(path))
    return sock


def test_a_socket_appears_whole_and_leaves_nothing_behind(
    tmp_path: Path, listening: Listen
) -> None:
    listener = listening(tmp_path / "s")
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["s", "s.lock"]
    assert listener.is_ours
    assert not listener.socket.getblocking()
    assert _greets(listener)
    listener.close()
    listener.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("O10")
def test_a_missing_folder_is_made_for_us_alone(tmp_path: Path, listening: Listen) -> None:
    assert _greets(listening(tmp_path / "run" / "s"))
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700


@needs_root
@pytest.mark.fault("O10")
def test_an_unsafe_folder_is_refused_with_owner_and_remedy(tmp_path: Path) -> None:
    os.chown(tmp_path, OTHER_UID, -1)
    with pytest.raises(UnsafeFolder, match=f"owned by uid {OTHER_UID}.*chown"):
        listen(tmp_path / "s", SocketAccess(), uid=UID)
    os.chown(tmp_path, UID, -1)
    tmp_path.chmod(0o777)
    with pytest.raises(UnsafeFolder, match="chmod go-w"):
        listen(tmp_path / "s", SocketAccess(), uid=UID)
    assert list(tmp_path.iterdir()) == []


@needs_root
@pytest.mark.fault("X1")
def test_mode_and_group_decide_who_gets_in(tmp_path: Path, listening: Listen) -> None:
    tmp_path.chmod(0o711)
    folder = os.open(tmp_path, os.O_PATH)

    def knock(groups: tuple[int, ...]) -> int:
        def connect() -> int:
            with socket.socket(socket.AF_UNIX) as client:
                return client.connect_ex(f"/proc/self/fd/{folder}/s")

        return as_user(OTHER_UID, connect, groups=groups)

    listener = listening(tmp_path / "s", 0o660, 7_007)
    found = (tmp_path / "s").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, 7_007)
    assert knock(()) == errno.EACCES
    assert knock((7_007,)) == 0
    listener.close()
    listening(tmp_path / "s", 0o666)
    assert knock(()) == 0
    os.close(folder)


@needs_root
def test_a_group_that_is_not_ours_to_give_is_named() -> None:
    # Not below pytest's own folder, which is closed to other users.
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, OTHER_UID, OTHER_UID)

        def attempt() -> str:
            with pytest.raises(UnusableFolder) as raised:
                listen(Path(name, "s"), SocketAccess(mode=0o660, gid=0), uid=OTHER_UID)
            return raised.value.message

        message = as_user(OTHER_UID, attempt)
        assert "give it to the group 0: Operation not permitted" in message
        assert os.listdir(name) == []


@pytest.mark.fault("O8")
def test_a_stale_socket_is_replaced(tmp_path: Path, listening: Listen) -> None:
    killed = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from sutlerd.system.listening import SocketAccess, listen\n"
        "kept = listen(Path(sys.argv[1]), SocketAccess(), uid=os.geteuid())\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", killed, str(tmp_path / "s")], check=False)
    assert (tmp_path / "s").is_socket()
    assert (tmp_path / "s.lock").exists()
    assert _greets(listening(tmp_path / "s"))


@pytest.mark.fault("O8")
@pytest.mark.fault("S12")
def test_a_live_socket_is_left_untouched(tmp_path: Path, listening: Listen) -> None:
    with _bound_socket(tmp_path / "s") as live:
        live.listen(0)
        before = (tmp_path / "s").stat()
        with pytest.raises(SocketInUse, match=f"pid {os.getpid()}") as raised:
            listening(tmp_path / "s")
        assert raised.value.exit_code == Exit.ALREADY_RUNNING
        # By now its backlog is full, and it is as alive as before.
        with pytest.raises(SocketInUse):
            listening(tmp_path / "s")
        assert (tmp_path / "s").stat() == before
        assert [each.name for each in tmp_path.iterdir()] == ["s"]


@pytest.mark.fault("S12")
def test_a_second_daemon_at_the_same_path_is_refused_by_the_lock(
    tmp_path: Path, listening: Listen
) -> None:
    first = listening(tmp_path / "s")
    with pytest.raises(Locked, match=f"pid {os.getpid()}") as raised:
        listening(tmp_path / "s")
    assert raised.value.holder_pid == os.getpid()
    assert _greets(first)


@pytest.mark.fault("O8")
def test_what_is_no_socket_is_left_untouched(tmp_path: Path, listening: Listen) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    for name in ("file", "folder"):
        with pytest.raises(UnsafeFolder, match="is not a socket") as raised:
            listening(tmp_path / name)
        assert raised.value.exit_code == Exit.CANNOT_CREATE
    assert (tmp_path / "file").read_text() == "precious"
    with (
        _bound_socket(tmp_path / "datagram", socket.SOCK_DGRAM),
        pytest.raises(UnsafeFolder, match="another type"),
    ):
        listening(tmp_path / "datagram")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["datagram", "file", "folder"]


@pytest.mark.fault("X3")
def test_a_link_at_the_path_is_never_followed(tmp_path: Path, listening: Listen) -> None:
    _bound_socket(tmp_path / "target").close()
    before = (tmp_path / "target").stat()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("link", "dangling"):
        with pytest.raises(UnsafeFolder, match="symbolic link"):
            listening(tmp_path / name)
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "target").stat() == before
    (tmp_path / "s.lock").symlink_to(tmp_path / "target")
    with pytest.raises(UnsafeFolder, match="symbolic link"):
        listening(tmp_path / "s")


@pytest.mark.fault("O9")
@pytest.mark.parametrize("length_bytes", [107, 108, 200])
@pytest.mark.parametrize("letter", ["a", "é"])
def test_a_path_of_any_length_is_bound_and_reached(
    tmp_path: Path, listening: Listen, length_bytes: int, letter: str
) -> None:
    width = len(letter.encode())
    missing = length_bytes - len(os.fsencode(tmp_path)) - len("//s")
    folder = tmp_path / (letter * (missing // width) + "b" * (missing % width))
    path = folder / "s"
    assert len(os.fsencode(path)) == length_bytes
    listener = listening(path)
    assert listener.path == str(path)
    assert listener.still_there()
    descriptor = os.open(folder, os.O_PATH)
    try:
        through = reachable(path, descriptor)
        assert (through == str(path)) == (length_bytes <= 107)
        assert _greets(listener, through)
    finally:
        os.close(descriptor)


@pytest.mark.fault("O9")
def test_a_name_that_no_way_reaches_is_refused_with_its_length(
    tmp_path: Path, listening: Listen
) -> None:
    path = tmp_path / ("n" * 120)
    with pytest.raises(UnusableFolder) as raised:
        listening(path)
    assert f"{len(os.fsencode(path))} bytes, the limit is 107" in raised.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("O10")
def test_a_removed_socket_is_noticed_and_bound_anew(tmp_path: Path, listening: Listen) -> None:
    lost = listening(tmp_path / "run" / "s", 0o666)
    client = socket.socket(socket.AF_UNIX)
    client.connect(lost.path)
    assert lost.still_there()
    (tmp_path / "run" / "s").unlink()
    assert not lost.still_there()
    fresh = listen_again(lost, uid=UID)
    assert stat.S_IMODE((tmp_path / "run" / "s").stat().st_mode) == 0o666
    assert _greets(fresh)
    # Who was waiting at the old one is still there to be served.
    with lost.socket.accept()[0] as served, client:
        served.sendall(b"late")
        assert client.recv(10) == b"late"
    lost.socket.close()
    for each in (tmp_path / "run").iterdir():
        each.unlink()
    (tmp_path / "run").rmdir()
    anew = listen_again(fresh, uid=UID)
    assert _greets(anew)
    fresh.close()
    assert anew.still_there()
    anew.close()
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.fault("O10")
def test_a_socket_that_another_took_is_not_taken_back(tmp_path: Path, listening: Listen) -> None:
    lost = listening(tmp_path / "s")
    (tmp_path / "s").unlink()
    with _bound_socket(tmp_path / "s") as other:
        other.listen()
        assert not lost.still_there()
        with pytest.raises(SocketInUse):
            listen_again(lost, uid=UID)
        lost.close()
        assert (tmp_path / "s").is_socket()
    assert lost.lock is not None
    inherited = Listener(socket=lost.socket, path="x")
    assert inherited.still_there()
    with pytest.raises(ValueError):
        listen_again(inherited, uid=UID)


def test_modes_that_the_folder_makes_useless_are_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    warning = closed_folder_warning(tmp_path / "s", 0o660)
    assert warning is not None
    assert "mode 0660" in warning
    assert closed_folder_warning(tmp_path / "s", 0o600) is None
    tmp_path.chmod(0o750)
    assert closed_folder_warning(tmp_path / "s", 0o660) is None


def test_a_kernel_that_shortens_the_backlog_is_said() -> None:
    assert somaxconn_warning(1) is None
    warning = somaxconn_warning(2**31)
    assert warning is not None
    assert "net.core.somaxconn" in warning
