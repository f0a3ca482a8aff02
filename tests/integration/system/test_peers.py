"""Peers as the kernel shows them on real sockets."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sutlerd.system.access import Access
from sutlerd.system.peers import Peer, Presence, identify, peer_pid, presence, presences
from tests.support.other_user import OTHER_UID, as_user, needs_root

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        sock.settimeout(20)
        yield sock


def test_a_peer_is_its_process_user_and_groups(pair: Pair) -> None:
    peer = identify(pair[0])
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert peer.groups == frozenset(os.getgroups())
    assert peer.job is None


def _identified_as(listening: socket.socket, uid: int, groups: tuple[int, ...]) -> Peer:
    """Connect as another user and tell how that looks from here."""
    path = Path(listening.getsockname())
    path.parent.chmod(0o711)
    path.chmod(0o666)
    # Through the open folder, as pytest's own folders are closed to others.
    folder = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as client:
        as_user(uid, lambda: client.connect(f"/proc/self/fd/{folder}/s"), groups=groups)
        connection, _ = listening.accept()
        with connection:
            peer = identify(connection)
    os.close(folder)
    return peer


@needs_root
@pytest.mark.fault("X1")
def test_a_uid_that_no_database_knows_is_still_a_uid(listening: socket.socket) -> None:
    peer = _identified_as(listening, OTHER_UID, (40, 41))
    assert (peer.uid, peer.gid) == (OTHER_UID, OTHER_UID)
    assert peer.groups == {40, 41}
    assert Access(uids=frozenset({1})).caller(peer) is None
    assert Access().caller(peer) is not None


@needs_root
def test_more_groups_than_one_call_has_room_for_are_all_read(listening: socket.socket) -> None:
    many = tuple(random.Random(7).sample(range(100_000, 900_000), 3_000))
    assert _identified_as(listening, OTHER_UID, many).groups == frozenset(many)


@pytest.mark.fault("X1")
def test_the_identity_is_that_of_the_connect_wherever_the_socket_goes(
    listening: socket.socket,
) -> None:
    connect_and_pass_on = (
        "import os, socket, sys, subprocess\n"
        "sock = socket.socket(socket.AF_UNIX); sock.connect(sys.argv[1])\n"
        "sock.set_inheritable(True); print(os.getpid(), flush=True)\n"
        "subprocess.run(['cat'], close_fds=False)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", connect_and_pass_on, listening.getsockname()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        connection, _ = listening.accept()
        with connection:
            assert peer_pid(connection) == pid
            assert identify(connection).pid == pid
            child.communicate()
            # The process has ended; who it was stays known.
            peer = identify(connection)
            assert (peer.pid, peer.uid, peer.job) == (pid, os.geteuid(), None)


@pytest.mark.fault("C4")
def test_a_half_closed_peer_is_told_from_a_gone_one(pair: Pair) -> None:
    ours, theirs = pair
    assert presence(ours.fileno()) is Presence.OPEN
    theirs.sendall(b"unread")
    theirs.shutdown(socket.SHUT_WR)
    assert presence(ours.fileno()) is Presence.HALF_CLOSED
    theirs.close()
    assert presence(ours.fileno()) is Presence.GONE


@pytest.mark.fault("C4")
def test_a_peer_killed_after_its_half_close_is_gone(listening: socket.socket) -> None:
    half_close = (
        "import socket, sys\n"
        "sock = socket.socket(socket.AF_UNIX); sock.connect(sys.argv[1])\n"
        "sock.sendall(b'{}\\n'); sock.shutdown(socket.SHUT_WR)\n"
        "print('done', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", half_close, listening.getsockname()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        connection, _ = listening.accept()
        with connection:
            assert connection.recv(10) == b"{}\n"
            assert connection.recv(10) == b""
            assert presence(connection.fileno()) is Presence.HALF_CLOSED
            child.kill()
            child.wait()
            assert presence(connection.fileno()) is Presence.GONE


def test_many_are_looked_at_in_one_go(pair: Pair) -> None:
    ours, theirs = pair
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    assert presences([ours.fileno(), theirs.fileno(), writing]) == {
        ours.fileno(): Presence.OPEN,
        theirs.fileno(): Presence.OPEN,
        writing: Presence.GONE,
    }
    assert presences([]) == {}
