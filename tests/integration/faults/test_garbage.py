"""What is not a request: one typed error each, and nothing else suffers."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.contract import answers
from tests.integration.faults.rig import held, serving
from tests.support.wire_client import request_line

MIB = 1 << 20


def _error(line: dict[str, Any]) -> tuple[str, object]:
    return line["error"]["data"]["type"], line["id"]


@pytest.mark.fault("C6")
def test_a_line_without_end_is_refused_at_the_limit_and_the_connection_closed(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as rig, rig.client() as client:
        rig.answers["under way"] = held("nobody opens it", answers.openai_chat())
        client.send("chat", prompt="under way")
        rig.wait_until_asked("under way")
        before_bytes = rig.rss_bytes()
        peak_bytes = before_bytes
        with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012  it takes a while
            for _ in range(100):
                client.send_raw(b"x" * MIB)
                peak_bytes = max(peak_bytes, rig.rss_bytes())
        line = client.line()
        assert _error(line) == ("invalid_request", None)
        assert str(16 * MIB) in line["error"]["message"]
        assert client.rest() == []
        # The limit, what a growing buffer reserves beyond it, and one read.
        assert peak_bytes - before_bytes < 40 * MIB
        rig.provider.wait_until(lambda: rig.provider.hangups == 1)  # its call has ended with it


@pytest.mark.fault("C6")
def test_a_line_of_the_very_limit_is_read(tmp_path: Path) -> None:
    with serving(tmp_path, limits={"line_bytes": MIB}) as rig, rig.client() as client:
        empty = len(request_line("chat", 1, prompt="")) - 1  # the newline does not count
        client.send("chat", prompt="x" * (MIB - empty), as_id=1)
        assert client.final(1)[1]["result"]["content"].startswith("to: x")
        client.send("chat", prompt="x" * (MIB - empty + 1), as_id=1)
        assert _error(client.line()) == ("invalid_request", None)
        assert client.is_closed()


@pytest.mark.fault("C7")
@pytest.mark.fault("C8")
@pytest.mark.fault("C9")
@pytest.mark.fault("C10")
@pytest.mark.parametrize(
    ("garbage", "expected"),
    [
        (b"\xff\xfe\x00", "parse_error"),
        (b'{"method": "ping", "params": {"a": "\xed\xa0\x80"}}', "parse_error"),
        (b"\xef\xbb\xbf" + b'{"method": "ping"}', "parse_error"),
        (b"\0", "parse_error"),
        (b"[" * 1_000_000, "parse_error"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "parse_error"),
        (b'{"method": "chat", "params": {"prompt": "a", "temperature": NaN}}', "parse_error"),
        (b'{"method": "chat", "params": {"prompt": "a", "prompt": "b"}}', "parse_error"),
        (b"[]", "invalid_request"),
        (b'[{"method": "ping"}]', "invalid_request"),
        (b'"x"', "invalid_request"),
        (b"{}", "invalid_request"),
        (b'{"id": true, "method": "ping"}', "invalid_request"),
        (b'{"id": 100000000000000000000000000000, "method": "ping"}', "invalid_request"),
        (b'{"id": "' + b"x" * 200_000 + b'", "method": "ping"}', "invalid_request"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else None,
)
def test_after_garbage_the_next_line_is_answered(
    garbage_rig: Any, garbage: bytes, expected: str
) -> None:
    with garbage_rig.client() as client:
        asked = len(garbage_rig.provider.requests)
        client.send_raw(garbage + b"\r\n\n" + b'{"id": 7, "method": "ping"}\r\n')
        assert _error(client.line()) == (expected, None)
        assert client.line() == {"jsonrpc": "2.0", "id": 7, "result": {}}
        assert len(garbage_rig.provider.requests) == asked
        # The log tells the bytes, escaped and cut.
        assert max(map(len, garbage_rig.daemon.log().splitlines())) < 600


@pytest.fixture(scope="module")
def garbage_rig(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(tmp_path_factory.mktemp("garbage")) as rig:
        yield rig


@pytest.mark.fault("C11")
def test_an_id_in_use_is_refused_without_touching_its_first_owner(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, rig.client() as client:
        rig.answers["first"] = held("answer", answers.openai_chat("the first's"))
        client.send("chat", prompt="first", as_id=1)
        client.send("chat", prompt="second", as_id=1)
        refused = client.line()
        assert _error(refused) == ("invalid_request", None)
        assert refused["error"]["data"]["duplicate_id"] == 1
        client.send("chat", prompt="of another id", as_id="1")
        assert client.final("1")[1]["result"]["content"] == "to: of another id"
        rig.provider.open("answer")
        assert client.final(1)[1]["result"]["content"] == "the first's"
        client.send("chat", prompt="third", as_id=1)
        assert client.final(1)[1]["result"]["content"] == "to: third"
        assert rig.asked("second") == 0


@pytest.mark.fault("C12")
def test_a_line_may_come_byte_by_byte_and_another_never_end(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, rig.client() as slow, rig.client() as endless:
        endless.send_raw(b'{"id": 1, "method": "chat", "params": {"prompt": "' + b"x" * MIB)
        line = request_line("chat", 1, prompt="y" * 200_000)
        for place in range(2_000):
            slow.send_raw(line[place : place + 1])
        # The rest in small pieces: each is a read of its own for the daemon, or nearly.
        for place in range(2_000, len(line), 16):
            slow.send_raw(line[place : place + 16])
        assert slow.final(1)[1]["result"]["content"] == "to: " + "y" * 200_000
        assert rig.status()["buffered_bytes"] >= MIB
        assert endless.socket.fileno() >= 0


@pytest.mark.fault("C18")
@pytest.mark.parametrize(
    ("method", "hint"),
    [("compleet", "complete"), ("__init__", None), ("", None), ("x" * MIB, None)],
    ids=["near", "dunder", "empty", "long"],
)
def test_only_what_is_in_the_table_of_methods_can_be_called(
    garbage_rig: Any, method: str, hint: str | None
) -> None:
    with garbage_rig.client() as client:
        error = client.ask(method)["error"]
        assert error["data"]["type"] == "method_not_found"
        assert len(error["message"]) < 300
        if hint is not None:
            assert f"did you mean {hint}?" in error["message"]


@pytest.mark.fault("C19")
def test_senseless_parameters_are_all_told_at_once_and_cost_nothing(garbage_rig: Any) -> None:
    asked = len(garbage_rig.provider.requests)
    bad = {
        "messages": [{"content": "who says this?"}, {"role": "user", "content": ""}],
        "temperature": "hot",
        "max_tokens": 0,
        "timeout_s": -1,
        "max_token": 5,
    }
    with garbage_rig.client() as client:
        error = client.ask("complete", **bad)["error"]
        assert error["data"]["type"] == "invalid_params"
        for said in ("temperature", "max_tokens", "timeout_s", "max_token"):
            assert f"params.{said}" in error["message"]
        for timeout_s in (0, 1e308):
            client.ask("complete", prompt="in time?", timeout_s=timeout_s)
        assert client.ask("complete", messages=[])["error"]["data"]["type"] == "invalid_params"
    assert len(garbage_rig.provider.requests) <= asked + 1


@pytest.mark.fault("C6")
def test_the_library_does_not_even_send_a_line_that_is_too_long(tmp_path: Path) -> None:
    import sutler

    with serving(tmp_path) as rig, sutler.Client(str(rig.daemon.socket)) as client:
        with pytest.raises(sutler.InvalidRequest):
            client.chat("x" * (17 * MIB))
        assert client.chat("short") == "to: short"
        assert json.dumps(rig.status()["answers"]["errors"]) == "{}"


def test_a_client_that_talks_to_itself_is_only_its_own_trouble(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(rig.daemon.socket))
        sock.shutdown(socket.SHUT_RD)
        sock.sendall(request_line("ping", 1) * 1000)
