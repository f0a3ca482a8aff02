"""One client that wants everything at once, and the others beside it."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from tests.contract import answers
from tests.contract.answers import Answer, Hang
from tests.integration.faults.rig import held, let_others_in, serving
from tests.support.other_user import OTHER_UID, as_user, needs_root
from tests.support.wire_client import Line, WireClient, request_line


@pytest.mark.fault("C13")
def test_ten_thousand_requests_without_reading_a_reply_are_each_answered_once(
    tmp_path: Path,
) -> None:
    count = 10_000
    with serving(tmp_path) as rig, rig.client() as client, rig.client() as other:
        # Two in three are bought, 256 at a time at the most; the rest are hits, or pings.
        lines = [
            request_line("ping", number)
            if number % 3 == 0
            else request_line("chat", number, prompt=f"q {number % 500}", cache="on")
            for number in range(count)
        ]
        data = b"".join([*lines, request_line("cancel", "behind them all", id=1)])
        writer = threading.Thread(target=client.send_raw, args=(data,))
        writer.start()
        for number in range(20):
            assert other.result("chat", prompt=f"of another {number}")["cached"] is False
        replies = [client.line() for _ in range(count + 1)]
        writer.join()
        last = next(reply for reply in replies if reply["id"] == "behind them all")
        assert last["result"] == {"cancelled": False}
        replies.remove(last)
        assert sorted(reply["id"] for reply in replies) == list(range(count))
        assert not [reply for reply in replies if "error" in reply]
        assert all(rig.asked(f'"to {number}"') <= 1 for number in range(500))


@pytest.mark.fault("C13")
def test_reading_pauses_at_the_limit_and_a_cancel_waits_for_its_turn(tmp_path: Path) -> None:
    with serving(tmp_path, limits={"in_flight_per_connection": 8}) as rig, rig.client() as client:
        rig.answers["held"] = held("gate", answers.openai_chat("let go"))
        rig.answers["stuck"] = Answer((Hang(),), 1, 0)
        client.send("chat", prompt="stuck", as_id="stuck")
        for number in range(20):
            client.send("chat", prompt=f"held {number}", as_id=number)
        client.send("cancel", id="stuck", as_id="cancel")
        rig.wait_until_asked("held", times=7)
        assert rig.status()["calls_open"] == 8
        assert rig.asked("held") == 7
        rig.provider.open("gate")
        lines = {line["id"]: line for line in (client.line() for _ in range(22))}
        assert all(lines[number]["result"]["content"] == "let go" for number in range(20))
        assert lines["cancel"]["result"] == {"cancelled": True}
        assert lines["stuck"]["error"]["data"]["type"] == "cancelled"


#: Whoever may enter the folders may use this daemon.
_SHARED = {"daemon": {"socket_mode": "0666"}}


@needs_root
@pytest.mark.fault("R7")
def test_a_user_with_all_the_connections_there_are_leaves_room_for_another(tmp_path: Path) -> None:
    limits = {"connections": 100, "connections_reserved": 8}
    with serving(tmp_path, limits=limits, **_SHARED) as rig, contextlib.ExitStack() as stack:
        let_others_in(rig.daemon.socket.parent)
        clients = [stack.enter_context(rig.client()) for _ in range(100)]
        assert clients[0].result("ping") == {}
        with rig.client() as refused:
            assert refused.line()["error"]["data"]["type"] == "overloaded"

        def ask() -> Line:
            with WireClient(rig.daemon.socket) as client:
                return client.result("chat", prompt="of another user")

        assert as_user(OTHER_UID, ask)["content"] == "to: of another user"


@needs_root
@pytest.mark.fault("R7")
def test_a_user_with_all_its_calls_under_way_leaves_room_for_another(tmp_path: Path) -> None:
    limits = {"calls_per_uid": 20, "calls": 40}
    with serving(tmp_path, limits=limits, **_SHARED) as rig, rig.client() as greedy:
        let_others_in(rig.daemon.socket.parent)
        rig.answers["stuck"] = Answer((Hang(),), 1, 0)
        for number in range(21):
            greedy.send("chat", prompt=f"stuck {number}", as_id=number)
        refused = greedy.line()
        assert (refused["id"], refused["error"]["data"]["type"]) == (20, "overloaded")

        def ask() -> Line:
            with WireClient(rig.daemon.socket) as client:
                return client.result("chat", prompt="of another user")

        assert as_user(OTHER_UID, ask)["content"] == "to: of another user"


@needs_root
@pytest.mark.fault("R7")
def test_a_users_share_of_connections_can_be_set(tmp_path: Path) -> None:
    with serving(tmp_path, limits={"connections_per_uid": 5}, **_SHARED) as rig:
        let_others_in(rig.daemon.socket.parent)

        def connect() -> list[str]:
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(WireClient(rig.daemon.socket)) for _ in range(7)]
                refused = [client.line()["error"]["data"]["type"] for client in clients[5:]]
                return [*refused, *(str(client.result("ping")) for client in clients[:5])]

        assert as_user(OTHER_UID, connect) == ["overloaded"] * 2 + ["{}"] * 5
        assert rig.daemon.result("ping") == {}
