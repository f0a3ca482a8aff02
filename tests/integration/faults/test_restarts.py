"""The daemon dies and comes back: nothing is bought twice, and no call is sent for ever."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sutler
from tests.contract import answers
from tests.contract.answers import Answer, Hang
from tests.integration.faults.rig import Rig, held, serving
from tests.support.probe import Probe


class _Caller(threading.Thread):
    """Makes one call of the library; its outcome is what it returned or raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._result: Any = None
        self._error: sutler.SutlerError | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._call()
        except sutler.SutlerError as error:
            self._error = error

    def outcome(self) -> Any:
        self.join(30)
        assert not self.is_alive(), "the call hangs"
        return self._result if self._error is None else self._error


@contextlib.contextmanager
def _mortal(folder: Path) -> Iterator[Rig]:
    """Serve; the daemon that is probed at the end is not the one of the beginning."""
    with serving(folder) as rig:
        yield rig
        rig.answers.clear()
        Probe(rig.daemon).check()


def _dies_and_comes_back(rig: Rig) -> None:
    rig.daemon.kill()
    rig.daemon.start()


@pytest.mark.fault("O6")
def test_calls_that_wait_when_the_daemon_is_killed_are_sent_once_more(tmp_path: Path) -> None:
    with _mortal(tmp_path) as rig, sutler.Client(str(rig.daemon.socket), timeout_s=60) as client:
        rig.answers["waits"] = Answer((Hang(),), 1, 0)
        callers = [
            _Caller(lambda number=number: client.complete(f"waits {number}", temperature=1.0))
            for number in range(8)
        ]
        rig.wait_until_asked("waits", times=8)
        rig.answers.clear()
        _dies_and_comes_back(rig)
        replies = [caller.outcome() for caller in callers]
        assert [reply.content for reply in replies] == [f"to: waits {n}" for n in range(8)]
        assert rig.asked("waits") == 16


@pytest.mark.fault("O6")
def test_a_request_that_kills_the_daemon_each_time_is_not_sent_for_ever(tmp_path: Path) -> None:
    with _mortal(tmp_path) as rig, sutler.Client(str(rig.daemon.socket), timeout_s=60) as client:
        rig.answers["deadly"] = Answer((Hang(),), 1, 0)
        caller = _Caller(lambda: client.chat("deadly"))
        for times in (1, 2):
            rig.wait_until_asked("deadly", times=times)
            _dies_and_comes_back(rig)
        lost = caller.outcome()
        assert isinstance(lost, sutler.ConnectionLost)
        assert lost.retryable
        assert rig.asked("deadly") == 2
        assert client.chat("harmless") == "to: harmless"


@pytest.mark.fault("O6")
def test_a_stream_that_has_begun_is_not_begun_again(tmp_path: Path) -> None:
    with _mortal(tmp_path) as rig, sutler.Client(str(rig.daemon.socket), timeout_s=60) as client:
        rig.answers["begun"] = answers.openai_stream(["a", "b"], between=[Hang()])
        heard: list[str] = []

        def read() -> None:
            heard.extend(chunk.content for chunk in client.stream("begun"))

        caller = _Caller(read)
        rig.wait_until_asked("begun")
        while not heard:
            pass
        _dies_and_comes_back(rig)
        assert isinstance(caller.outcome(), sutler.ConnectionLost)
        assert heard == ["a"]
        assert rig.asked("begun") == 1


class _Relay:
    """Stands at a socket of its own before the daemon's, and cuts the answer in half."""

    def __init__(self, folder: Path, behind: Path) -> None:
        self.path = folder / "relay"
        self._behind = behind
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen(8)
        self.cut = threading.Event()
        self.back = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            self._pass_on(half=True)
            self.cut.set()
            self.back.wait(30)
            self._pass_on(half=False)

    def _pass_on(self, *, half: bool) -> None:
        connection, _ = self._listening.accept()
        with connection, socket.socket(socket.AF_UNIX) as daemon:
            daemon.connect(str(self._behind))
            daemon.sendall(connection.recv(65_536))
            line = daemon.recv(65_536)
            assert line.endswith(b"\n")
            connection.sendall(line[: len(line) // 2] if half else line)


@pytest.mark.fault("O6")
def test_an_answer_cut_in_half_by_a_kill_is_had_again_without_being_bought_again(
    tmp_path: Path,
) -> None:
    with _mortal(tmp_path) as rig:
        relay = _Relay(tmp_path, rig.daemon.socket)
        with sutler.Client(str(relay.path), timeout_s=60) as client:
            # Not cacheable: only its request id can bring it back.
            caller = _Caller(lambda: client.complete("bought once", temperature=1.5))
            assert relay.cut.wait(30)
            _dies_and_comes_back(rig)
            relay.back.set()
            reply = caller.outcome()
            assert reply.content == "to: bought once"
            assert rig.asked("bought once") == 1
        relay.close()


@pytest.mark.fault("O6")
def test_who_asks_again_before_the_daemon_has_noticed_follows_the_first_call(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as rig:
        rig.answers["slow"] = held("gate", answers.openai_chat("once"))
        question = {"prompt": "slow", "temperature": 1.5, "request_id": "mine"}
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(rig.client()) for _ in range(3)]
            for client in clients:
                client.send("complete", **question)
            rig.wait_until_asked("slow")
            # All three are read: who left before the others came would have ended the call.
            until_s = time.monotonic() + 20
            while rig.daemon.result("status")["calls_open"] < 3:
                assert time.monotonic() < until_s
            clients.pop(0).close()
            rig.provider.open("gate")
            for client in clients:
                reply = client.line()["result"]
                assert reply["content"] == "once"
                assert reply["request_id"] == "mine"
        assert rig.daemon.result("complete", **question)["content"] == "once"
        other = rig.daemon.ask("complete", **{**question, "prompt": "another"})
        assert other["error"]["data"]["type"] == "invalid_params"
        assert rig.asked("slow") == 1


@pytest.mark.fault("O6")
def test_idle_clients_do_not_notice_a_restart(tmp_path: Path) -> None:
    with _mortal(tmp_path) as rig, contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(sutler.Client(str(rig.daemon.socket), timeout_s=30))
            for _ in range(8)
        ]
        for client in clients:
            client.chat("before")
        assert rig.daemon.stop() == 0
        rig.daemon.start()
        for number, client in enumerate(clients):
            assert client.chat(f"after {number}") == f"to: after {number}"


@pytest.mark.fault("O6")
@pytest.mark.fault("S9")
def test_a_killed_daemon_leaves_nothing_that_keeps_the_next_from_starting(tmp_path: Path) -> None:
    with _mortal(tmp_path) as rig:
        rig.answers["waits"] = held("never", answers.openai_chat())
        with rig.client() as client:
            client.send("chat", prompt="waits")
            rig.wait_until_asked("waits")
            while rig.status()["cache"]["queued_writes"]:
                time.sleep(0.01)
            rig.daemon.kill()
            assert rig.daemon.socket.exists()
            rig.daemon.start()
        assert rig.daemon.result("chat", prompt="the probe: asked before")["cached"] is True
        assert os.path.exists(rig.daemon.socket)
