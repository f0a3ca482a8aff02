"""Files that were cut, flipped, replaced by something else: a miss each, and a start each."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from sutlerd.cache.lmdb_index import DATABASES
from sutlerd.cache.lmdb_store import LmdbStore
from tests.support.cache_entries import MIB, found, key_of, open_store, put
from tests.support.event_list import EventList
from tests.support.virtual_clock import VirtualClock

COUNT = 1500
NUMBERS = range(COUNT)
FIFTY = range(10_000, 10_050)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


async def fill(folder: Path, clock: VirtualClock) -> None:
    async with open_store(folder, clock=clock, log=EventList()) as store:
        for number in NUMBERS:
            put(store, number, size_bytes=100 + number % 3000)
            if number % 100 == 0:
                await store.flush()
        await store.flush()
        assert found(store, NUMBERS) == list(NUMBERS)


async def open_and_use(folder: Path, clock: VirtualClock) -> tuple[list[int], EventList]:
    """Give what is still found, having proved that the store works."""
    log = EventList()
    async with open_store(folder, clock=clock, log=log) as store:
        hits = found(store, NUMBERS)
        await put_fifty(store)
        if len(found(store, FIFTY)) < len(FIFTY):
            # Damage that no check can see, a wrong number of a scope for one, shows in use.
            await store.tend()
            assert "cache_made_anew" in log.names()
            await put_fifty(store)
        assert found(store, FIFTY) == list(FIFTY)
    return hits, log


async def put_fifty(store: LmdbStore) -> None:
    for number in FIFTY:
        put(store, number)
    await store.flush()
    await asyncio.sleep(0)


def keep_times(path: Path, change: Callable[[Path], None]) -> None:
    """Change a file as a failing disk does, whose clock does not notice."""
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flip(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 0x40]))


async def test_a_clean_start_finds_everything_and_checks_nothing(
    tmp_path: Path, clock: VirtualClock
) -> None:
    await fill(tmp_path, clock)
    hits, log = await open_and_use(tmp_path, clock)
    assert hits == list(NUMBERS)
    assert log.events == []


async def test_without_word_of_a_clean_stop_a_sound_file_is_checked_and_used(
    tmp_path: Path, clock: VirtualClock
) -> None:
    await fill(tmp_path, clock)
    (tmp_path / "sound.json").unlink()
    hits, log = await open_and_use(tmp_path, clock)
    assert hits == list(NUMBERS)
    assert log.events == []


@pytest.mark.parametrize("mark", [b"", b"{", b"[]", b'{"boot": "another"}'])
async def test_a_mark_that_says_something_else_is_no_word_of_a_clean_stop(
    tmp_path: Path, clock: VirtualClock, mark: bytes
) -> None:
    await fill(tmp_path, clock)
    keep_times(tmp_path / "data.mdb", lambda path: os.truncate(path, 40_000))
    (tmp_path / "sound.json").write_bytes(mark)
    hits, log = await open_and_use(tmp_path, clock)
    assert hits == []
    assert log.names() == ["cache_made_anew"]


@pytest.mark.fault("S11")
async def test_after_a_reboot_the_file_is_checked(tmp_path: Path, clock: VirtualClock) -> None:
    await fill(tmp_path, clock)
    mark = json.loads((tmp_path / "sound.json").read_text())
    keep_times(tmp_path / "data.mdb", lambda path: flip(path, 4096 * 7 + 12))
    (tmp_path / "sound.json").write_text(json.dumps({**mark, "boot": "an earlier one"}))
    hits, log = await open_and_use(tmp_path, clock)
    assert hits == []
    assert log.names() == ["cache_made_anew"]


@pytest.mark.fault("S8")
@pytest.mark.parametrize("size_bytes", [0, 1, 100, 4096, 8192, 12_288, 100_000, -4096, -1])
async def test_a_truncated_file_is_set_aside_and_made_anew(
    tmp_path: Path, clock: VirtualClock, size_bytes: int
) -> None:
    await fill(tmp_path, clock)
    data = tmp_path / "data.mdb"
    size_bytes = size_bytes if size_bytes >= 0 else data.stat().st_size + size_bytes
    os.truncate(data, size_bytes)
    hits, log = await open_and_use(tmp_path, clock)
    if log.names():
        assert hits == []
        assert log.names() == ["cache_made_anew"]
        assert (tmp_path / "data.mdb.unusable").stat().st_size == size_bytes
    else:
        # Nothing was lost with it: either nothing is left, or nothing was in the part cut off.
        assert hits in ([], list(NUMBERS))


@pytest.mark.fault("S7")
@pytest.mark.parametrize(
    "content", [b"x", b"not a database" * 1000, bytes(65_536), os.urandom(65_536)]
)
async def test_a_file_that_is_no_database_is_set_aside(
    tmp_path: Path, clock: VirtualClock, content: bytes
) -> None:
    (tmp_path / "data.mdb").write_bytes(content)
    hits, log = await open_and_use(tmp_path, clock)
    assert hits == []
    assert log.names() == ["cache_made_anew"]
    assert (tmp_path / "data.mdb.unusable").read_bytes() == content


@pytest.mark.fault("S7")
async def test_flipped_bytes_anywhere_never_stop_a_start_nor_give_a_wrong_payload(
    tmp_path: Path, clock: VirtualClock
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    await fill(tmp_path / "made", clock)
    made = (tmp_path / "made" / "data.mdb").read_bytes()
    for turn in range(25):
        folder = tmp_path / str(turn)
        folder.mkdir(mode=0o700)
        data = folder / "data.mdb"
        data.write_bytes(made)
        for _ in range(chance.choice([1, 1, 3, 50])):
            # Half of them where pages say what they are, which is what a flip hurts most.
            page, inside = divmod(chance.randrange(len(made)), 4096)
            flip(data, page * 4096 + chance.choice([inside, inside % 64]))
        await open_and_use(folder, clock)  # checks each payload that it finds


@pytest.mark.fault("S7")
async def test_a_flipped_value_that_no_clock_noticed_is_a_miss_and_counted(
    tmp_path: Path, clock: VirtualClock
) -> None:
    await fill(tmp_path, clock)
    marked = (tmp_path / "sound.json").read_text()

    def flip_one_payload(path: Path) -> None:
        content = path.read_bytes()
        place = content.index(key_of(1499)[:16] + key_of(1499)[16:] + b"uid:2")
        flip(path, place + 32 + 5 + 200)

    keep_times(tmp_path / "data.mdb", flip_one_payload)
    log = EventList()
    async with open_store(tmp_path, clock=clock, log=log) as store:
        assert (tmp_path / "sound.json").read_text() == marked
        assert found(store, NUMBERS) == list(NUMBERS)[:-1]
        assert store.stats(None)["errors"] == 1
        put(store, 1499)
        await store.flush()
        assert found(store, NUMBERS) == list(NUMBERS)
    assert log.events == []


@pytest.mark.fault("S7")
async def test_swapped_entries_are_misses(tmp_path: Path, clock: VirtualClock) -> None:
    await fill(tmp_path, clock)
    with lmdb.open(str(tmp_path), max_dbs=len(DATABASES)) as env:
        entries = env.open_db(b"entries")
        with env.begin(write=True, db=entries) as txn:
            one, other = txn.get(key_of(1)), txn.get(key_of(2))
            assert one is not None
            assert other is not None
            txn.put(key_of(1), other)
            txn.put(key_of(2), one)
    hits, _ = await open_and_use(tmp_path, clock)
    assert hits == [number for number in NUMBERS if number not in (1, 2)]


@pytest.mark.fault("S14")
@pytest.mark.parametrize("version", [0, 2, 255])
async def test_entries_of_another_format_version_are_misses_and_overwritten_in_time(
    tmp_path: Path, clock: VirtualClock, version: int
) -> None:
    await fill(tmp_path, clock)
    with lmdb.open(str(tmp_path), max_dbs=len(DATABASES)) as env:
        entries = env.open_db(b"entries")
        with env.begin(write=True, db=entries) as txn:
            for key, record in list(txn.cursor()):
                txn.put(key, record[:3] + bytes([version]) + record[4:])
    log = EventList()
    async with open_store(tmp_path, clock=clock, log=log) as store:
        assert found(store, NUMBERS) == []
        for number in range(100):
            put(store, number)
        await store.flush()
        assert found(store, NUMBERS) == list(range(100))
        assert store.stats(None)["entries"] == COUNT
    assert not {level for level, _, _ in log.events} - {"info"}


@pytest.mark.fault("S14")
async def test_another_layout_or_engine_is_set_aside_and_made_anew(
    tmp_path: Path, clock: VirtualClock
) -> None:
    await fill(tmp_path / "layout", clock)
    with lmdb.open(str(tmp_path / "layout"), max_dbs=len(DATABASES)) as env:
        meta = env.open_db(b"meta")
        with env.begin(write=True, db=meta) as txn:
            txn.put(b"layout", b"99")
    with lmdb.open(str(tmp_path / "engine"), lib_version=1) as env, env.begin(write=True) as txn:
        txn.put(b"key", b"value")
    os.chmod(tmp_path / "engine", 0o700)
    for name in ("layout", "engine"):
        hits, log = await open_and_use(tmp_path / name, clock)
        assert hits == []
        assert log.names() == ["cache_made_anew"]


async def test_a_lower_bound_keeps_the_most_recent_and_gives_the_disk_back(
    tmp_path: Path, clock: VirtualClock
) -> None:
    await fill(tmp_path, clock)
    log = EventList()
    async with open_store(tmp_path, max_bytes=MIB, clock=clock, log=log) as store:
        hits = found(store, NUMBERS)
        assert len(hits) > 50
        assert hits == list(range(hits[0], COUNT))
        assert (tmp_path / "data.mdb").stat().st_size <= MIB
        for number in range(10_000, 10_400):
            put(store, number)
            if number % 20 == 0:
                await store.flush()
        await store.flush()
        assert (tmp_path / "data.mdb").stat().st_size <= MIB
        assert store.stats(None)["dropped_writes"] == 0
    assert log.events == []
    assert not (tmp_path / "smaller").exists()
