"""Told to stop: what is under way is finished or told so, and nobody waits for nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sutlerd.system.exits import Exit
from tests.contract import answers
from tests.contract.answers import Answer, Gate, Hang
from tests.contract.scripted import ScriptedProvider
from tests.integration.faults.rig import Rig, held, llm_group
from tests.support.wire_client import WireClient, request_line, text_of

#: A provider's package that takes its time to be imported, and once more at the end.
_SLOW_PACKAGE = """
import atexit, os, time
atexit.register(time.sleep, 60)
os.write(2, b"being loaded\\n")
time.sleep(60)
"""


@contextlib.contextmanager
def _serving(folder: Path, *, drain_s: float = 30.0, **settings: object) -> Iterator[Rig]:
    """Serve without the probe: at the end of these, nobody is there to ask."""
    with ScriptedProvider.in_thread() as provider:
        rig = Rig(folder, provider, daemon={"drain_s": drain_s}, **settings)  # type: ignore[arg-type]
        with rig.daemon:
            yield rig


def _type_of(line: dict[str, object]) -> str:
    kind: str = line["error"]["data"]["type"]  # type: ignore[index]
    return kind


def _draining(rig: Rig, client: WireClient) -> None:
    """Tell the daemon to stop, and wait until it has heard."""
    rig.daemon.process.send_signal(signal.SIGTERM)
    until_s = time.monotonic() + 10
    while client.result("status")["state"] != "draining":
        assert time.monotonic() < until_s
        time.sleep(0.01)


def _ended(rig: Rig) -> int:
    code = rig.daemon.process.wait(20)
    log = rig.daemon.log()
    assert "Traceback" not in log, log
    assert not rig.daemon.socket.exists()
    last = log.strip().splitlines()[-1]
    assert f"exit_code={code}" in last
    assert Exit(code).sentence in last or "the drain limit" in last
    return code


@pytest.mark.fault("O1")
def test_what_is_under_way_is_finished_and_what_comes_is_told_to_come_back(tmp_path: Path) -> None:
    with _serving(tmp_path) as rig, rig.client() as client, rig.client() as idle:
        rig.answers["sent"] = held("gate", answers.openai_chat("finished"))
        rig.answers["streaming"] = answers.openai_stream(["a", "b"], between=[Gate("gate")])
        assert client.result("chat", prompt="before")["content"] == "to: before"
        client.send("chat", prompt="sent", as_id="sent")
        client.send("complete", prompt="streaming", stream=True, as_id="streaming")
        assert client.line()["params"]["delta"] == "a"
        rig.wait_until_asked("sent")
        _draining(rig, idle)
        for question in ("new", "before"):
            refused = idle.ask("chat", prompt=question)
            assert _type_of(refused) == "shutting_down"
            assert refused["error"]["data"]["retryable"] is True
        with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
            rig.client()
        rig.provider.open("gate")
        lines = client.rest()
        by_id = {line["id"]: line["result"]["content"] for line in lines if "id" in line}
        assert by_id == {"sent": "finished", "streaming": "ab"}
        assert text_of([line["params"] for line in lines if "method" in line]) == "b"
        assert idle.is_closed()
        assert _ended(rig) == Exit.CLEAN


@pytest.mark.fault("O1")
def test_what_does_not_end_within_the_limit_is_told_so(tmp_path: Path) -> None:
    with _serving(tmp_path, drain_s=0.5) as rig, rig.client() as client:
        rig.answers["stuck"] = Answer((Hang(),), 1, 0)
        rig.answers["streaming"] = answers.openai_stream(["a", "b"], between=[Hang()])
        client.send("chat", prompt="stuck", as_id=1)
        client.send("complete", prompt="streaming", stream=True, as_id=2)
        assert client.line()["params"]["delta"] == "a"
        rig.wait_until_asked("stuck")
        rig.daemon.process.send_signal(signal.SIGTERM)
        lines = client.rest()
        assert {line["id"]: _type_of(line) for line in lines} == {
            1: "shutting_down",
            2: "shutting_down",
        }
        # Both connections to the provider were closed in good order.
        rig.provider.wait_until(lambda: rig.provider.hangups == 2, timeout_s=10)
        assert _ended(rig) == Exit.CLEAN


@pytest.mark.fault("O1")
def test_a_call_that_waits_to_be_tried_again_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with _serving(tmp_path) as rig, rig.client() as client:
        rig.answers["later"] = answers.openai_error(503, headers={"retry-after": "600"})
        client.send("chat", prompt="later", timeout_s=1200)
        rig.wait_until_asked("later")
        time.sleep(0.1)
        rig.daemon.process.send_signal(signal.SIGTERM)
        assert _type_of(client.line()) == "shutting_down"
        assert _ended(rig) == Exit.CLEAN


@pytest.mark.fault("O1")
def test_who_waits_for_a_permit_is_told_at_once_and_who_has_one_may_finish(tmp_path: Path) -> None:
    limits = {"rate_limits": {"scripted": {"calls_in_flight": 1}}}
    with _serving(tmp_path, llm=limits) as rig, rig.client() as client:
        rig.answers["sent"] = held("gate", answers.openai_chat("finished"))
        client.send("chat", prompt="sent", as_id="sent")
        rig.wait_until_asked("sent")
        client.send("chat", prompt="queued", as_id="queued")
        while not rig.status()["buckets"][0]["waiting"]:
            time.sleep(0.01)
        rig.daemon.process.send_signal(signal.SIGTERM)
        refused = client.line()
        assert (refused["id"], _type_of(refused)) == ("queued", "shutting_down")
        rig.provider.open("gate")
        assert [line["result"]["content"] for line in client.rest()] == ["finished"]
        assert rig.asked("queued") == 0
        assert _ended(rig) == Exit.CLEAN


@pytest.mark.fault("O1")
def test_who_waits_in_the_backlog_at_the_end_is_told_too(tmp_path: Path) -> None:
    with _serving(tmp_path) as rig, contextlib.ExitStack() as stack:
        # Connected and asked, but not accepted: the daemon stands still meanwhile.
        rig.daemon.process.send_signal(signal.SIGSTOP)
        waiting = [stack.enter_context(rig.client()) for _ in range(50)]
        for client in waiting:
            client.send("chat", prompt="never asked")
        rig.daemon.process.send_signal(signal.SIGTERM)
        rig.daemon.process.send_signal(signal.SIGCONT)
        for client in waiting:
            assert [_type_of(line) for line in client.rest()] == ["shutting_down"]
        assert _ended(rig) == Exit.CLEAN


@pytest.mark.fault("O2")
@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once_with_every_call_told(
    tmp_path: Path, again: signal.Signals
) -> None:
    with _serving(tmp_path) as rig, rig.client() as client, rig.client() as other:
        rig.answers["stuck"] = Answer((Hang(),), 1, 0)
        for number in range(10):
            client.send("chat", prompt=f"stuck {number}", as_id=number)
        rig.wait_until_asked("stuck", times=10)
        _draining(rig, other)
        rig.daemon.process.send_signal(again)
        lines = client.rest()
        assert sorted(line["id"] for line in lines) == list(range(10))
        assert {_type_of(line) for line in lines} == {"shutting_down"}
        assert _ended(rig) == Exit.CUT_SHORT


@pytest.mark.fault("O2")
def test_neither_a_package_that_is_being_loaded_nor_what_it_leaves_holds_up_the_end(
    tmp_path: Path,
) -> None:
    package = tmp_path / "packages" / "openai"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(_SLOW_PACKAGE)
    beside = os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")])
    with ScriptedProvider.in_thread() as provider:
        llm = llm_group(provider.base_url)
        llm["providers"]["scripted"]["transport"] = "sdk"
        rig = Rig(tmp_path / "d", provider, llm=llm, environ={"PYTHONPATH": beside})
        with rig.daemon, rig.client() as client, rig.client() as other:
            client.send("chat", prompt="never sent")
            until_s = time.monotonic() + 20
            while "being loaded" not in rig.daemon.log():
                assert time.monotonic() < until_s, rig.daemon.log()
                time.sleep(0.01)
            _draining(rig, other)
            rig.daemon.process.send_signal(signal.SIGTERM)
            assert [_type_of(line) for line in client.rest()] == ["shutting_down"]
            assert _ended(rig) == Exit.CUT_SHORT


@pytest.mark.fault("O2")
def test_clients_that_read_nothing_do_not_hold_up_the_end(tmp_path: Path) -> None:
    with _serving(tmp_path, drain_s=0.2) as rig, contextlib.ExitStack() as stack:
        rig.answers["large"] = answers.openai_chat("y" * (4 << 20))
        rig.daemon.result("complete", prompt="large")
        for _ in range(5):
            stack.enter_context(rig.client(receive_buffer_bytes=4096)).send(
                "complete", prompt="large"
            )
        rig.daemon.result("ping")
        rig.daemon.process.send_signal(signal.SIGTERM)
        assert _ended(rig) == Exit.CLEAN
        assert "left before they had read everything" in rig.daemon.log()


@pytest.mark.fault("O1")
def test_the_service_manager_hears_of_the_start_and_of_the_end(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = tmp_path / "notify"
        manager.bind(str(address))
        manager.settimeout(20)
        with _serving(tmp_path, environ={"NOTIFY_SOCKET": str(address)}) as rig:
            assert manager.recv(4096).startswith(b"READY=1\n")
            rig.daemon.process.send_signal(signal.SIGTERM)
            assert manager.recv(4096).startswith(b"STOPPING=1\n")
            assert _ended(rig) == Exit.CLEAN


def test_a_half_closed_client_gets_its_answer_during_the_drain(tmp_path: Path) -> None:
    with _serving(tmp_path) as rig, rig.client() as client:
        rig.answers["sent"] = held("gate", answers.openai_chat("finished"))
        client.send_raw(request_line("chat", 1, prompt="sent"))
        client.half_close()
        rig.wait_until_asked("sent")
        rig.daemon.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        rig.provider.open("gate")
        assert [line["result"]["content"] for line in client.rest()] == ["finished"]
        assert _ended(rig) == Exit.CLEAN
