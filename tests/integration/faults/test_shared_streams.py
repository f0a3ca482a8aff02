"""Sixteen clients on one stream: whoever goes, the rest get it whole, and it is bought once."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from tests.contract import answers
from tests.contract.answers import Gate
from tests.integration.faults.rig import Rig, held, serving
from tests.support.wire_client import WireClient, text_of

_PIECES = [f"{number} " for number in range(40)]


class _Sixteen:
    """Clients on one flight, the first of them its opener, that have seen its first piece."""

    def __init__(self, rig: Rig, stack: contextlib.ExitStack) -> None:
        self.rig = rig
        rig.answers["shared"] = answers.openai_stream(_PIECES, between=[Gate("go on")])
        self.clients: list[WireClient] = []
        for _ in range(16):
            client = stack.enter_context(rig.client())
            client.send("complete", prompt="shared", stream=True, as_id="s")
            assert client.line()["params"]["delta"] == "0 "
            self.clients.append(client)

    def leaves(self, place: int) -> None:
        """Have one leave, and wait until the daemon knows it."""
        self.clients.pop(place).close()
        until_s = time.monotonic() + 10
        while self.rig.status()["calls_open"] != len(self.clients):
            assert time.monotonic() < until_s
            time.sleep(0.02)

    def all_get_the_rest(self) -> list[bool]:
        """Give who was told that it shared another's call."""
        self.rig.provider.open("go on")
        coalesced = []
        for client in self.clients:
            chunks, reply = client.final("s")
            assert text_of(chunks) == "".join(_PIECES[1:])
            assert reply["result"]["content"] == "".join(_PIECES)
            coalesced.append(reply["result"]["coalesced"])
        assert self.rig.asked("shared") == 1
        return coalesced


@pytest.mark.fault("C23")
def test_all_sixteen_get_the_same_and_one_of_them_paid(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, contextlib.ExitStack() as stack:
        assert _Sixteen(rig, stack).all_get_the_rest() == [False] + [True] * 15


@pytest.mark.fault("C23")
def test_the_leader_and_then_a_follower_leave_and_the_rest_notice_nothing(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, contextlib.ExitStack() as stack:
        sixteen = _Sixteen(rig, stack)
        sixteen.leaves(0)
        sixteen.leaves(7)
        # Who opened it paid for it, and is gone.
        assert sixteen.all_get_the_rest() == [True] * 14


@pytest.mark.fault("C23")
def test_all_but_one_leave_and_it_gets_everything(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, contextlib.ExitStack() as stack:
        sixteen = _Sixteen(rig, stack)
        while len(sixteen.clients) > 1:
            sixteen.leaves(0)
        sixteen.all_get_the_rest()


@pytest.mark.fault("C23")
def test_the_last_one_to_leave_ends_the_call(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, contextlib.ExitStack() as stack:
        sixteen = _Sixteen(rig, stack)
        while sixteen.clients:
            assert rig.provider.hangups == 0
            sixteen.leaves(0)
        rig.provider.wait_until(lambda: rig.provider.hangups == 1, timeout_s=10)


@pytest.mark.fault("C23")
def test_late_joiners_get_what_was_already_said_and_then_follow(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, contextlib.ExitStack() as stack:
        sixteen = _Sixteen(rig, stack)
        whole = stack.enter_context(rig.client())
        whole.send("complete", prompt="shared", as_id="whole")
        sixteen.all_get_the_rest()
        chunks, reply = whole.final("whole")
        assert chunks == []
        assert reply["result"]["content"] == "".join(_PIECES)
        late = rig.daemon.result("complete", prompt="shared")
        assert late["cached"] is True
        assert late["content"] == "".join(_PIECES)


@pytest.mark.fault("C24")
def test_each_of_a_flight_keeps_its_own_deadline(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, contextlib.ExitStack() as stack:
        rig.answers["patience"] = held("go on", answers.openai_chat("at last"))
        clients = {
            timeout_s: stack.enter_context(rig.client()) for timeout_s in (0.6, 60.0, 0.9, 50.0)
        }
        for timeout_s, client in clients.items():
            client.send(
                "complete",
                prompt="patience",
                timeout_s=timeout_s,
                request_id=f"limit-{timeout_s}",
                as_id=1,
            )
        for timeout_s in (0.6, 0.9):
            error = clients[timeout_s].final(1)[1]["error"]
            assert error["data"]["type"] == "timeout"
            assert error["data"]["request_id"] == f"limit-{timeout_s}"
        rig.answers.clear()
        rig.provider.open("go on")
        for timeout_s in (60.0, 50.0):
            result = clients[timeout_s].final(1)[1]["result"]
            assert result["request_id"] == f"limit-{timeout_s}"
        assert rig.asked("patience") == 1


@pytest.mark.fault("C24")
def test_a_failed_attempt_is_tried_again_as_one_flight(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, contextlib.ExitStack() as stack:
        gated = answers.openai_error(503)
        rig.answers["fails once"] = answers.Answer((Gate("fail"), *gated.steps))
        clients = [stack.enter_context(rig.client()) for _ in range(16)]
        for number, client in enumerate(clients):
            client.send("chat", prompt="fails once", as_id=number, request_id=f"r{number}")
        rig.wait_until_asked("fails once")
        until_s = time.monotonic() + 10
        while rig.status()["calls_open"] < 16 and time.monotonic() < until_s:
            time.sleep(0.02)
        rig.answers.clear()
        rig.provider.open("fail")
        for number, client in enumerate(clients):
            result = client.final(number)[1]["result"]
            assert result["request_id"] == f"r{number}"
            assert len(result["trace"]["attempts"]) == 2
        assert rig.asked("fails once") == 2
