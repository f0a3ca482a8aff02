"""A provider that refuses and does not say for how long."""

from __future__ import annotations

import random

import pytest

from sutlerd.domain.caller import Caller
from sutlerd.pipeline.places import Asker
from sutlerd.providers.contract import BuiltRequest, Outcome
from tests.support.quota_world import ROUTE, Plan, QuotaWorld, _failure, _Free
from tests.support.virtual_loop import run_virtually


@pytest.mark.fault("P2")
@pytest.mark.parametrize("configured", ["known", "auto"])
def test_refusals_without_a_hint_close_the_gate_for_jittered_pauses(configured: str) -> None:
    world = QuotaWorld(Plan(seed=1, knowledge=configured))
    turnstile, loop, chance = world.turnstile, world.loop, random.Random(3)
    asker = Asker(caller=Caller(uid=1, gid=1, pid=1), lane="normal")
    built = BuiltRequest(model="m", path="/p", body={"p": "x"})

    async def live() -> list[float]:
        pauses = []
        for _ in range(10):
            passed = await turnstile.admit(
                asker,
                ROUTE,
                built,
                max_tokens_out=10,
                wait_until_s=1e9,
                enter=_Free,
                reserve=_Free,
            )
            failure = _failure(Outcome.NOT_BILLED, 429, None, None)
            turnstile.failed(passed, failure, chance=chance.random())
            closed_s = passed.learner.quota.closed_s(loop.time())
            pauses.append(closed_s)
        return pauses

    pauses = run_virtually(loop, live())
    assert all(0.5 <= pause_s <= 8.0 for pause_s in pauses)
    assert len(set(pauses)) == 10, "jittered"
    assert pauses[5] > pauses[0], "growing"
