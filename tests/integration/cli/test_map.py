"""`sutler map`: order, resumption, errors of single rows, progress."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.command import AtTerminal, started, sutler
from tests.integration.cli.tiny_daemon import TinyDaemon


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "in.jsonl"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def write_rows(path: Path, rows: Sequence[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_for_rows(process: subprocess.Popen[bytes], path: Path, count: int) -> None:
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None
        time.sleep(0.01)


def contents(path: Path) -> list[str]:
    return [row["result"]["content"] for row in read_rows(path)]


def test_every_row_is_answered_in_its_order(daemon: TinyDaemon, source: Path, target: Path) -> None:
    rows: list[Any] = [f"row {at}" for at in range(100)]
    rows[7] = {"prompt": "row 7", "id": "seven", "temperature": 0.5}
    rows[8] = {"messages": [{"role": "user", "content": "row 8"}]}
    write_rows(source, rows)
    done = sutler("map", str(source), str(target), "--model", "small")
    assert done.returncode == 0, done.stderr
    assert contents(target) == [f"ROW {at}" for at in range(100)]
    written = read_rows(target)
    assert [row["index"] for row in written] == list(range(100))
    assert written[7]["id"] == "seven"
    assert b"100 rows asked" in done.stderr
    assert all(request.params["model"] == "small" for request in daemon.asked[1:])


def test_errors_of_single_rows_are_recorded_and_the_rest_goes_on(
    daemon: TinyDaemon, source: Path, target: Path
) -> None:
    source.write_bytes(b'"refuse"\nnot json\n\n"busy 1"\n"fine"\n{"text": "no prompt"}\n')
    done = sutler("map", str(source), str(target))
    assert done.returncode == 1
    rows = read_rows(target)
    assert [row.get("error", {}).get("type") for row in rows] == [
        "provider_error",
        "invalid_params",
        "provider_unavailable",
        None,
        "invalid_params",
    ]
    assert rows[2]["error"]["retryable"] is True
    assert rows[2]["error"]["retry_after_s"] == 2.0
    assert rows[3]["result"]["content"] == "FINE"
    assert b"4 failed" in done.stderr


def test_errors_that_may_pass_are_asked_again(
    daemon: TinyDaemon, source: Path, target: Path
) -> None:
    write_rows(source, ["a", "busy 1", "refuse", "busy 2", "b"])
    assert sutler("map", str(source), str(target)).returncode == 1
    before = len(daemon.prompts())
    done = sutler("map", str(source), str(target), "--retry-errors")
    assert done.returncode == 1
    assert sorted(daemon.prompts()[before:]) == ["busy 1", "busy 2"]
    rows = read_rows(target)
    assert [row["index"] for row in rows] == [0, 1, 2, 3, 4]
    assert [("result" in row) for row in rows] == [True, True, False, True, True]
    assert sutler("map", str(source), str(target), "--retry-all-errors").returncode == 1
    assert daemon.prompts()[before + 2 :] == ["refuse"]


def test_a_killed_run_goes_on_where_it_was(daemon: TinyDaemon, source: Path, target: Path) -> None:
    rows = [f"row {at}" for at in range(40)] + ["hang once", "last"]
    write_rows(source, rows)
    process = started("map", str(source), str(target), "--in-flight", "4")
    daemon.wait_for(lambda _: "last" in daemon.prompts())
    wait_for_rows(process, target, 40)
    process.kill()
    process.communicate(timeout=30)
    with target.open("ab") as file:
        file.write(b'{"index": 40, "inp')  # as a kill in the middle of a write leaves it
    before = len(daemon.prompts())
    again = started("map", str(source), str(target))
    daemon.wait_for(lambda _: "last" in daemon.prompts()[before:])
    again.send_signal(signal.SIGINT)
    _, err = again.communicate(timeout=30)
    assert again.returncode == 130
    assert b"the same command goes on" in err
    assert daemon.prompts()[before:] == ["hang once", "last"]
    assert contents(target) == [f"ROW {at}" for at in range(40)]
    daemon.wait_for(lambda _: daemon.dropped().count("hang once") == 2)


def test_a_finished_file_is_not_asked_again(daemon: TinyDaemon, source: Path, target: Path) -> None:
    write_rows(source, ["a", "refuse"])
    sutler("map", str(source), str(target))
    before = (target.read_bytes(), len(daemon.prompts()))
    done = sutler("map", str(source), str(target))
    assert done.returncode == 1  # a row still holds its error
    assert (target.read_bytes(), len(daemon.prompts())) == before


@pytest.mark.parametrize("change", ["input", "options", "shorter", "same file", "foreign"])
def test_answers_to_other_questions_are_never_mixed(
    daemon: TinyDaemon, source: Path, target: Path, change: str
) -> None:
    write_rows(source, ["a", "b"])
    sutler("map", str(source), str(target))
    options = []
    if change == "input":
        write_rows(source, ["a", "c", "d"])
    elif change == "options":
        options = ["--temperature", "0.5"]
    elif change == "shorter":
        write_rows(source, ["a"])
    elif change == "foreign":
        target.write_bytes(b"precious notes\n")
    before = target.read_bytes()
    out = str(source if change == "same file" else target)
    done = sutler("map", str(source), out, *options)
    assert done.returncode == 2
    assert done.stderr.startswith(b"sutler: ")
    assert done.stderr.count(b"\n") == 1
    assert target.read_bytes() == before


def test_overwrite_begins_anew(daemon: TinyDaemon, source: Path, target: Path) -> None:
    write_rows(source, ["a"])
    target.write_bytes(b"precious notes\n")
    assert sutler("map", str(source), str(target), "--overwrite").returncode == 0
    assert contents(target) == ["A"]


def test_rows_may_flow_through_pipes(daemon: TinyDaemon) -> None:
    done = sutler("map", "-", "-", "--quiet", stdin=b'"a"\n"b"\n')
    assert done.returncode == 0
    assert [json.loads(line)["result"]["content"] for line in done.stdout.splitlines()] == [
        "A",
        "B",
    ]
    assert done.stderr == b""


def test_a_reader_of_rows_that_leaves_ends_the_run(daemon: TinyDaemon, source: Path) -> None:
    write_rows(source, [f"row {at}" for at in range(10)] + ["hang"])
    process = started("map", str(source), "-", stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()


def test_a_terminal_sees_how_far_it_is(daemon: TinyDaemon, source: Path, target: Path) -> None:
    write_rows(source, ["a", "a", "b", "hang"])
    command = AtTerminal("map", str(source), str(target))
    command.read_until(b"3/4 rows (75%)")
    command.read_until(b"rows/s")
    command.read_until(b"cached ")
    command.type(b"\x03")
    assert command.end() == 130
    assert b"3 rows asked" in command.screen
    assert len(contents(target)) == 3


def test_a_daemon_that_goes_away_ends_the_run_and_loses_nothing(
    tmp_path: Path, source: Path, target: Path
) -> None:
    write_rows(source, ["a", "b", "hang", "c"])
    socket = tmp_path / "gone"
    with TinyDaemon(socket) as tiny:
        process = started(
            *("--socket", str(socket), "map", str(source), str(target)), "--wait", "0.3"
        )
        tiny.wait_for(lambda _: "c" in tiny.prompts())
        wait_for_rows(process, target, 2)
    _, err = process.communicate(timeout=30)
    assert process.returncode in (3, 4), err
    assert b"Traceback" not in err
    assert contents(target) == ["A", "B"]


def test_a_daemon_that_comes_back_in_time_is_not_noticed(
    tmp_path: Path, source: Path, target: Path
) -> None:
    write_rows(source, ["a", "hang", "c"])
    socket = tmp_path / "restarted"
    with TinyDaemon(socket) as tiny:
        process = started("--socket", str(socket), "map", str(source), str(target))
        tiny.wait_for(lambda _: "hang" in tiny.prompts())
    with TinyDaemon(socket) as tiny:
        tiny.patient = True
        _, err = process.communicate(timeout=40)
    assert (process.returncode, contents(target)) == (0, ["A", "HANG", "C"]), err


def test_without_a_daemon_no_file_is_made(tmp_path: Path, source: Path, target: Path) -> None:
    write_rows(source, ["a"])
    done = sutler("--socket", str(tmp_path / "none"), "map", str(source), str(target))
    assert done.returncode == 3
    assert not target.exists()
