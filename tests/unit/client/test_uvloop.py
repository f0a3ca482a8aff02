"""The asyncio client on uvloop, which closes and fails in its own ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sutler
from sutler import AsyncClient
from sutler.testing import Chunks, Drop, FakeDaemon, Hold

pytestmark = pytest.mark.loop("uvloop")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(str(tmp_path / "s.sock")) as daemon:
        yield daemon


async def test_calls_streams_and_batches_work(daemon: FakeDaemon) -> None:
    async with AsyncClient(daemon.socket_path) as client:
        assert await client.chat("x" * 3_000_000) == "x" * 3_000_000
        daemon.reply("complete", Chunks("a", "b"))
        stream = client.stream("x")
        assert [chunk.content async for chunk in stream] == ["a", "b"]
        daemon.reply("complete", lambda asked: asked.params["prompt"])
        prompts = [str(number) for number in range(100)]
        assert [reply.content async for reply in client.map(prompts)] == prompts
    assert daemon.connections == 1


async def test_losses_are_got_over_and_limits_hold(daemon: FakeDaemon) -> None:
    async with AsyncClient(daemon.socket_path, timeout_s=20) as client:
        daemon.reply("complete", Drop(b'{"half'), "whole")
        assert (await client.complete("x")).content == "whole"
        daemon.reply("complete", Hold())
        with pytest.raises(sutler.Timeout):
            await client.complete("x", timeout_s=0.05)
        assert await client.chat("y") == "y"


async def test_what_is_said_at_the_door_is_what_the_caller_gets(daemon: FakeDaemon) -> None:
    full = b'{"id":null,"error":{"message":"full","data":{"type":"overloaded"}}}\n'
    daemon.reply("chat", Drop(full))
    async with AsyncClient(daemon.socket_path) as client:
        with pytest.raises(sutler.Overloaded):
            await client.chat("x")
