"""Providers that say "too many", and machines that sleep, before the whole daemon."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from sutlerd.providers.failures import lost
from sutlerd.providers.transport import Request, Response
from tests.support.simulated_provider import SimulatedTransport
from tests.support.simulated_world import Wire, World
from tests.support.wire_client import Line


class Refusing(SimulatedTransport):
    """Says 429 so often, without a word of when to come back."""

    refusals = 10

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        if self.refusals:
            self.refusals -= 1
            self.asked_s.append(self._clock.monotonic_s())
            return self._answer(429, {"error": {"message": "slow down"}})
        return await super().send(request, timeout_s=timeout_s)


def kind_of(line: Line) -> str:
    return str(line["error"]["data"]["type"]) if "error" in line else "ok"


@pytest.mark.fault("P2")
def test_refusals_without_a_hint_close_the_limit_for_all_and_end_after_few_attempts() -> None:
    world = World(1)
    provider = Refusing(chance=world.chance, clock=world.loop)
    world.transports["sim"] = provider

    async def scenario(world: World) -> None:
        wire = Wire(world, uid=1000)
        lines = await asyncio.gather(
            *(wire.answer("chat", prompt=f"p {number}", timeout_s=3000) for number in range(9))
        )
        ends = Counter(kind_of(line) for line in lines)
        assert ends["ok"] + ends["rate_limited"] == 9
        assert ends["ok"] > 0
        for line in lines:
            data = line["error"]["data"] if "error" in line else line["result"]["trace"]
            assert sum(row["outcome"] == "rate_limit" for row in data.get("attempts", [])) <= 3
        # All wait while it is closed: after the first refusals one asks, then all are told.
        at_once = Counter(provider.asked_s)
        assert provider.asked_s == sorted(provider.asked_s)
        moments = sorted(at_once)
        assert moments[1] - moments[0] >= 0.5
        assert not world.log.named("circuit_open")

    world.live(scenario)


class Sleeping(SimulatedTransport):
    """All that is under way breaks when the machine wakes."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.woke = asyncio.Event()

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        if self.woke.is_set():
            return await super().send(request, timeout_s=timeout_s)
        self.asked_s.append(self._clock.monotonic_s())
        await self.woke.wait()
        raise lost("reset", "the connection is dead")


@pytest.mark.fault("T5")
def test_after_a_machine_slept_there_is_no_burst_of_retries_and_no_fuller_bucket() -> None:
    calls = 60
    limits = {"requests_per_minute": 60, "burst_s": 60}
    world = World(1, llm={"rate_limits": {"sim": limits}})
    provider = Sleeping(chance=world.chance, clock=world.loop)
    world.transports["sim"] = provider

    async def scenario(world: World) -> None:
        wires = [Wire(world, uid=1000 + number) for number in range(10)]
        # The limit is confirmed, and the bucket full again.
        provider.woke.set()
        await asyncio.gather(*(wires[0].answer("chat", prompt=f"w {n}") for n in range(calls)))
        await asyncio.sleep(300.0)
        provider.woke.clear()
        before = len(provider.asked_s)
        calls_under_way = [
            asyncio.ensure_future(wires[number % 10].answer("chat", prompt=f"{number}"))
            for number in range(calls)
        ]
        await asyncio.sleep(5.0)
        sent = len(provider.asked_s)
        assert sent - before == calls
        # The wall and the boot-time clock went on for an hour, and the monotonic one did not.
        world.loop.slept_s += 3600.0
        provider.woke.set()
        await asyncio.sleep(3.0)
        again = len(provider.asked_s) - sent
        assert again <= 10, "retries are a tenth of the calls, and ten a minute at least"
        level = world.app.hub.services.status(wires[0].connection.caller)["buckets"][0]
        assert level["buckets"]["requests"]["level"] <= 10
        ends = Counter(kind_of(line) for line in await asyncio.gather(*calls_under_way))
        assert ends.total() == calls
        assert set(ends) <= {"ok", "provider_unavailable"}

    world.live(scenario)
