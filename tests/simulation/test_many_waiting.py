"""As many waiting calls as the gate takes, and what each of them costs it, in counts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from sutlerd.admission.asking import Ask
from sutlerd.admission.bucket import Bucket
from sutlerd.admission.fair_queue import Step
from sutlerd.admission.gate import MAX_WAITING, Gate
from sutlerd.admission.quota import Quota, Shortage
from sutlerd.domain.errors import Overloaded, ShuttingDown
from tests.support.virtual_loop import VirtualLoop, run_virtually

SERVED = 2_000
#: Looks at the quota for each call that comes, passes or is told to go.
LOOKS_A_CALL = 6


class CountingQuota(Quota):
    looks = 0

    def shortage(
        self, need: Mapping[str, float], now_s: float, *, surely: bool = False
    ) -> Shortage | None:
        self.looks += 1
        return super().shortage(need, now_s, surely=surely)


def ask(uid: int, connection: int) -> Ask:
    return Ask(
        boundary="b",
        need={"requests": 1.0},
        path=(Step("ordinary"), Step(uid), Step(connection)),
        uid=uid,
        wait_until_s=1e9,
    )


@pytest.mark.fault("R6")
@pytest.mark.timeout(300)
def test_a_hundred_thousand_calls_wait_and_none_costs_more_for_the_others() -> None:
    loop = VirtualLoop()
    quota = CountingQuota({"requests": Bucket(per_s=100.0, capacity=100.0, now_s=0.0, level=0.0)})
    gate = Gate(quota_of=lambda name, now_s: quota, clock=loop)
    passed = told = 0

    async def call(number: int) -> None:
        nonlocal passed, told
        try:
            permit = await gate.admit(ask(number % 7, number % 1000), lambda: None)
        except ShuttingDown:
            told += 1
            return
        passed += 1
        gate.end(permit, {})

    async def live() -> None:
        calls = [asyncio.ensure_future(call(number)) for number in range(MAX_WAITING)]
        await asyncio.sleep(0.001)
        assert gate.waiting == MAX_WAITING
        with pytest.raises(Overloaded):
            await gate.admit(ask(99, 0), lambda: None)
        assert quota.looks <= LOOKS_A_CALL * MAX_WAITING
        looked = quota.looks
        await asyncio.sleep(SERVED / 100.0)
        assert passed == pytest.approx(SERVED, abs=10)
        assert quota.looks - looked <= LOOKS_A_CALL * SERVED
        gate.drain()
        await asyncio.gather(*calls)

    run_virtually(loop, live())
    assert passed + told == MAX_WAITING
    assert gate.waiting == 0
