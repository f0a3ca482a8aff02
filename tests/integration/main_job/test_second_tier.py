"""Two nodes that share their answers through a real Redis or Valkey."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import sutler
from tests.contract.scripted import ScriptedProvider
from tests.integration.main_job.conftest import StartDaemon
from tests.support.daemon_process import DaemonProcess


@pytest.fixture
def redis_url(folder: Path) -> Iterator[str]:
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    path = folder / "redis.sock"
    process = subprocess.Popen(
        [server, "--port", "0", "--unixsocket", str(path), "--save", "", "--loglevel", "warning"],
        stdout=subprocess.DEVNULL,
        cwd=folder,
    )
    try:
        yield f"unix://{path}"
    finally:
        process.kill()
        process.wait()


def wait_until_up(*daemons: DaemonProcess) -> None:
    """A daemon serves before it has reached the second tier."""
    until_s = time.monotonic() + 20
    for daemon in daemons:
        while not daemon.result("cache.stats", everyone=True)["second_tier"]["up"]:
            assert time.monotonic() < until_s, daemon.log()
            time.sleep(0.02)


def wait_for_entries(url: str, count: int) -> None:
    """What is shared is sent in the background: wait until the server has it."""
    until_s = time.monotonic() + 20
    with redis.Redis.from_url(url) as connection:
        while connection.dbsize() != count:
            assert time.monotonic() < until_s, "nothing came to the second tier"
            time.sleep(0.02)


def test_what_one_node_bought_another_gets_from_the_second_tier(
    start: StartDaemon, provider: ScriptedProvider, redis_url: str
) -> None:
    shared = f"cache:\n  backend: redis\n  redis_url: {redis_url}\n  redis_timeout_s: 5"
    one, two = start("one", llm=shared), start("two", llm=shared)
    wait_until_up(one, two)
    with sutler.Client(str(one.socket)) as client:
        first = client.complete("shared question")
        client.embed(["shared text"])
    wait_for_entries(redis_url, 2)
    with sutler.Client(str(two.socket)) as client:
        second = client.complete("shared question")
        vectors = client.embed(["shared text"])
    assert (first.cached, second.cached, vectors.cached) == (False, True, 1)
    assert second.content == first.content
    assert len(provider.requests) == 2


@pytest.mark.fault("S3")
def test_a_second_tier_that_is_not_there_is_a_miss(
    start: StartDaemon, provider: ScriptedProvider, folder: Path
) -> None:
    away = f"cache:\n  backend: redis\n  redis_url: unix://{folder}/nothing.sock"
    with sutler.Client(str(start(llm=away).socket)) as client:
        assert client.complete("q").content == "reply to q"
        assert client.complete("q").cached
    assert len(provider.requests) == 1


def test_what_nobody_may_buy_here_is_looked_for_in_the_second_tier_too(
    start: StartDaemon, provider: ScriptedProvider, redis_url: str
) -> None:
    shared = f"cache:\n  backend: redis\n  redis_url: {redis_url}\n  redis_timeout_s: 5"
    one, two = start("one", llm=shared), start("two", llm=shared)
    wait_until_up(one, two)
    with sutler.Client(str(one.socket)) as client:
        client.complete("bought elsewhere")
        client.embed(["bought elsewhere"])
    wait_for_entries(redis_url, 2)
    with sutler.Client(str(two.socket)) as client:
        assert client.complete("bought elsewhere", cache="only").cached
        assert client.embed(["bought elsewhere"], cache="only").cached == 1
        with pytest.raises(sutler.CacheMiss):
            client.complete("bought nowhere", cache="only")
    assert len(provider.requests) == 2
