"""Killed at any moment, the cache opens again and never hands out a wrong payload."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sutlerd.system.clock import SystemClock
from tests.support.cache_entries import MIB, found, open_store, put
from tests.support.event_list import EventList

CHILD = Path(__file__).with_name("child.py")
ROOT = Path(__file__).parents[3]


@contextmanager
def child(folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, str(CHILD), str(folder), *command], stdout=subprocess.PIPE, env=environ
    )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


@pytest.mark.fault("S9")
@pytest.mark.fault("S11")
async def test_killed_at_random_while_it_writes_it_goes_on_with_what_was_committed(
    tmp_path: Path,
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    first, log = 0, EventList()
    for _ in range(6):
        with child(tmp_path, "put", str(first)) as process:
            committed = int(line_of(process))
            for _ in range(chance.randrange(3)):
                committed = int(line_of(process))
            await asyncio.sleep(chance.random() * 0.05)
            process.kill()
            process.wait()
        async with open_store(tmp_path, max_bytes=8 * MIB, clock=SystemClock(), log=log) as store:
            assert store.stats(None)["open"] == 1
            # A commit is in the page cache, which outlives the process.
            assert found(store, range(first, committed)) == list(range(first, committed))
            first = committed + 10_000
    assert log.events == []


@pytest.mark.fault("S9")
async def test_a_lock_whose_holder_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    with child(tmp_path, "hold") as process:
        assert line_of(process) == "holding"
        log = EventList()
        async with open_store(tmp_path, max_bytes=8 * MIB, clock=SystemClock(), log=log) as store:
            assert store.get(b"anything") is None
            assert store.stats(None)["open"] == 0
            assert "another process" in str(log.named("cache_out_of_order")[0]["reason"])
        process.send_signal(signal.SIGKILL)
        process.wait()
    # What was left lies there still, and names processes that are gone.
    assert {"lock.mdb", "held"} <= set(os.listdir(tmp_path))
    async with open_store(tmp_path, max_bytes=8 * MIB, clock=SystemClock(), log=log) as store:
        assert found(store, range(3)) == [1]
        put(store, 2)
        await store.flush()
        assert found(store, range(3)) == [1, 2]


@pytest.mark.fault("S8")
async def test_truncated_under_a_running_process_is_seen_by_the_next_start(tmp_path: Path) -> None:
    with child(tmp_path, "truncate") as process:
        assert line_of(process) == "truncated"
        process.wait(30)
    assert process.returncode in (0, -signal.SIGBUS)
    log = EventList()
    async with open_store(tmp_path, max_bytes=8 * MIB, clock=SystemClock(), log=log) as store:
        assert log.names() == ["cache_made_anew"]
        assert found(store, range(1000)) == []
        put(store, 1)
        await store.flush()
        assert found(store, range(1000)) == [1]
    assert (tmp_path / "data.mdb.unusable").stat().st_size == 64 * 1024
