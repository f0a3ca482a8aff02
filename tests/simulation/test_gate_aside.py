"""Calls that lack something of their own, money or a slot of their uid, at the gate."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from sutlerd.admission.asking import Ask, Permit, WaitForMoney
from sutlerd.admission.bucket import Bucket
from sutlerd.admission.fair_queue import Step
from sutlerd.admission.gate import Gate
from sutlerd.admission.own_limits import OwnLimit, OwnLimits
from sutlerd.admission.quota import Quota
from sutlerd.domain.errors import BudgetExceeded, RateLimited
from tests.support.virtual_loop import VirtualLoop, run_virtually

SEEDS = 100
CALLS = 300


def unlimited(_: str, now_s: float) -> Quota:
    return Quota({})


def a_minute(requests: float, *, in_flight: int | None = None) -> Callable[[str, float], Quota]:
    def quota(_: str, now_s: float) -> Quota:
        bucket = Bucket(per_s=requests / 60, capacity=requests, now_s=now_s)
        return Quota({"requests": bucket}, max_in_flight=in_flight)

    return quota


def ask(uid: int, *, job: str | None = None, wait_until_s: float = 1e9, boundary: str = "b") -> Ask:
    return Ask(
        boundary=boundary,
        need={"requests": 1.0},
        path=(Step("ordinary"), Step(uid), Step(job)),
        uid=uid,
        job=job,
        wait_until_s=wait_until_s,
    )


def free() -> None:
    pass


class Purse:
    """Money that calls reserve; each end gives it back."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.asked = 0

    def reserve(self, amount: int) -> Callable[[], None]:
        def also() -> None:
            self.asked += 1
            if amount > self.left:
                raise WaitForMoney("node", need=amount, refusal=BudgetExceeded("spent"))
            self.left -= amount

        return also


def test_a_call_that_waits_for_money_blocks_nobody_who_needs_less() -> None:
    loop = VirtualLoop()
    gate = Gate(quota_of=a_minute(6000), clock=loop)
    purse = Purse(10)

    async def live() -> None:
        dear = [asyncio.ensure_future(gate.admit(ask(1), purse.reserve(100))) for _ in range(50)]
        await asyncio.sleep(0)
        for _ in range(20):
            gate.end(await gate.admit(ask(2), free), {})
            gate.end(await gate.admit(ask(1), purse.reserve(0)), {})
        assert loop.time() == 0.0
        assert {row["bucket"] for row in gate.who_waits()} == {"budget"}
        purse.left = 100
        gate.wake(["node"])
        for number, call in enumerate(dear):
            permit = await call
            assert purse.left == 0
            purse.left += 100
            assert gate.waiting == len(dear) - number - 1
            gate.end(permit, {})
        assert gate.waiting == 0

    run_virtually(loop, live())


def test_news_of_money_ask_one_call_a_size_however_many_wait() -> None:
    loop = VirtualLoop()
    gate = Gate(quota_of=unlimited, clock=loop)
    purse = Purse(0)

    async def live() -> None:
        calls = [asyncio.ensure_future(gate.admit(ask(1), purse.reserve(64))) for _ in range(1000)]
        await asyncio.sleep(1)
        purse.asked = 0
        for _ in range(100):
            gate.wake(["node"])
            gate.wake(["another"])
        assert purse.asked == 100
        purse.left = 64 * 1000
        gate.wake(["node"])
        for call in calls:
            gate.end(await call, {})
        assert purse.asked == 100 + 1000

    run_virtually(loop, live())


def test_who_loses_patience_for_money_is_told_of_the_budget() -> None:
    loop = VirtualLoop()
    gate = Gate(quota_of=unlimited, clock=loop)

    async def live() -> None:
        with pytest.raises(BudgetExceeded):
            await gate.admit(ask(1, wait_until_s=30.0), Purse(0).reserve(1))
        assert loop.time() == 30.0
        assert gate.waiting == 0

    run_virtually(loop, live())


@pytest.mark.fault("X9")
@pytest.mark.parametrize("owner", ["uid", "job"])
def test_an_owner_at_its_calls_in_flight_waits_by_itself_over_all_boundaries(owner: str) -> None:
    loop = VirtualLoop()
    limit = OwnLimit(calls_in_flight=2)
    limits = OwnLimits(**{f"per_{owner}": limit})
    gate = Gate(quota_of=a_minute(6000), clock=loop, own_limits=limits)
    job = "7" if owner == "job" else None

    async def live() -> None:
        greedy = [
            asyncio.ensure_future(gate.admit(ask(1, job=job, boundary=boundary), free))
            for boundary in ("a", "b")
            for _ in range(50)
        ]
        await asyncio.sleep(1)
        assert sum(call.done() for call in greedy) == 2
        assert {row["bucket"] for row in gate.who_waits()} <= {f"{owner}.calls_in_flight", "turn"}
        started_s = loop.time()
        others = [await gate.admit(ask(2, job="8", boundary="b"), free) for _ in range(2)]
        assert loop.time() == started_s
        for permit in others:
            gate.end(permit, {})
        for number, call in enumerate(greedy):
            gate.end(await call, {})
            await asyncio.sleep(0.1)
            assert sum(call.done() for call in greedy) <= number + 3
        assert gate.waiting == 0

    run_virtually(loop, live())


@pytest.mark.fault("X9")
def test_a_uid_gets_no_more_than_its_share_and_the_rest_is_left_to_others() -> None:
    loop = VirtualLoop()
    limits = OwnLimits(per_uid=OwnLimit(share=0.25))
    gate = Gate(quota_of=a_minute(600), clock=loop, own_limits=limits)
    served: Counter[int] = Counter()

    async def caller(uid: int) -> None:
        while loop.time() < 600.0:
            try:
                permit = await gate.admit(ask(uid, wait_until_s=600.0), free)
            except RateLimited:
                return
            served[uid] += 1
            gate.end(permit, {})

    async def live() -> None:
        await asyncio.gather(*(caller(1) for _ in range(200)), *(caller(2) for _ in range(200)))

    run_virtually(loop, live())
    # A quarter of 600 a minute, for ten minutes, and the first full bucket.
    assert served[1] == pytest.approx(1650, abs=20)
    assert served[2] == pytest.approx(1650, abs=20)


def test_a_call_beyond_its_own_share_is_refused_for_good_and_says_which() -> None:
    loop = VirtualLoop()
    limits = OwnLimits(per_uid=OwnLimit(share=0.25))
    gate = Gate(quota_of=a_minute(600), clock=loop, own_limits=limits)
    large = Ask(boundary="b", need={"requests": 200.0}, path=(), uid=1, wait_until_s=1e9)

    async def live() -> None:
        with pytest.raises(RateLimited) as refused:
            await gate.admit(large, free)
        assert not refused.value.retryable
        assert refused.value.data["bucket"] == "uid.requests"
        assert refused.value.data["capacity"] == 150.0

    run_virtually(loop, live())


class World:
    """Callers with limits of their own and too little money; nothing may be lost or exceeded."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.loop = VirtualLoop()
        self.most = self.chance.randint(1, 4)
        limits = OwnLimits(
            per_uid=OwnLimit(calls_in_flight=self.most, share=self.chance.choice([None, 0.2, 0.5])),
            per_job=OwnLimit(calls_in_flight=self.chance.choice([None, 1, 2])),
        )
        quota = a_minute(self.chance.choice([60, 600]), in_flight=self.chance.choice([None, 5]))
        self.gate = Gate(quota_of=quota, clock=self.loop, own_limits=limits)
        self.purse = Purse(self.chance.randint(100, 300))
        self.in_flight: Counter[int] = Counter()
        self.ended: Counter[str] = Counter()

    async def one_call(self) -> None:
        chance = self.chance
        await asyncio.sleep(chance.choice([0.0, chance.uniform(0, 60)]))
        uid, amount = chance.randrange(3), chance.choice([0, 1, 10, 100])
        patience_s = chance.choice([5.0, 100.0, 1e6])
        wanted = ask(
            uid,
            job=chance.choice([None, "1", "2"]),
            wait_until_s=self.loop.time() + patience_s,
            boundary=chance.choice("ab"),
        )
        permit: Permit | None = None
        try:
            permit = await self.gate.admit(wanted, self.purse.reserve(amount))
            self.in_flight[uid] += 1
            assert self.in_flight[uid] <= self.most
            await asyncio.sleep(chance.uniform(0.1, 5.0))
            self.ended["answered"] += 1
        except (RateLimited, BudgetExceeded):
            self.ended["refused"] += 1
        finally:
            if permit is not None:
                self.in_flight[uid] -= 1
                self.purse.left += amount
                self.gate.end(permit, {})

    async def live(self) -> None:
        calls = [asyncio.ensure_future(self.one_call()) for _ in range(CALLS)]
        for call in self.chance.sample(calls, 20):
            await asyncio.sleep(self.chance.uniform(0, 5))
            call.cancel()
        await asyncio.wait(calls)
        for call in calls:
            if call.cancelled():
                self.ended["left"] += 1
            else:
                call.result()


@pytest.mark.parametrize("first", range(0, SEEDS, 25))
def test_nobody_is_forgotten_aside_and_no_own_limit_is_passed(first: int) -> None:
    for seed in range(first, first + 25):
        world = World(seed)
        run_virtually(world.loop, world.live())
        assert world.ended.total() == CALLS, f"seed {seed}"
        assert world.gate.waiting == 0, f"seed {seed}"
        for name in ("a", "b"):
            assert world.gate.quota(name).in_flight == 0, f"seed {seed}"


def test_very_many_who_wait_for_money_cost_little_each() -> None:
    loop = VirtualLoop()
    gate = Gate(quota_of=a_minute(60_000_000), clock=loop, max_waiting_per_uid=100_000)
    purse = Purse(0)

    async def one(number: int) -> None:
        permit = await gate.admit(ask(number % 4), purse.reserve(8))
        purse.left += 8
        gate.end(permit, {})

    async def live() -> float:
        calls = [asyncio.ensure_future(one(number)) for number in range(5_000)]
        await asyncio.sleep(1)
        assert gate.waiting == 5_000
        started_s = time.perf_counter()
        purse.left = 8
        gate.wake(["node"])
        await asyncio.gather(*calls)
        return time.perf_counter() - started_s

    passed_s = run_virtually(loop, live())
    print(f"5,000 calls set aside for money, then served one by one: {passed_s:.1f} s")
    assert gate.waiting == 0
    # One question for each owner and size, and not one for each that stands behind it.
    assert purse.asked < 5_000 * 7


def test_own_limits_that_come_or_go_while_calls_are_under_way_lose_nobody() -> None:
    loop = VirtualLoop()
    gate = Gate(quota_of=unlimited, clock=loop)
    none, one = OwnLimit(), OwnLimit(calls_in_flight=1, share=0.5)

    async def live() -> None:
        first = await gate.admit(ask(1), free)
        gate.change_own_limits(per_uid=one, per_job=one)
        calls = [asyncio.ensure_future(gate.admit(ask(1, job="7"), free)) for _ in range(20)]
        await asyncio.sleep(1)
        assert sum(call.done() for call in calls) == 1
        gate.end(first, {})
        gate.change_own_limits(per_uid=none, per_job=none)
        gate.wake()
        for call in calls:
            gate.end(await call, {})
        assert gate.waiting == 0
        assert gate.quota("b").in_flight == 0

    run_virtually(loop, live())
