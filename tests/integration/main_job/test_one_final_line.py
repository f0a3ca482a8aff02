"""Whatever crosses on the way, a request gets one final line, and patience is each one's own."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sutler
from tests.contract.answers import Answer, Gate, openai_chat
from tests.contract.scripted import Received, ScriptedProvider
from tests.integration.main_job.conftest import StartDaemon, configured
from tests.support.daemon_process import DaemonProcess

IN_FLIGHT = 256


def held(request: Received) -> Answer:
    """Answer once the test opens the gate."""
    whole = openai_chat(f"to {request.json['messages'][-1]['content']}")
    return Answer(steps=(Gate("go"), *whole.steps))


@pytest.fixture
def holding() -> Iterator[ScriptedProvider]:
    with ScriptedProvider.in_thread(always=held) as provider:
        yield provider


def line(request_id: int | str, method: str, **params: Any) -> bytes:
    return json.dumps({"id": request_id, "method": method, "params": params}).encode() + b"\n"


def final_lines(sock: socket.socket) -> list[dict[str, Any]]:
    """Read to the end of what the daemon owes to a client that has ended its sending."""
    with sock.makefile("rb") as stream:
        return [reply for reply in map(json.loads, stream) if "id" in reply]


@pytest.mark.fault("C21")
def test_a_cancel_read_while_its_flight_ends_makes_no_second_answer(
    holding: ScriptedProvider, folder: Path
) -> None:
    last = IN_FLIGHT - 1
    asked = [line(number, "complete", prompt="same") for number in range(IN_FLIGHT)]
    behind = [line("c", "cancel", id=last), line(last, "complete", prompt="new")]
    with (
        DaemonProcess(folder, config=configured(holding)) as daemon,
        socket.socket(socket.AF_UNIX) as sock,
    ):
        sock.connect(str(daemon.socket))
        sock.sendall(b"".join(asked + behind))
        sock.shutdown(socket.SHUT_WR)
        holding.wait_until(lambda: len(holding.requests) == 1)
        holding.open("go")
        finals = final_lines(sock)
        status = daemon.result("status")
    ids = [final["id"] for final in finals]
    assert sorted(ids, key=str) == sorted([*range(IN_FLIGHT), "c", last], key=str)
    assert [final for final in finals if final["id"] == last][1]["result"]["content"] == "to new"
    assert status["calls_open"] == 0


@pytest.mark.fault("C24")
def test_an_impatient_opener_takes_no_patience_from_who_joined(
    holding: ScriptedProvider, folder: Path
) -> None:
    limits = "rate_limits:\n  scripted: {calls_in_flight: 1}"
    with DaemonProcess(folder, config=configured(holding, limits)) as daemon:
        told: dict[str, dict[str, Any]] = {}

        def ask(name: str, prompt: str, timeout_s: float) -> threading.Thread:
            def asking() -> None:
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(str(daemon.socket))
                    sock.sendall(line(1, "complete", prompt=prompt, timeout_s=timeout_s))
                    sock.shutdown(socket.SHUT_WR)
                    (told[name],) = final_lines(sock)

            thread = threading.Thread(target=asking)
            thread.start()
            return thread

        threads = [ask("holder", "first", 60)]
        holding.wait_until(lambda: len(holding.requests) == 1)
        threads.append(ask("impatient", "shared", 1))
        until_s = time.monotonic() + 20
        while not daemon.result("queue")["waiting"]:
            assert time.monotonic() < until_s
        threads.append(ask("patient", "shared", 60))
        threads[1].join()
        assert told["impatient"]["error"]["data"]["type"] in ("timeout", "rate_limited")
        holding.open("go")
        for thread in threads:
            thread.join()
    assert told["patient"]["result"]["content"] == "to shared"


def test_an_answer_is_kept_for_its_request_id_when_the_cache_forgets_it(
    start: StartDaemon, provider: ScriptedProvider
) -> None:
    daemon = start()
    with sutler.Client(str(daemon.socket)) as client:
        client.complete("kept", request_id="kept-1")
        client.cache_clear()
        assert client.complete("kept", request_id="kept-1").content == "reply to kept"
    assert len(provider.requests) == 1


def test_labels_of_hello_give_way_where_there_is_no_room(daemon: DaemonProcess) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(daemon.socket))
        claimed = {f"h{number}": "x" for number in range(9)}
        own = {f"o{number}": "y" for number in range(9)}
        sock.sendall(
            line(1, "hello", labels=claimed) + line(2, "chat", prompt="labelled", labels=own)
        )
        sock.shutdown(socket.SHUT_WR)
        assert all("result" in final for final in final_lines(sock))


def test_the_last_line_of_the_log_says_what_a_drain_cut(
    holding: ScriptedProvider, folder: Path
) -> None:
    config = configured(holding) + "daemon: {drain_s: 0.2}\n"
    with DaemonProcess(folder, config=config) as daemon:
        asking = threading.Thread(target=lambda: daemon.ask("complete", prompt="cut"))
        asking.start()
        holding.wait_until(lambda: len(holding.requests) == 1)
        assert daemon.stop() == 0
        asking.join()
        assert "cut 1 calls" in daemon.log()
