"""`sutler raw`: the protocol by hand."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

from tests.integration.cli.command import started, sutler
from tests.integration.cli.tiny_daemon import TinyDaemon


def test_lines_go_in_and_replies_come_out(daemon: TinyDaemon) -> None:
    lines = b'{"id": 1, "method": "ping"}\n\n{"id": "b", "method": "nothing"}'
    done = sutler("raw", stdin=lines)
    assert done.returncode == 0
    replies = {reply["id"]: reply for reply in map(json.loads, done.stdout.splitlines())}
    assert replies[1]["result"] == {}
    assert replies["b"]["error"]["data"]["type"] == "method_not_found"


def test_chunks_are_passed_on_before_the_reply(daemon: TinyDaemon) -> None:
    request = {"id": 1, "method": "complete", "params": {"prompt": "a b", "stream": True}}
    done = sutler("raw", stdin=json.dumps(request).encode() + b"\n")
    assert [json.loads(line).get("method") for line in done.stdout.splitlines()] == [
        "chunk",
        "chunk",
        None,
    ]


def test_a_line_is_sent_and_answered_while_the_input_stays_open(daemon: TinyDaemon) -> None:
    process = started("raw")
    assert process.stdin is not None
    assert process.stdout is not None
    for number in (b"1", b"2"):
        process.stdin.write(b'{"method": "ping", "id": ' + number + b"}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == int(number)
    process.stdin.close()
    assert process.stdout.read() == b""
    assert process.wait(30) == 0
    process.stdout.close()
    assert process.stderr is not None
    process.stderr.close()


def test_many_lines_more_than_any_buffer_holds(daemon: TinyDaemon, tmp_path: Path) -> None:
    # A file, not a pipe: it is never "not ready", and it ends long before the last answer.
    path = tmp_path / "requests"
    request = {"method": "complete", "params": {"prompt": "x" * 5000}}
    path.write_text("".join(json.dumps({**request, "id": at}) + "\n" for at in range(400)))
    with path.open("rb") as file:
        process = started("raw", stdin=file.fileno())
    out, err = process.communicate(timeout=40)
    assert (process.returncode, err) == (0, b"")
    assert sorted(json.loads(line)["id"] for line in out.splitlines()) == list(range(400))


def test_an_answer_that_never_comes_is_said(daemon: TinyDaemon) -> None:
    lines = b'{"id": 1, "method": "ping"}\n{"id": 2, "method": "complete", "params": '
    done = sutler("raw", stdin=lines + b'{"prompt": "die"}}\n')
    assert done.returncode == 1
    assert done.stderr == (
        b"sutler: the daemon closed the connection with 1 of 2 requests unanswered\n"
    )


def test_an_interrupt_closes_the_connection(daemon: TinyDaemon) -> None:
    process = started("raw")
    assert process.stdin is not None
    process.stdin.write(b'{"id": 1, "method": "complete", "params": {"prompt": "hang"}}\n')
    process.stdin.flush()
    daemon.wait_for(lambda _: daemon.prompts() == ["hang"])
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    daemon.wait_for(lambda _: daemon.dropped() == ["hang"])
    process.communicate()


def test_a_reader_that_leaves_ends_it(daemon: TinyDaemon) -> None:
    process = started("raw", stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    process.stdin.write(b'{"id": 1, "method": "ping"}\n')
    process.stdin.flush()
    assert process.wait(30) == 141
    process.stdin.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_no_daemon_is_exit_code_3(tmp_path: Path) -> None:
    done = sutler("--socket", str(tmp_path / "none"), "raw", stdin=b"{}\n")
    assert done.returncode == 3
