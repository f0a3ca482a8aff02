"""A process that uses a cache until it is killed; run by the tests beside it.

    python child.py FOLDER COMMAND

Commands: ``put FROM`` stores numbered entries for ever; ``truncate`` cuts its own file short
under its feet and goes on reading; ``hold`` stores one entry and waits. Each says a line on
standard output when it has got going.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from sutlerd.cache.lmdb_store import LmdbStore
from sutlerd.system.clock import SystemClock
from tests.support.cache_entries import MIB, found, open_store, put
from tests.support.event_list import EventList


async def put_for_ever(store: LmdbStore, first: int) -> None:
    number = first
    while True:
        for _ in range(20):
            put(store, number, size_bytes=200 + number % 3000)
            number += 1
        found(store, range(max(first, number - 100), number))
        await store.flush()
        print(number, flush=True)


async def truncate(store: LmdbStore, folder: Path) -> None:
    for number in range(1000):
        put(store, number)
    await store.flush()
    os.truncate(folder / "data.mdb", 64 * 1024)
    print("truncated", flush=True)
    found(store, range(1000))
    print("survived", flush=True)
    os._exit(0)  # as a kill would: nothing is said to the next start


async def main(folder: Path, command: str, *arguments: str) -> None:
    store = open_store(folder, max_bytes=8 * MIB, clock=SystemClock(), log=EventList())
    async with store:
        if command == "put":
            await put_for_ever(store, int(arguments[0]))
        elif command == "truncate":
            await truncate(store, folder)
        else:
            put(store, 1)
            await store.flush()
            print("holding", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
