"""The client library's own bad moments, with the real daemon at the other end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import sutler
from sutlerd.system.listening import BACKLOG
from tests.contract import answers
from tests.contract.answers import Gate
from tests.integration.faults.rig import Rig, held, let_others_in, serving
from tests.support.other_user import OTHER_UID, needs_root


def _run(program: str, rig: Rig, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(rig.daemon.socket), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


_CONNECTS = """
import sys
import sutler

client = sutler.Client(sys.argv[1], timeout_s=float(sys.argv[2]))
print("begins", flush=True)
try:
    print(client.chat("patience"), flush=True)
except sutler.SutlerError as error:
    print(type(error).__name__, error.retryable, error, flush=True)
"""


@pytest.mark.fault("C15")
def test_a_client_waits_in_a_backlog_that_is_full_and_is_served_when_it_moves(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as rig:
        backlog = min(BACKLOG, int(Path("/proc/sys/net/core/somaxconn").read_text()))
        os.kill(rig.daemon.process.pid, signal.SIGSTOP)
        try:
            waiting = _fill(rig, backlog)
            with _run(_CONNECTS, rig, "60") as patient, _run(_CONNECTS, rig, "1") as hasty:
                assert _says(patient) == _says(hasty) == "begins"
                said = _says(hasty)
                assert "True" in said, said
                os.kill(rig.daemon.process.pid, signal.SIGCONT)
                for sock in waiting:
                    sock.close()
                assert _says(patient) == "to: patience"
        finally:
            os.kill(rig.daemon.process.pid, signal.SIGCONT)


def _fill(rig: Rig, backlog: int) -> list[socket.socket]:
    waiting: list[socket.socket] = []
    while True:
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            sock.connect(str(rig.daemon.socket))
        except BlockingIOError:
            sock.close()
            return waiting
        waiting.append(sock)
        assert len(waiting) <= backlog + 10


_FORKS = """
import os, sys
import sutler

client = sutler.Client(sys.argv[1], timeout_s=60)
stream = client.stream("shared")
text = next(stream).content
pid = os.fork()
if pid == 0:
    print("child", client.chat("of the child"), flush=True)
    sys.exit(0)
print("child ended with", os.waitpid(pid, 0)[1], flush=True)
sys.stdin.readline()
text += "".join(chunk.content for chunk in stream)
print("parent", text, stream.result.content, flush=True)
print("parent", client.chat("of the parent"), flush=True)
"""


@pytest.mark.fault("C16")
def test_a_fork_in_the_middle_of_a_stream_costs_neither_parent_nor_child_anything(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as rig:
        rig.answers["shared"] = answers.openai_stream(["a", "b", "c"], between=[Gate("go on")])
        with _run(_FORKS, rig) as process:
            assert _says(process) == "child to: of the child"
            assert _says(process) == "child ended with 0"
            rig.provider.open("go on")
            print("go on", file=process.stdin, flush=True)
            assert _says(process) == "parent abc abc"
            assert _says(process) == "parent to: of the parent"
        assert rig.asked("shared") == 1


class _Interruption(Exception):
    pass


@pytest.mark.fault("C17")
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, _Interruption])
def test_an_interrupted_call_is_cancelled_and_the_next_one_gets_its_own_answer(
    tmp_path: Path, interruption: type[BaseException]
) -> None:
    def interrupt(*_: object) -> None:
        raise interruption

    with serving(tmp_path) as rig, sutler.Client(str(rig.daemon.socket), timeout_s=60) as client:
        rig.answers["interrupted"] = held("gate", answers.openai_chat("too late"))
        previous = signal.signal(signal.SIGUSR1, interrupt)
        try:

            def at_the_right_moment() -> None:
                rig.wait_until_asked("interrupted")
                time.sleep(0.05)
                os.kill(os.getpid(), signal.SIGUSR1)

            helper = threading.Thread(target=at_the_right_moment)
            helper.start()
            with pytest.raises(interruption):
                client.chat("interrupted")
            helper.join()
        finally:
            signal.signal(signal.SIGUSR1, previous)
        # The daemon has hung up on the provider: nobody waits for that answer any more.
        assert client.chat("the next one") == "to: the next one"
        rig.provider.wait_until(lambda: rig.provider.hangups == 1, timeout_s=10)
        rig.provider.open("gate")
        assert client.chat("and the one after") == "to: and the one after"


_SQUATS = """
import os, socket, sys

os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
listening.listen(1)
print("listening", flush=True)
connection, _ = listening.accept()
print("heard", connection.recv(1000), flush=True)
"""


@needs_root
@pytest.mark.fault("X2")
def test_a_client_says_nothing_to_a_listener_it_does_not_trust(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    let_others_in(tmp_path)
    path = folder / "squatted"
    with subprocess.Popen(
        [sys.executable, "-c", _SQUATS, str(path), str(OTHER_UID)],
        stdout=subprocess.PIPE,
        text=True,
    ) as squatter:
        try:
            assert _says(squatter) == "listening"
            client = sutler.Client(str(path), timeout_s=10)
            with client, pytest.raises(sutler.AccessDenied, match=str(OTHER_UID)):
                client.chat("a secret question")
            assert _says(squatter) == "heard b''"
        finally:
            squatter.kill()
