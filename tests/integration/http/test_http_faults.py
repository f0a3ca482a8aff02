"""What HTTP clients may do wrong: they are cut, refused or told, at nobody else's cost."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract import answers
from tests.contract.answers import Answer, Gate, Hang, Send, Step, Wait
from tests.integration.faults.rig import Rig, held
from tests.integration.http.rig import http_rig, http_socket, new_token, over_unix, port_of

_PIECE = "x" * 65_536
_PORTION = 4
_RECEIVE_BUFFER = 4096
CHAT = "/v1/chat/completions"


def body_of(text: str, **more: object) -> dict[str, object]:
    return {"model": "test-model", "messages": [{"role": "user", "content": text}], **more}


def request(text: str, *, path: str = CHAT, token: str | None = None, **more: object) -> bytes:
    data = json.dumps(body_of(text, **more)).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    if token is not None:
        head += f"Authorization: Bearer {token}\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


@contextlib.contextmanager
def connected(rig: Rig, *, small: bool = False) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        sock.settimeout(30)
        sock.connect(str(http_socket(rig.daemon)))
        yield sock


def rest(sock: socket.socket) -> bytes:
    """Give what comes until the daemon closes; a reset is an end, too."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while part := sock.recv(1 << 16):
            got += part
    return got


def until(rig: Rig, what: str, wanted: int) -> None:
    until_s = time.monotonic() + 20
    while (found := rig.status()[what]) != wanted:
        assert time.monotonic() < until_s, f"{what} is {found}, not {wanted}"
        time.sleep(0.02)


def _flood(pieces: int) -> Answer:
    whole = answers.openai_stream([_PIECE] * pieces)
    steps = [part for step in whole.steps for part in (step, Wait(0.001))]
    return Answer(tuple(steps), 1, 1)


@pytest.mark.fault("C1")
def test_a_slow_http_reader_is_cut_at_the_limit_and_its_fellow_loses_nothing(folder: Path) -> None:
    limits = {"owed_max_bytes": 1 << 20, "owed_pause_bytes": 1 << 16, "owed_resume_bytes": 1 << 14}
    portions = 20
    with http_rig(folder, limits=limits) as rig, rig.client() as fast:
        rig.answers["much"] = _flood_in_portions(portions)
        with connected(rig, small=True) as slow:
            slow.sendall(request("much", stream=True))
            rig.wait_until_asked("much")
            model = {"messages": [{"role": "user", "content": "much"}], "model": "test-model"}
            fast.send("complete", stream=True, **model)
            deltas: list[str] = []
            # What the fast one has not read is never near the limit, however slow this machine.
            for portion in range(portions):
                while sum(map(len, deltas)) < (portion + 1) * _PORTION * len(_PIECE):
                    deltas.append(fast.line()["params"]["delta"])
                rig.provider.open(f"portion {portion}")
            final = fast.line()
            until(rig, "clients_cut", 1)
            assert b"[DONE]" not in rest(slow)
        whole = _PIECE * _PORTION * portions
        assert final["result"]["content"] == whole
        assert "".join(deltas) == whole
        assert rig.asked("much") == 1


def _flood_in_portions(portions: int) -> Answer:
    """Stream a portion, and the next when the gate of the one before is opened."""
    steps: list[Step] = []
    pieces = 0
    for step in answers.openai_stream([_PIECE] * _PORTION * portions).steps:
        steps.append(step)
        if isinstance(step, Send) and _PIECE.encode() in step.data:
            pieces += 1
            if pieces % _PORTION == 0:
                steps.append(Gate(f"portion {pieces // _PORTION - 1}"))
    return Answer(tuple(steps), 1, 1)


@pytest.mark.fault("C1")
def test_one_large_http_reply_never_cuts(folder: Path) -> None:
    large = "y" * (6 << 20)
    with http_rig(folder, limits={"owed_max_bytes": 1 << 20}) as rig:
        rig.answers["large"] = answers.openai_chat(large)
        for _ in range(2):
            reply = over_unix(rig.daemon, "POST", CHAT, body_of("large"))
            assert reply.json["choices"][0]["message"]["content"] == large
        stream = over_unix(rig.daemon, "POST", CHAT, body_of("large", stream=True))
        assert stream.events()[-1][1] == "[DONE]"
        assert rig.status()["clients_cut"] == 0


@pytest.mark.fault("C3")
def test_a_half_closed_http_client_gets_its_answer(rig: Rig) -> None:
    for more in ({}, {"stream": True}):
        text = f"half closed {more}"
        rig.answers[text] = held(text, answers.openai_stream() if more else answers.openai_chat())
        with connected(rig) as sock:
            sock.sendall(request(text, **more))
            sock.shutdown(socket.SHUT_WR)
            rig.wait_until_asked(text)
            rig.provider.open(text)
            told = rest(sock)
        assert told.startswith(b"HTTP/1.1 200")
        assert (b"[DONE]" if more else b'"content":"4"') in told
    rig.answers.clear()


@pytest.mark.fault("C4")
def test_a_half_closed_http_client_that_dies_is_noticed(rig: Rig) -> None:
    rig.answers["dies waiting"] = Answer((Hang(),), 9, 0)
    with connected(rig) as sock:
        sock.sendall(request("dies waiting"))
        sock.shutdown(socket.SHUT_WR)
        rig.wait_until_asked("dies waiting")
        assert rig.status()["calls_open"] == 1
    until(rig, "calls_open", 0)
    rig.answers.clear()


@pytest.mark.fault("C5")
@pytest.mark.parametrize("door", ["unix", "tcp"])
def test_an_http_client_that_leaves_takes_its_calls_along(rig: Rig, door: str) -> None:
    sent, streaming = f"sent {door}", f"streaming {door}"
    rig.answers[sent] = Answer((Hang(),), 9, 0)
    rig.answers[streaming] = answers.openai_stream(["a", "b"], between=[Hang()])
    token = new_token(rig.daemon)
    with contextlib.ExitStack() as stack:
        for text, stream in ((sent, False), (streaming, True)):
            if door == "unix":
                sock = stack.enter_context(connected(rig))
            else:
                sock = stack.enter_context(
                    socket.create_connection(("127.0.0.1", port_of(rig.daemon)), timeout=30)
                )
            sock.sendall(request(text, token=token, stream=stream))
            rig.wait_until_asked(text)
        came = b""
        while b'"content":"a"' not in came:
            came += (piece := sock.recv(1 << 16))
            assert piece, came
        assert rig.status()["calls_open"] == 2
    until(rig, "calls_open", 0)
    rig.answers.clear()


@pytest.mark.fault("C6")
def test_bodies_and_heads_over_their_limits_are_refused_while_they_arrive(folder: Path) -> None:
    with http_rig(folder, http={"max_body_bytes": 100_000}) as rig:
        said = over_unix(rig.daemon, "POST", CHAT, body_of("x" * 200_000))
        assert said.status == 413
        assert "100000 bytes" in said.json["error"]["message"]
        with connected(rig) as sock:
            sock.sendall(
                f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Transfer-Encoding: chunked\r\n\r\n".encode()
            )
            with contextlib.suppress(ConnectionError):
                for _ in range(1000):
                    sock.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            assert rest(sock).split()[1] == b"413"
        for head in (
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"y" * 100_000 + b"\r\n\r\n",
            b"GET /" + b"y" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
        ):
            with connected(rig) as sock:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(head)
                assert rest(sock).split()[1] in (b"431", b"400")
        assert rig.status()["buffered_bytes"] == 0


@pytest.mark.fault("C7")
@pytest.mark.parametrize(
    "bad",
    [
        b'{"model": "\xff"}',
        b'{"model": "\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        b'{"model": "\\ud800"}',
        b'{"a": NaN}',
        b'{"a": 1e400}',
        b'{"a": 1, "a": 2}',
        b"[" * 100 + b"]" * 100,
        b"",
        b"\x00",
    ],
)
def test_a_body_that_is_no_json_is_told_so_and_the_connection_goes_on(rig: Rig, bad: bytes) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with connected(rig) as sock:
        sock.sendall(f"{head}Content-Length: {len(bad)}\r\n\r\n".encode() + bad)
        assert sock.recv(1 << 16).split()[1] == b"400"
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert rest(sock).endswith(b"ok\n")


def test_a_drain_finishes_streams_and_refuses_what_comes_later(folder: Path) -> None:
    with http_rig(folder) as rig:
        gated = answers.openai_stream(["a", "b"], between=[answers.Gate("go on")])
        rig.answers["through the drain"] = gated
        daemon = rig.daemon
        with connected(rig) as sock, connected(rig) as idle:
            idle.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert idle.recv(1 << 16).endswith(b"ready\n")
            sock.sendall(request("through the drain", stream=True))
            rig.wait_until_asked("through the drain")
            while b'"a"' not in sock.recv(1 << 16):
                pass
            daemon.process.terminate()
            until_s = time.monotonic() + 20
            while "draining" not in daemon.log():
                assert time.monotonic() < until_s
                time.sleep(0.01)
            idle.sendall(request("too late"))
            assert b"shutting_down" in idle.recv(1 << 16)
            rig.provider.open("go on")
            assert rest(sock).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert daemon.process.wait(20) == 0
        daemon.start()
