"""End of input is not the end of the client; but a client that is half-closed can die, too."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.contract import answers
from tests.contract.answers import Answer, Gate, Wait
from tests.integration.faults.rig import Rig, held, serving
from tests.support.wire_client import WireClient, text_of

#: Longer than what watches over half-closed connections takes to look at each of them.
_WATCHED_S = 1.3


#: At a gate that a test opens, or nobody does.
_LATE = held("later", answers.openai_chat("late"))


@pytest.mark.fault("C3")
@pytest.mark.skipif(
    shutil.which("socat") is None, reason="LEFT OUT: socat is not installed (Debian: socat)"
)
def test_a_shell_user_with_socat_gets_an_answer_that_takes_its_time(tmp_path: Path) -> None:
    with serving(tmp_path) as rig:
        rig.answers["by hand"] = _LATE
        address = f"UNIX-CONNECT:{rig.daemon.socket}"
        with subprocess.Popen(
            ["socat", "-t", "60", "-", address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as socat:
            assert socat.stdin is not None
            assert socat.stdout is not None
            socat.stdin.write(b'{"method":"chat","params":{"prompt":"by hand"}}\n')
            socat.stdin.close()
            rig.wait_until_asked("by hand")
            time.sleep(_WATCHED_S)
            rig.provider.open("later")
            reply = json.loads(socat.stdout.read())
        assert reply["id"] is None
        assert reply["result"]["content"] == "late"


@pytest.mark.fault("C3")
def test_three_requests_and_the_end_of_input_get_three_answers_and_then_the_end(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as rig, rig.client() as client:
        rig.answers["question"] = _LATE
        for number in (1, 2, 3):
            client.send("chat", prompt=f"question {number}", as_id=number)
        client.half_close()
        rig.wait_until_asked("question", times=3)
        time.sleep(_WATCHED_S)
        rig.provider.open("later")
        lines = client.rest()
        assert sorted(line["id"] for line in lines) == [1, 2, 3]
        assert all(line["result"]["content"] == "late" for line in lines)
        assert rig.provider.hangups == 0


@pytest.mark.fault("C3")
@pytest.mark.fault("C13")
def test_a_thousand_requests_and_the_end_of_input_get_a_thousand_answers(tmp_path: Path) -> None:
    # Most are still unread, here or in the kernel, when the client has said its last.
    limits = {"in_flight_per_connection": 8}
    with serving(tmp_path, limits=limits) as rig, rig.client() as client:
        for number in range(1000):
            client.send("chat", prompt=f"question {number}", as_id=number)
        client.half_close()
        lines = client.rest()
        assert sorted(line["id"] for line in lines) == list(range(1000))
        assert all(line["result"]["content"].startswith("to: question") for line in lines)


@pytest.mark.fault("C3")
def test_every_chunk_of_a_stream_arrives_after_the_end_of_input(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, rig.client() as client:
        rig.answers["stream"] = answers.openai_stream(["a", "b", "c"], between=[Gate("middle")])
        client.send("complete", prompt="stream", stream=True, as_id="s")
        assert client.line()["params"]["delta"] == "a"
        client.half_close()
        time.sleep(_WATCHED_S)
        rig.provider.open("middle")
        chunks, reply = client.final("s")
        assert text_of(chunks) == "bc"
        assert reply["result"]["content"] == "abc"
        assert client.is_closed()


@pytest.mark.fault("C3")
def test_a_last_line_without_its_newline_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, rig.client() as client:
        client.send("ping")
        client.send_raw(b'{"id": 2, "method": "ping"}')
        client.half_close()
        first, second = client.rest()
        assert first["result"] == {}
        assert second["id"] is None
        assert second["error"]["data"]["type"] == "invalid_request"
        assert "newline" in second["error"]["message"]


def _asks_and_half_closes(rig: Rig, *requests: tuple[str, dict[str, object]]) -> WireClient:
    client = rig.client()
    for method, params in requests:
        client.send(method, **params)
    client.half_close()
    rig.wait_until_asked("unheard", times=len(requests))
    time.sleep(_WATCHED_S)
    assert rig.provider.hangups == 0, "half-closed was taken for gone"
    return client


@pytest.mark.fault("C4")
def test_calls_of_a_half_closed_client_end_when_it_dies(tmp_path: Path) -> None:
    with serving(tmp_path) as rig:
        rig.answers["unheard"] = _LATE
        questions = [("chat", {"prompt": f"unheard {number}"}) for number in range(3)]
        _asks_and_half_closes(rig, *questions).close()
        # The daemon hangs up on the provider: nobody is left to answer.
        rig.provider.wait_until(lambda: rig.provider.hangups == 3, timeout_s=10)
        assert rig.status()["calls_open"] == 0


@pytest.mark.fault("C4")
def test_a_stream_of_a_half_closed_client_ends_with_the_first_chunk_it_cannot_take(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as rig:
        stream = answers.openai_stream(["a"] * 10_000)
        paced = [part for step in stream.steps for part in (step, Wait(0.002))]
        rig.answers["unheard"] = Answer(tuple(paced), 1, 1)
        client = rig.client()
        client.send("complete", prompt="unheard", stream=True)
        client.line()
        client.half_close()
        client.close()
        rig.provider.wait_until(lambda: rig.provider.hangups == 1, timeout_s=10)
