"""Virtual hours of callers at the gate, in front of a provider with buckets of its own."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from sutlerd.admission.asking import Ask, WaitForMoney
from sutlerd.admission.bucket import Bucket
from sutlerd.admission.fair_queue import Step
from sutlerd.admission.gate import Gate
from sutlerd.admission.quota import Quota
from sutlerd.domain.errors import BudgetExceeded, CallError, RateLimited, ShuttingDown
from tests.support.virtual_loop import VirtualLoop, run_virtually

SEEDS = 60
CALLS = 500


def quota(now_s: float, *, requests: float = 60.0, tokens: float = 10_000.0) -> Quota:
    return Quota(
        {
            "requests": Bucket(per_s=requests / 60, capacity=requests, now_s=now_s),
            "tokens": Bucket(per_s=tokens / 60, capacity=tokens, now_s=now_s),
        },
        max_in_flight=40,
    )


def ask(uid: int, *, tokens: float = 1.0, wait_until_s: float = 1e9, boundary: str = "b") -> Ask:
    return Ask(
        boundary=boundary,
        need={"requests": 1.0, "tokens": tokens},
        path=(Step("ordinary"), Step(uid)),
        uid=uid,
        wait_until_s=wait_until_s,
    )


@dataclass
class World:
    """Callers with habits, and a provider that counts with the same limits as the gate."""

    seed: int
    loop: VirtualLoop = field(default_factory=VirtualLoop)
    ended: Counter[str] = field(default_factory=Counter)
    tokens_by_uid: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.gate = Gate(quota_of=lambda _, now_s: quota(now_s), clock=self.loop)
        self.provider = quota(0.0)

    async def one_call(self, uid: int) -> None:
        chance = self.chance
        await asyncio.sleep(chance.choice([0.0, 0.0, chance.expovariate(0.02)]))
        tokens = float(chance.randint(1, 2000))
        patience_s = chance.choice([1.0, 30.0, 5000.0])
        try:
            permit = await self.gate.admit(
                ask(uid, tokens=tokens, wait_until_s=self.loop.time() + patience_s), lambda: None
            )
        except RateLimited:
            self.ended["refused"] += 1
            return
        now_s = self.loop.time()
        # The provider counts what arrives; what it would refuse, the gate should not have let.
        found = self.provider.shortage(permit.ask.need, now_s + 1e-6)
        assert found is None, f"seed {self.seed}: the provider would have refused: {found}"
        self.provider.take(permit.ask.need, now_s)
        try:
            await asyncio.sleep(chance.uniform(0.1, 20.0))
        finally:
            self.provider.end(permit.ask.need, {}, self.loop.time())
            self.gate.end(permit, {})
        self.tokens_by_uid[uid] += int(tokens)
        self.ended["answered"] += 1

    async def leaving_call(self, uid: int) -> None:
        call = asyncio.ensure_future(self.one_call(uid))
        await asyncio.sleep(self.chance.uniform(0, 300))
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        self.ended["left"] += call.cancelled()

    async def live(self) -> None:
        calls = [
            (self.leaving_call if self.chance.random() < 0.1 else self.one_call)(number % 4)
            for number in range(CALLS)
        ]
        await asyncio.gather(*calls)

    def check_quiet(self) -> None:
        """When all is quiet everything is back where it began."""
        assert self.ended.total() == CALLS
        assert self.gate.waiting == 0
        assert self.gate.quota("b").in_flight == 0
        assert self.provider.in_flight == 0
        ours, theirs = self.gate.quota("b"), self.provider
        for name, bucket in ours.buckets.items():
            now_s = self.loop.time()
            assert bucket.level(now_s) == pytest.approx(theirs.buckets[name].level(now_s), abs=1e-3)


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_the_provider_never_has_to_refuse_and_every_call_ends_once(first: int) -> None:
    for seed in range(first, first + 10):
        world = World(seed)
        run_virtually(world.loop, world.live())
        world.check_quiet()


def test_the_same_seed_gives_the_same_run() -> None:
    def trace(seed: int) -> tuple[object, ...]:
        world = World(seed)
        run_virtually(world.loop, world.live())
        return tuple(sorted(world.ended.items())), tuple(sorted(world.tokens_by_uid.items()))

    assert trace(7) == trace(7)


@pytest.mark.fault("R6")
def test_a_thousand_ranks_of_one_user_leave_half_to_the_one_of_another() -> None:
    loop = VirtualLoop()
    gate = Gate(quota_of=lambda _, now_s: quota(now_s, requests=600, tokens=1e9), clock=loop)
    served: Counter[int] = Counter()

    async def rank(uid: int) -> None:
        while loop.time() < 120.0:
            try:
                permit = await gate.admit(ask(uid, wait_until_s=120.0), lambda: None)
            except RateLimited:
                return
            if loop.time() > 60.0:
                served[uid] += 1
            gate.end(permit, {})

    async def live() -> None:
        await asyncio.gather(*(rank(1) for _ in range(1000)), *(rank(2) for _ in range(50)))

    run_virtually(loop, live())
    assert 0.45 <= served[2] / served.total() <= 0.55


@pytest.mark.fault("X9")
def test_splitting_calls_over_many_connections_brings_no_larger_share() -> None:
    loop = VirtualLoop()
    gate = Gate(quota_of=lambda _, now_s: quota(now_s, requests=60, tokens=1e9), clock=loop)
    served: Counter[int] = Counter()

    async def calls(uid: int, connection: int) -> None:
        path = (Step("ordinary"), Step(uid), Step(("connection", connection)))
        for _ in range(100):
            wanted = Ask(
                boundary="b", need={"requests": 1.0}, path=path, uid=uid, wait_until_s=300.0
            )
            try:
                permit = await gate.admit(wanted, lambda: None)
            except RateLimited:
                return
            # The first full bucket is nobody's share: whoever came first had it.
            served[uid] += loop.time() > 1.0
            gate.end(permit, {})

    async def live() -> None:
        await asyncio.gather(
            *(calls(1, number) for number in range(200)), *(calls(2, 0) for _ in range(5))
        )

    run_virtually(loop, live())
    assert served[2] / served.total() == pytest.approx(0.5, abs=0.05)


@pytest.mark.fault("P1")
def test_a_closed_boundary_lets_nobody_pass_for_the_whole_hint() -> None:
    loop = VirtualLoop()
    gate = Gate(quota_of=lambda _, now_s: quota(now_s), clock=loop)
    passed_s: list[float] = []

    async def call() -> None:
        permit = await gate.admit(ask(1), lambda: None)
        passed_s.append(loop.time())
        gate.end(permit, {})

    async def live() -> None:
        gate.close("b", 107.0)
        with pytest.raises(RateLimited) as refused:
            await gate.admit(ask(1, wait_until_s=50.0), lambda: None)
        assert refused.value.retry_after_s == pytest.approx(107.0)
        assert loop.time() == 0.0, "refused on arrival, not after idle waiting"
        await asyncio.gather(*(call() for _ in range(20)))

    run_virtually(loop, live())
    assert min(passed_s) >= 107.0


@pytest.mark.fault("P5")
def test_a_call_that_never_fits_is_refused_and_those_behind_it_pass() -> None:
    loop = VirtualLoop()
    gate = Gate(quota_of=lambda _, now_s: quota(now_s), clock=loop)

    async def live() -> None:
        with pytest.raises(RateLimited) as refused:
            await gate.admit(ask(1, tokens=10_001.0), lambda: None)
        assert not refused.value.retryable
        assert refused.value.data["capacity"] == 10_000.0
        gate.end(await gate.admit(ask(1, tokens=10_000.0), lambda: None), {})

    run_virtually(loop, live())


def test_buckets_and_money_are_taken_together_or_not_at_all() -> None:
    loop = VirtualLoop()
    gate = Gate(quota_of=lambda _, now_s: quota(now_s), clock=loop)
    money = {"left": 1}

    def reserve() -> str:
        if not money["left"]:
            raise WaitForMoney
        money["left"] -= 1
        return "reserved"

    def refuse() -> None:
        raise BudgetExceeded("nothing left")

    async def live() -> None:
        first = await gate.admit(ask(1), reserve)
        assert first.token == "reserved"
        with pytest.raises(BudgetExceeded):
            await gate.admit(ask(1), refuse)
        assert gate.quota("b").in_flight == 1
        waiting = asyncio.ensure_future(gate.admit(ask(1), reserve))
        await asyncio.sleep(5)
        assert gate.who_waits()[0]["bucket"] == "budget"
        money["left"] += 1
        gate.end(first, {})
        second = await waiting
        assert second.bucket == "budget"
        assert second.queued_s == 5.0
        gate.end(second, {})

    run_virtually(loop, live())


def test_who_waits_at_a_drain_is_told_at_once() -> None:
    loop = VirtualLoop()
    gate = Gate(quota_of=lambda _, now_s: quota(now_s, requests=1.0), clock=loop)

    async def live() -> list[CallError | object]:
        gate.end(await gate.admit(ask(1), lambda: None), {})
        waiting = [asyncio.ensure_future(gate.admit(ask(1), lambda: None)) for _ in range(10)]
        await asyncio.sleep(1)
        gate.drain()
        return await asyncio.gather(*waiting, return_exceptions=True)

    ends = run_virtually(loop, live())
    assert all(isinstance(end, ShuttingDown) for end in ends)
    assert gate.waiting == 0
