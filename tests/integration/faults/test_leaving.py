"""Clients that leave: killed, closed, or with a ``cancel``; what they asked for ends with them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.contract import answers
from tests.contract.answers import Answer, Gate, Hang, Reset
from tests.integration.faults.rig import Rig, held, serving
from tests.support.wire_client import WireClient, text_of

_HANGS = Answer((Hang(),), 9, 0)

#: Sends calls and prints what it hears, until it is killed.
_CLIENT = """
import json, socket, sys

with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    for number, (method, params) in enumerate(json.loads(sys.argv[2])):
        line = {"id": number, "method": method, "params": params}
        sock.sendall(json.dumps(line).encode() + b"\\n")
    print("sent", flush=True)
    with sock.makefile("rb") as lines:
        for line in lines:
            print(line.decode().strip(), flush=True)
"""


def _calls_open(rig: Rig, wanted: int) -> None:
    until_s = time.monotonic() + 20
    while (found := rig.status()["calls_open"]) != wanted:
        assert time.monotonic() < until_s, f"{found} calls are open, not {wanted}"
        time.sleep(0.02)


def _client_process(rig: Rig, calls: list[tuple[str, dict[str, object]]]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _CLIENT, str(rig.daemon.socket), json.dumps(calls)],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.fault("C5")
def test_a_killed_client_leaves_nothing_of_its_calls_behind_whatever_they_are_at(
    tmp_path: Path,
) -> None:
    # One permit is another client's; two are taken by what is sent and what streams.
    with serving(tmp_path, llm={"rate_limits": {"scripted": {"calls_in_flight": 3}}}) as rig:
        rig.answers["refused"] = answers.openai_error(503, headers={"retry-after": "30"})
        rig.answers["sent"] = _HANGS
        rig.answers["streaming"] = answers.openai_stream(["a", "b"], between=[Hang()])
        rig.answers["shared"] = answers.openai_stream(["c", "d"], between=[Gate("go on")])
        other = rig.client()
        shared = other.send("complete", prompt="shared", stream=True)
        assert other.line()["params"]["delta"] == "c"
        calls: list[tuple[str, dict[str, object]]] = [
            ("chat", {"prompt": "refused"}),
            ("chat", {"prompt": "sent"}),
            ("complete", {"prompt": "streaming", "stream": True}),
            ("complete", {"prompt": "shared", "stream": True}),
            ("complete", {"prompt": "shared"}),
            ("chat", {"prompt": "queued"}),
        ]
        with other, _client_process(rig, calls) as process:
            for prompt in ("refused", "sent", "streaming"):
                rig.wait_until_asked(prompt)
            _calls_open(rig, 7)
            assert sum(each["waiting"] for each in rig.status()["buckets"]) == 1
            process.kill()
            # Both connections that only it used are closed; the shared flight goes on.
            rig.provider.wait_until(lambda: rig.provider.hangups == 2, timeout_s=10)
            _calls_open(rig, 1)
            rig.provider.open("go on")
            chunks, reply = other.final(shared)
        assert text_of(chunks) == "d"
        assert reply["result"]["coalesced"] is False
        assert rig.asked("refused") == rig.asked("shared") == 1
        assert rig.asked("queued") == 0


@pytest.mark.fault("C5")
def test_a_killed_client_with_so_many_calls_that_reading_is_paused_is_noticed_too(
    tmp_path: Path,
) -> None:
    limits = {"in_flight_per_connection": 256}
    with serving(tmp_path, limits=limits) as rig:
        rig.answers["one of many"] = _HANGS
        calls: list[tuple[str, dict[str, object]]] = [
            ("chat", {"prompt": f"one of many: {number}"}) for number in range(300)
        ]
        with _client_process(rig, calls) as process:
            rig.wait_until_asked("one of many", times=200)
            _calls_open(rig, 256)
            process.kill()
        _calls_open(rig, 0)
        rig.provider.wait_until(lambda: rig.provider.open_connections == 0, timeout_s=10)
        assert rig.asked("one of many") <= 256


def _halfway(rig: Rig, client: WireClient) -> int | str:
    """Ask for a stream that stops half way."""
    rig.answers["stream"] = answers.openai_stream(["a", "b"], between=[Gate("second half")])
    request_id = client.send("complete", prompt="stream", stream=True)
    assert client.line()["params"]["delta"] == "a"
    return request_id


@pytest.mark.fault("C22")
def test_the_last_one_to_cancel_a_stream_ends_it_at_the_provider_too(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, rig.client() as client:
        request_id = _halfway(rig, client)
        cancelling = client.send("cancel", id=request_id)
        lines = {line["id"]: line for line in (client.line(), client.line())}
        assert lines[request_id]["error"]["data"]["type"] == "cancelled"
        assert lines[cancelling]["result"] == {"cancelled": True}
        rig.provider.wait_until(lambda: rig.provider.hangups == 1, timeout_s=10)
        # Nothing of it was stored: it is bought anew, and this time comes whole.
        rig.provider.open("second half")
        assert client.result("complete", prompt="stream", stream=True)["cached"] is False
        assert rig.asked("stream") == 2


@pytest.mark.fault("C22")
def test_the_last_one_to_close_on_a_stream_ends_it_at_the_provider_too(tmp_path: Path) -> None:
    with serving(tmp_path) as rig:
        with rig.client() as client:
            _halfway(rig, client)
        rig.provider.wait_until(lambda: rig.provider.hangups == 1, timeout_s=10)
        rig.provider.open("second half")
        assert rig.daemon.result("complete", prompt="stream", stream=True)["cached"] is False


@pytest.mark.fault("C22")
@pytest.mark.parametrize("how", ["cancel", "close"])
def test_others_on_a_stream_notice_nothing_of_one_that_leaves(tmp_path: Path, how: str) -> None:
    with serving(tmp_path) as rig, rig.client() as client, rig.client() as other:
        request_id = _halfway(rig, client)
        followed = other.send("complete", prompt="stream", stream=True)
        assert other.line()["params"]["delta"] == "a"
        if how == "cancel":
            client.send("cancel", id=request_id)
            assert client.line()["error"]["data"]["type"] == "cancelled"
        client.close()
        _calls_open(rig, 1)
        rig.provider.open("second half")
        chunks, reply = other.final(followed)
        assert text_of(chunks) == "b"
        assert reply["result"]["content"] == "ab"
        assert rig.asked("stream") == 1


@pytest.mark.fault("C5")
def test_a_client_that_dies_while_the_provider_resets_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, llm={"max_retries": 0}) as rig:
        rig.answers["reset"] = held("together", Answer((Reset(),), 9, 0))
        for number in range(20):
            client = rig.client()
            client.send("chat", prompt=f"reset {number}")
            rig.wait_until_asked(f"reset {number}")
            client.close()
            if number % 2:
                time.sleep(0.01)
        rig.provider.open("together")
        _calls_open(rig, 0)
