"""A thousand ranks of one user and one of another begin in the same instant, before the whole
daemon."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.support.simulated_world import Wire, World

RANKS = 1_000
FEW = 12


@pytest.mark.fault("R6")
def test_all_start_at_once_and_the_small_one_does_not_wait_behind_the_large_one() -> None:
    limits = {"requests_per_minute": 600, "burst_s": 6}
    world = World(5, llm={"rate_limits": {"sim": limits}})

    async def scenario(world: World) -> None:
        large = [Wire(world, uid=1) for _ in range(RANKS)]
        small = Wire(world, uid=2)
        begun_s = world.loop.time()
        for number, wire in enumerate(large):
            wire.ask("chat", prompt=f"large {number}", timeout_s=60)
        for number in range(FEW):
            small.ask("chat", prompt=f"small {number}", timeout_s=60)
        await asyncio.sleep(100.0)
        for wire in (*large, small):
            assert all(len(asked.finals) == 1 for asked in wire.asked.values()), "one answer each"
        ends: Counter[str] = Counter()
        for wire in large:
            (final,) = wire.asked[1].finals
            line = final[1]
            ends[line["error"]["data"]["type"] if "error" in line else "ok"] += 1
        assert set(ends) <= {"ok", "rate_limited", "timeout"}
        assert ends["timeout"] <= 30, "only what was under way: answers take three seconds at most"
        # A minute's quota and the burst, less what the small one took.
        assert 600 <= ends["ok"] <= 660
        waits = [asked.finals[0][0] - begun_s for asked in small.asked.values()]
        assert all("result" in asked.finals[0][1] for asked in small.asked.values())
        assert max(waits) < 15.0, "its turn came with every second call"
        assert len(world.transport.asked) <= ends["ok"] + FEW + 10, "hardly one for nobody"

    world.live(scenario)
