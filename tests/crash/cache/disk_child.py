"""A process whose disk fills up, or may not be written; run by the tests beside it.

python disk_child.py full FOLDER COMMAND…     COMMAND makes room on the disk
python disk_child.py limited FOLDER           the largest file size is what is full
python disk_child.py read_only FOLDER COMMAND…
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.support.cache_entries import MIB, found, open_store, put
from tests.support.event_list import EventList
from tests.support.virtual_clock import VirtualClock


def set_file_limit(size_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))


async def fill_up(folder: Path, relieve: Callable[[], object]) -> None:
    clock, log, count = VirtualClock(), EventList(), 0
    async with open_store(folder, max_bytes=16 * MIB, clock=clock, log=log) as store:
        while store.stats(None)["open"]:
            put(store, count)
            await store.flush()
            await asyncio.sleep(0)
            count += 1
            assert count < 5000, "the disk is not full yet"
        assert log.names() == ["cache_out_of_order"]
        hits = found(store, range(count))
        assert len(hits) > 100, "what was stored before is of use still"
        for _ in range(3):
            clock.advance(60)
            await store.tend()
            for number in range(count, count + 50):
                put(store, number)
                await store.flush()
            found(store, range(count + 50))
        # A small write may find room in the file as it is, and then it has worked again.
        rounds = log.names()
        assert len(rounds) <= 7
        assert rounds == (["cache_out_of_order", "cache_works_again"] * 4)[: len(rounds)]
        relieve()
        clock.advance(60)
        await store.tend()
        for number in range(10_000, 10_100):
            put(store, number)
            await store.flush()
        assert found(store, range(10_000, 10_100)) == list(range(10_000, 10_100))
        assert log.names()[-1] == "cache_works_again"


async def be_read_only(folder: Path, relieve: Callable[[], object]) -> None:
    clock, log = VirtualClock(), EventList()
    async with open_store(folder, clock=clock, log=log) as store:
        put(store, 1)
        assert found(store, range(3)) == []
        assert log.names() == ["cache_out_of_order"]
        relieve()
        clock.advance(60)
        await store.tend()
        put(store, 2)
        await store.flush()
        assert found(store, range(3)) == [2]
        assert log.names() == ["cache_out_of_order", "cache_works_again"]


if __name__ == "__main__":
    what, where, command = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    if what == "limited":
        set_file_limit(512 * 1024)
        asyncio.run(fill_up(where, partial(set_file_limit, 64 * MIB)))
    else:
        scenario = fill_up if what == "full" else be_read_only
        asyncio.run(scenario(where, partial(subprocess.run, command, check=True)))
