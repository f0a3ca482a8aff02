"""A log whose way out is full, closed or ignored costs its callers nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from sutlerd.telemetry.logs import Log
from sutlerd.telemetry.sink import BATCH_BYTES

PIPE_BYTES = 64 * 1024


class Pipe:
    """A real pipe: what is written is read only when a test asks for it."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()

    def fill(self) -> None:
        """Write until nothing more fits."""
        os.set_blocking(self.write_end, False)
        try:
            while True:
                os.write(self.write_end, b"\n" * 4096)
        except BlockingIOError:
            pass
        os.set_blocking(self.write_end, True)

    def drain(self) -> None:
        """Read all that is there and comes, on a thread of its own, until the end."""
        self.text = b""

        def read() -> None:
            while chunk := os.read(self.read_end, PIPE_BYTES):
                self.text += chunk

        self._reader = threading.Thread(target=read)
        self._reader.start()

    def records(self) -> list[dict[str, Any]]:
        os.close(self.write_end)
        self._reader.join()
        os.close(self.read_end)
        return [json.loads(line) for line in self.text.splitlines() if line]


@pytest.mark.fault("O14")
def test_a_pipe_that_nobody_reads_blocks_nobody_and_losses_are_told_when_it_is_read() -> None:
    pipe = Pipe()
    pipe.fill()
    log = Log(pipe.write_end, log_format="json", max_lines=100)
    for number in range(5000):
        log.event("info", "step", number=number)
    dropped = log.dropped_lines
    assert dropped >= 5000 - 100 - BATCH_BYTES // 60
    pipe.drain()
    assert log.flush(20)
    log.event("info", "again")
    assert log.close(20) == dropped
    records = pipe.records()
    told = [record for record in records if record["event"] == "log_lines_dropped"]
    assert sum(record["lines"] for record in told) == dropped
    assert {record["level"] for record in told} == {"warning"}
    steps = [record["number"] for record in records if record["event"] == "step"]
    assert len(steps) == 5000 - dropped
    assert steps == sorted(steps)
    assert records[-1]["event"] == "again"


@pytest.mark.fault("O14")
def test_the_end_does_not_wait_for_a_pipe_that_nobody_reads() -> None:
    pipe = Pipe()
    pipe.fill()
    log = Log(pipe.write_end)
    log.event("info", "lost")
    assert not log.flush(0.05)
    assert log.close(0.05) == 1
    pipe.drain()
    os.close(pipe.write_end)


@pytest.mark.fault("O14")
def test_bytes_waiting_are_bounded_too() -> None:
    pipe = Pipe()
    pipe.fill()
    log = Log(pipe.write_end, log_format="json", max_bytes=10_000)
    for _ in range(1000):
        log.event("info", "long", text="x" * 1000)
    assert log.dropped_lines >= 1000 - 10 - BATCH_BYTES // 1000
    pipe.drain()
    log.close(20)
    pipe.records()


@pytest.mark.fault("O14")
def test_a_terminal_that_somebody_made_non_blocking_gets_every_line() -> None:
    pipe = Pipe()
    pipe.fill()
    os.set_blocking(pipe.write_end, False)
    log = Log(pipe.write_end, log_format="json", max_lines=100_000)
    for number in range(3000):
        log.event("info", "step", number=number)
    pipe.drain()
    assert log.close(20) == 0
    assert len(pipe.records()) == 3000


@pytest.mark.fault("O14")
def test_a_full_disk_is_counted_and_told_when_there_is_room_again() -> None:
    pipe = Pipe()
    full = os.open("/dev/full", os.O_WRONLY)
    way_out = os.dup(full)
    log = Log(way_out, log_format="json")
    for number in range(10):
        log.event("info", "lost", number=number)
        assert log.flush(10)
    assert log.dropped_lines == 10
    # The log writes through its own copy of the descriptor: point that one elsewhere.
    (own,) = _descriptors_of("/dev/full") - {full, way_out}
    os.dup2(pipe.write_end, own)
    pipe.drain()
    log.event("info", "works")
    assert log.close(10) == 10
    os.close(full)
    os.close(way_out)
    told = pipe.records()
    assert [record["event"] for record in told] == ["log_lines_dropped", "works"]
    assert told[0]["lines"] == 10


def _descriptors_of(path: str) -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") == path:
                found.add(int(name))
        except FileNotFoundError:
            continue
    return found


@pytest.mark.fault("O14")
def test_a_reader_that_goes_away_is_no_error() -> None:
    pipe = Pipe()
    log = Log(pipe.write_end)
    os.close(pipe.read_end)
    log.event("info", "lost")
    assert log.flush(10)
    assert log.dropped_lines == 1
    log.close(10)
    os.close(pipe.write_end)


@pytest.mark.fault("O14")
def test_a_descriptor_closed_behind_its_back_and_taken_by_another_file_gets_nothing(
    tmp_path: Path,
) -> None:
    pipe = Pipe()
    log = Log(pipe.write_end, log_format="json")
    log.event("info", "first")
    assert log.flush(10)
    precious = os.open(tmp_path / "data", os.O_CREAT | os.O_RDWR)
    os.dup2(precious, pipe.write_end)
    log.event("info", "second")
    assert log.flush(10)
    log.close(10)
    assert os.fstat(precious).st_size == 0
    pipe.drain()
    assert [record["event"] for record in pipe.records()] == ["first", "second"]
    os.close(precious)


PROGRAM = """\
import os, sys
from sutlerd.telemetry.logs import Log
data = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
log = Log()
for number in range(20_000):
    log.event("info", "step", number=number, text="x" * 100)
log.sum("hits")
lost = log.close(0.2)
print("done", lost, log.dropped_lines, os.fstat(data).st_size, flush=True)
"""


def _run(redirection: str, tmp_path: Path) -> list[str]:
    command = f'exec "$0" -c "$1" "$2" {redirection}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, PROGRAM, str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        text=True,
        timeout=50,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.fault("O14")
@pytest.mark.parametrize(
    "redirection",
    ["2>/dev/full", "2>&-", "0<&- 2>&-"],
    ids=["full disk", "closed stderr", "closed stdin and stderr"],
)
def test_a_program_whose_log_goes_nowhere_runs_to_its_end(redirection: str, tmp_path: Path) -> None:
    word, lost, _, stray_bytes = _run(redirection, tmp_path)
    assert word == "done"
    assert int(lost) >= 20_000
    # With stderr closed, the first file a program opens may get its number.
    assert stray_bytes == "0"


@pytest.mark.fault("O14")
def test_a_program_whose_log_nobody_reads_ends_all_the_same(tmp_path: Path) -> None:
    pipe = Pipe()
    pipe.fill()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        stderr=pipe.write_end,
        text=True,
        timeout=50,
        check=True,
    )
    os.close(pipe.read_end)
    os.close(pipe.write_end)
    word, lost, *_ = done.stdout.split()
    assert word == "done"
    assert int(lost) >= 20_000
