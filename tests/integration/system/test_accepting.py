"""Accepting on real sockets, with descriptors to spare and without."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sutlerd.system.accepting import Acceptor, send_and_close

OVERLOADED = b'{"error": {"data": {"type": "overloaded"}}}\n'

both_loops = pytest.mark.loop("asyncio", "uvloop")


class Failing(socket.socket):
    """A listening socket whose accept fails in a way that no test may bring about for real."""

    failures: list[int]
    attempts = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.attempts += 1
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(number, os.strerror(number))
        return super().accept()


class Descriptors:
    """Uses up this process's descriptors from inside, under a limit lowered for the while."""

    def __init__(self) -> None:
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._held: list[int] = []

    def use_up(self) -> None:
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, self._limits[1]))
        while True:
            try:
                self._held.append(os.dup(0))
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
                return

    def give_back(self) -> None:
        for descriptor in self._held:
            os.close(descriptor)
        self._held.clear()
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)


@pytest.fixture
def descriptors() -> Iterator[Descriptors]:
    descriptors = Descriptors()
    yield descriptors
    descriptors.give_back()


class Door:
    """An acceptor under test, with what it did."""

    def __init__(self, path: Path, *, batch: int = 64) -> None:
        self.path = str(path)
        self.listening = Failing(socket.AF_UNIX)
        self.listening.failures = []
        self.listening.bind(self.path)
        self.listening.listen(256)
        self.listening.setblocking(False)
        self.taken: list[socket.socket] = []
        self.trouble: list[str] = []
        self.clients: list[socket.socket] = []
        self.acceptor = Acceptor(
            asyncio.get_running_loop(),
            self.listening,
            take=self.taken.append,
            refuse=lambda connection: send_and_close(connection, OVERLOADED),
            trouble=self.trouble.append,
            batch=batch,
            rest_s=0.02,
        )

    def knock(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        client.connect(self.path)
        self.clients.append(client)
        return client

    def close(self) -> None:
        self.acceptor.stop()
        for sock in (self.listening, *self.taken, *self.clients):
            sock.close()


@pytest.fixture
async def door(tmp_path: Path) -> Any:
    door = Door(tmp_path / "s", batch=4)
    yield door
    door.close()


async def _until(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110 -- what is waited for has no event
        await asyncio.sleep(0.001)


@both_loops
async def test_all_who_wait_get_in_a_batch_at_a_time(door: Door) -> None:
    for _ in range(10):
        door.knock()
    door.acceptor.on_readable()
    assert len(door.taken) == 4
    door.acceptor.start()
    await _until(lambda: len(door.taken) == 10)
    assert door.acceptor.accepted == 10
    assert not any(sock.getblocking() or sock.get_inheritable() for sock in door.taken)
    assert (door.acceptor.refused, door.trouble) == (0, [])


@both_loops
async def test_after_a_stop_clients_wait_and_a_drain_takes_them_all(door: Door) -> None:
    door.acceptor.start()
    door.acceptor.stop()
    door.acceptor.stop()
    for _ in range(10):
        door.knock()
    await asyncio.sleep(0.01)
    assert door.taken == []
    door.acceptor.drain()
    assert len(door.taken) == 10


@pytest.mark.fault("R1")
@both_loops
async def test_without_a_descriptor_the_reserve_still_says_overloaded(
    door: Door, descriptors: Descriptors
) -> None:
    door.acceptor.start()
    for _ in range(3):
        door.knock().send(b'{"method": "ping"}\n')
    descriptors.use_up()
    for client in door.clients:
        assert await _line(client) == OVERLOADED
        # Closed in order, not reset, though its request was never read.
        assert client.recv(10) == b""
    assert (door.acceptor.refused, door.acceptor.rests, len(door.trouble)) == (3, 0, 1)
    assert "Too many open files" in door.trouble[0]
    descriptors.give_back()
    door.knock()
    await _until(lambda: door.taken)
    assert door.acceptor.refused == 3


@pytest.mark.fault("R1")
@both_loops
async def test_with_even_the_reserve_gone_the_loop_rests_and_comes_back(
    door: Door, descriptors: Descriptors
) -> None:
    door.acceptor.start()
    client = door.knock()
    door.acceptor._drop_spare()
    descriptors.use_up()
    attempts_before = door.listening.attempts
    await _until(lambda: door.acceptor.rests >= 3)
    # Once for the client and once with the reserve, then quiet until the rest is over.
    assert door.listening.attempts - attempts_before == 2 * door.acceptor.rests
    assert door.acceptor.refused == 0
    assert len(door.trouble) == 1
    descriptors.give_back()
    await _until(lambda: door.taken)
    client.send(b"x")
    assert door.taken[0].recv(1) == b"x"


@pytest.mark.fault("R1")
@both_loops
async def test_enfile_is_met_like_emfile_and_want_of_memory_by_a_rest(door: Door) -> None:
    door.acceptor.start()
    door.listening.failures = [errno.ENFILE]
    refused = door.knock()
    assert await _line(refused) == OVERLOADED
    door.listening.failures = [errno.ECONNABORTED, errno.ENOMEM, errno.ENFILE, errno.ENFILE]
    door.knock()
    await _until(lambda: door.taken)
    assert (door.acceptor.refused, door.acceptor.rests) == (1, 2)
    assert [text.rpartition(": ")[2] for text in door.trouble] == [os.strerror(errno.ENFILE)]


@both_loops
async def test_a_stop_during_a_rest_is_final(door: Door) -> None:
    door.acceptor.start()
    door.listening.failures = [errno.ENOMEM]
    door.knock()
    await _until(lambda: door.acceptor.rests)
    door.acceptor.stop()
    await asyncio.sleep(0.05)
    assert door.taken == []


async def _line(client: socket.socket) -> bytes:
    found: list[bytes] = []

    def read() -> bool:
        try:
            found.append(client.recv(1000))
        except BlockingIOError:
            return False
        return True

    await _until(read)
    return found[0]


FLOODED = """
import asyncio, resource, sys, uvloop
from pathlib import Path
from sutlerd.system.accepting import Acceptor, send_and_close
from sutlerd.system.listening import SocketAccess, listen
import os
async def main():
    listener = listen(Path(sys.argv[1]), SocketAccess(), uid=os.geteuid())
    taken = []
    acceptor = Acceptor(asyncio.get_running_loop(), listener.socket, take=taken.append,
        refuse=lambda sock: send_and_close(sock, b"overloaded\\n"),
        trouble=lambda text: print(text, flush=True))
    acceptor.start()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    print(acceptor.accepted, acceptor.refused, acceptor.rests, flush=True)
uvloop.run(main())
"""


@pytest.mark.fault("R1")
def test_a_flood_past_the_descriptor_limit_is_refused_to_the_last_client(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with subprocess.Popen(
        [sys.executable, "-c", FLOODED, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        clients = []
        for _ in range(200):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(20)
            client.connect(path)
            clients.append(client)
        # The first get in and are held; every later one is told so.
        refused = [client for client in clients[100:] if client.recv(100) == b"overloaded\n"]
        assert len(refused) == 100
        said, _ = process.communicate("\n")
        for client in clients:
            client.close()
    accepted, total_refused, rests = map(int, said.split("\n")[-2].split())
    assert accepted + total_refused == 200
    assert 20 <= accepted < 64
    assert rests == 0
    assert said.count("Too many open files") == 1
