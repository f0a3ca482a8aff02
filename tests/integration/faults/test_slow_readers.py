"""Clients that do not take what they are owed: cut, at nobody else's cost."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract import answers
from tests.contract.answers import Answer, Wait
from tests.integration.faults.rig import Rig, serving
from tests.support.wire_client import Line, WireClient, text_of

_PIECE = "x" * 65_536
#: The kernel keeps about as much for a client that does not read, before the daemon has to.
_RECEIVE_BUFFER = 4096


def _flood(pieces: int) -> Answer:
    """Stream much faster than a slow reader reads, but not than everybody can."""
    whole = answers.openai_stream([_PIECE] * pieces)
    steps = [part for step in whole.steps for part in (step, Wait(0.001))]
    return Answer(tuple(steps), 1, 1)


class _Reader(threading.Thread):
    """Reads a stream's lines as fast as it can."""

    def __init__(self, client: WireClient, request_id: int | str) -> None:
        super().__init__()
        self._client = client
        self._request_id = request_id
        self.chunks: list[Line] = []
        self.reply: Line = {}
        self.start()

    def run(self) -> None:
        self.chunks, self.reply = self._client.final(self._request_id)


def _is_cut(rig: Rig, *, clients: int = 1) -> None:
    until_s = time.monotonic() + 30
    while rig.status()["clients_cut"] < clients:
        assert time.monotonic() < until_s, "nobody was cut"
        time.sleep(0.02)


@pytest.mark.fault("C1")
def test_a_client_that_reads_too_slowly_is_cut_at_the_limit_and_its_fellow_loses_nothing(
    tmp_path: Path,
) -> None:
    pieces = 480
    with serving(tmp_path) as rig, rig.client() as fast:
        rig.answers["much"] = _flood(pieces)
        with rig.client(receive_buffer_bytes=_RECEIVE_BUFFER) as slow:
            slow.send("complete", prompt="much", stream=True)
            rig.wait_until_asked("much")
            reader = _Reader(fast, fast.send("complete", prompt="much", stream=True))
            until_s = time.monotonic() + 30
            while reader.is_alive() and time.monotonic() < until_s:
                slow.take(100)  # now and then a little, so that it is no stall
                rig.daemon.result("chat", prompt="of another client")
                time.sleep(0.05)
            reader.join(30)
            _is_cut(rig)
            assert all(line.get("method") == "chunk" for line in slow.rest())
        assert text_of(reader.chunks) == _PIECE * pieces
        assert reader.reply["result"]["content"] == _PIECE * pieces
        assert rig.asked("much") == 1
        assert "owed more than the limit" in rig.daemon.log()


@pytest.mark.fault("C1")
def test_a_client_that_takes_nothing_is_cut_after_a_while(tmp_path: Path) -> None:
    with serving(tmp_path, limits={"stall_s": 1}) as rig, rig.client() as other:
        rig.answers["a little"] = _flood(20)  # far below the limit of what may be owed
        with rig.client(receive_buffer_bytes=_RECEIVE_BUFFER) as slow:
            slow.send("complete", prompt="a little", stream=True)
            _is_cut(rig)
            assert other.result("ping") == {}
        assert "took nothing for 1 s" in rig.daemon.log()


@pytest.mark.fault("C1")
def test_one_large_reply_never_cuts_however_much_of_a_stream_follows_it(tmp_path: Path) -> None:
    large = "y" * (12 << 20)
    limits = {"owed_max_bytes": 1 << 20, "owed_pause_bytes": 1 << 16, "owed_resume_bytes": 1 << 14}
    with serving(tmp_path, limits=limits) as rig, rig.client() as client:
        rig.answers["large"] = answers.openai_chat(large)
        client.result("complete", prompt="large")
        stream = answers.openai_stream(["a"] * 50)
        paced = [part for step in stream.steps for part in (step, Wait(0.01))]
        rig.answers["small"] = Answer(tuple(paced), 1, 1)
        with rig.client(receive_buffer_bytes=_RECEIVE_BUFFER) as patient:
            patient.send("complete", prompt="small", stream=True, as_id="stream")
            rig.wait_until_asked("small")
            patient.send("complete", prompt="large", as_id="hit")
            time.sleep(0.8)  # the stream goes on into what is not read
            lines = [patient.line() for _ in range(52)]
        assert rig.status()["clients_cut"] == 0
        hit = next(line for line in lines if line.get("id") == "hit")
        assert hit["result"]["content"] == large
        assert sum(line.get("method") == "chunk" for line in lines) == 50


@pytest.mark.fault("C1")
def test_joining_a_long_stream_late_is_no_slow_reading(tmp_path: Path) -> None:
    limits = {"owed_max_bytes": 1 << 20, "owed_pause_bytes": 1 << 16, "owed_resume_bytes": 1 << 14}
    pieces = [_PIECE] * 64
    with serving(tmp_path, limits=limits) as rig, rig.client() as first, rig.client() as late:
        whole = answers.openai_stream(pieces)
        head, tail = whole.steps[:-3], whole.steps[-3:]
        steps: list[Any] = []
        for number, step in enumerate(head):
            # No more at once than the first may owe, however slowly this process reads.
            steps += [answers.Gate(f"read {number}"), step] if number % 8 == 1 else [step]
        rig.answers["long"] = Answer((*steps, answers.Gate("on"), *tail), 1, 1)
        ask = first.send("complete", prompt="long", stream=True)
        seen: list[Line] = []
        for number in range(len(head)):
            # What precedes the first piece is let out with it.
            for ahead in range(4):
                rig.provider.open(f"read {number + ahead}")
            if number < len(pieces):
                seen.append(first.line())
        joined = late.send("complete", prompt="long", stream=True)
        assert late.line()["method"] == "chunk"
        rig.provider.open("on")
        chunks, reply = late.final(joined)
        assert reply["result"]["coalesced"] is True
        assert text_of(chunks) == _PIECE * (len(pieces) - 1)
        assert len(seen) == len(pieces)
        assert first.final(ask)[1]["result"]["content"] == _PIECE * len(pieces)


_STOPPED_CLIENT = """
import sys
import sutler

client = sutler.Client(sys.argv[1], timeout_s=60)
print(client.chat("first"), flush=True)
if sys.argv[2] == "stream":
    text = ""
    try:
        stream = client.stream("flood")
        for chunk in stream:
            if not text:
                print("streaming", flush=True)
            text += chunk.content
        print("whole", len(text), stream.result is not None, flush=True)
    except sutler.SutlerError as error:
        print("error", type(error).__name__, error.retryable, flush=True)
else:
    sys.stdin.readline()
    print(client.chat("second"), flush=True)
"""


@contextlib.contextmanager
def _stopped_client(rig: Rig, what: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _STOPPED_CLIENT, str(rig.daemon.socket), what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.fault("C2")
def test_a_client_stopped_in_a_stream_is_cut_and_wakes_to_one_retryable_error(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, limits={"stall_s": 1}) as rig:
        rig.answers["flood"] = _flood(200)
        with _stopped_client(rig, "stream") as process:
            assert _says(process) == "to: first"
            rig.provider.queue.append(_flood(200))
            assert _says(process) == "streaming"
            process.send_signal(signal.SIGSTOP)
            _is_cut(rig)
            process.send_signal(signal.SIGCONT)
            assert _says(process) == "error ConnectionLost True"
            assert process.wait(10) == 0


@pytest.mark.fault("C2")
def test_an_idle_client_may_be_stopped_as_long_as_it_likes(tmp_path: Path) -> None:
    with serving(tmp_path, limits={"stall_s": 1}) as rig:
        with _stopped_client(rig, "idle") as process:
            assert _says(process) == "to: first"
            process.send_signal(signal.SIGSTOP)
            time.sleep(2.5)
            process.send_signal(signal.SIGCONT)
            print("go on", file=process.stdin, flush=True)
            assert _says(process) == "to: second"
            assert process.wait(10) == 0
        assert rig.status()["clients_cut"] == 0
