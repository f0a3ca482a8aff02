"""Full maps, full disks and read-only ones: the oldest go, or the new; nothing else does."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cache_entries import MIB, found, open_store, put
from tests.support.event_list import EventList
from tests.support.virtual_clock import VirtualClock

CHILD = Path(__file__).with_name("disk_child.py")
ROOT = Path(__file__).parents[3]

needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="LEFT OUT: only root can mount a small disk; run this as root with util-linux",
)


def run(command: list[str], tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ended = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, timeout=50)
    assert ended.returncode == 0, ended.stderr.decode()


@pytest.mark.fault("S1")
async def test_ten_thousand_entries_go_through_a_map_of_one_mib(tmp_path: Path) -> None:
    log = EventList()
    async with open_store(tmp_path, max_bytes=MIB, clock=VirtualClock(), log=log) as store:
        for number in range(10_000):
            put(store, number, size_bytes=600)
            if number % 40 == 0:
                await store.flush()
                assert found(store, range(number, number + 1)) == [number]
        await store.flush()
        hits = found(store, range(10_000))
        assert hits[-100:] == list(range(9_900, 10_000))
        stats = store.stats(None)
        assert stats["dropped_writes"] == 0
        assert stats["evictions"] == 10_000 - len(hits)
        assert (tmp_path / "data.mdb").stat().st_size <= MIB
    assert log.events == []


@pytest.mark.fault("S1")
async def test_a_full_map_costs_some_entries_and_never_the_writer(tmp_path: Path) -> None:
    # Sizes that leave holes: the map is full long before its pages are all in use.
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    log = EventList()
    async with open_store(tmp_path, max_bytes=2 * MIB, clock=VirtualClock(), log=log) as store:
        for number in range(4_000):
            put(store, number, size_bytes=int(10 ** chance.uniform(1, 4.5)))
            if number % 20 == 0:
                await store.flush()
        await store.flush()
        assert len(found(store, range(4_000))) > 20
        put(store, 5_000, size_bytes=100)
        await store.flush()
        assert found(store, range(5_000, 5_001)) == [5_000]
        assert (tmp_path / "data.mdb").stat().st_size <= 2 * MIB
    assert log.named("task_failed") == []


@pytest.mark.fault("S3")
def test_the_largest_file_size_is_reached_and_then_raised(tmp_path: Path) -> None:
    run([sys.executable, str(CHILD), "limited", str(tmp_path / "cache")], tmp_path)


@needs_mounts
@pytest.mark.fault("S3")
def test_a_disk_without_room_is_left_alone_until_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        'mount -t tmpfs -o size=1m,mode=700 none "$1" && '
        'exec "$2" "$3" full "$1/cache" mount -o remount,size=32m "$1"'
    )
    in_private = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    run([*in_private, str(disk), sys.executable, str(CHILD)], tmp_path)


@needs_mounts
@pytest.mark.fault("S3")
def test_a_read_only_disk_is_left_alone_until_it_can_be_written(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        'mount -t tmpfs -o ro,mode=700 none "$1" && '
        'exec "$2" "$3" read_only "$1/cache" mount -o remount,rw "$1"'
    )
    in_private = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    run([*in_private, str(disk), sys.executable, str(CHILD)], tmp_path)
