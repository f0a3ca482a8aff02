"""Virtual hours at the daemon's turnstile: callers with habits, a provider with limits that it
does not tell unless asked for, faults, restarts and crashes. Everything follows from a seed.

The turnstile, the gate, the queue, the buckets and what learns are the daemon's own.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sutlerd.admission.levels import Past
from sutlerd.config.schema_llm import LlmConfig
from sutlerd.domain.call import Route
from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import RateLimited, ShuttingDown
from sutlerd.domain.usage import Usage
from sutlerd.pipeline.places import Asker
from sutlerd.pipeline.turnstile import Passed, Turnstile
from sutlerd.providers.contract import (
    AttemptFailed,
    BuiltRequest,
    Outcome,
    RateLimitView,
    Verdict,
)
from tests.support.hidden_limits import HiddenLimits
from tests.support.virtual_loop import VirtualLoop

ROUTE = Route(provider="sim", model="m")
HABITS = ("steady", "bursty", "greedy", "leaving", "lying")
#: What the configuration says of the limits.
KNOWLEDGE = ("known", "known", "known", "shared", "too_high", "auto", "auto", "silent", "others")
_TRAVEL_S = 0.1
_BYTES_PER_TOKEN = 4.0


@dataclass
class Plan:
    """One world, drawn from its seed."""

    seed: int
    calls: int = 500
    knowledge: str = ""
    dialect: str = "openai_compatible"
    counts_refused: bool = False
    requests: float = 600.0
    tokens: float = 600_000.0
    burst_s: float = 60.0
    faults: float = 0.0
    stops: list[tuple[float, bool]] = field(default_factory=list)
    span_s: float = 120.0

    @classmethod
    def drawn(cls, seed: int, calls: int = 500) -> Plan:
        chance = random.Random(f"plan {seed}")
        tight = chance.choice(("requests", "tokens", "both"))
        requests = chance.choice((60.0, 300.0, 600.0, 3000.0))
        plan = cls(
            seed,
            calls=calls,
            knowledge=chance.choice(KNOWLEDGE),
            dialect=chance.choice(("openai_compatible", "anthropic_compatible")),
            counts_refused=chance.random() < 0.3,
            requests=requests * (10 if tight == "tokens" else 1),
            tokens=requests * (20_000 if tight == "requests" else 1500),
            burst_s=chance.choice((60.0, 60.0, 20.0)),
            faults=chance.choice((0.0, 0.0, 0.05)),
            span_s=60.0 * calls / requests * chance.choice((0.5, 1.0, 2.0)),
        )
        for _ in range(chance.choice((0, 0, 1, 2))):
            plan.stops.append((chance.uniform(0.1, 0.9) * plan.span_s, chance.random() < 0.5))
        plan.stops.sort()
        return plan

    @property
    def limits(self) -> dict[str, float]:
        if self.dialect == "anthropic_compatible":
            out = self.tokens / 4
            return {"requests": self.requests, "tokens_in": self.tokens, "tokens_out": out}
        return {"requests": self.requests, "tokens": self.tokens}

    def configured(self) -> Any:
        """Give the ``rate_limits`` of the provider as its operator writes them."""
        if self.knowledge in ("auto", "silent"):
            return "auto"
        factor = {"too_high": 2, "shared": 4}.get(self.knowledge, 1)
        spelled = {
            "requests": "requests_per_minute",
            "tokens": "tokens_per_minute",
            "tokens_in": "input_tokens_per_minute",
            "tokens_out": "output_tokens_per_minute",
        }
        written: dict[str, Any] = {
            spelled[name]: int(limit * factor) for name, limit in self.limits.items()
        }
        if self.knowledge == "shared":
            written["share"] = "1/4"
        return {**written, "burst_s": self.burst_s}


class _Free:
    """Stands for circuits that are closed and money that is no matter here."""

    def release(self) -> None:
        pass


class QuotaWorld:
    """``live`` plays the plan; broken invariants raise ``AssertionError``."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = VirtualLoop()
        self.chance = random.Random(plan.seed)
        # One that is shared has as much for the other nodes, which are idle.
        nodes = 4 if plan.knowledge == "shared" else 1
        limits = {name: limit * nodes for name, limit in plan.limits.items()}
        self.provider = HiddenLimits(
            limits, burst_s=plan.burst_s, counts_refused=plan.counts_refused
        )
        self.turnstile = Turnstile(llm=self._llm(), clock=self.loop)
        self.ended: Counter[str] = Counter()
        self.trace: list[str] = []
        #: Seconds of the provider's time that all answers took, by the limit that binds.
        self.work_s = 0.0
        self.backlog: Counter[int] = Counter()
        self.greedy: list[int] = []
        #: Cost granted to each greedy uid while all of them had calls waiting.
        self.shares: Counter[int] = Counter()
        self.largest = 0.0
        self.crashed = False
        self.stopping = asyncio.Lock()
        self.others: asyncio.Task[None] | None = None
        self._new_life()

    def _new_life(self) -> None:
        self._open: list[Passed] = []

    def _llm(self) -> LlmConfig:
        return LlmConfig.model_validate(
            {
                "default_provider": "sim",
                "providers": {
                    "sim": {
                        "kind": self.plan.dialect,
                        "base_url": "http://127.0.0.1:1/v1",
                        "default_model": "m",
                        "models": ["m"],
                    }
                },
                "rate_limits": (
                    {} if self.plan.knowledge == "unset" else {"sim": self.plan.configured()}
                ),
            }
        )

    def live(self) -> None:
        try:
            self.loop.run_until_complete(self._live())
        finally:
            self.loop.run_until_complete(self._end())
            self.loop.close()

    async def _end(self) -> None:
        """Leave nothing behind, whatever went wrong."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _live(self) -> None:
        plan = self.plan
        if plan.knowledge == "others":
            self.others = asyncio.ensure_future(self._others())
        ending = [asyncio.ensure_future(self._stop(*stop)) for stop in plan.stops]
        await asyncio.gather(*(self._caller(number) for number in range(5)))
        for task in (*ending, *([self.others] if self.others else [])):
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        self._check_quiet()
        self._check_shares()

    async def _caller(self, number: int) -> None:
        """One user: some habit, and its part of the calls."""
        habit = HABITS[number] if number < 3 else self.chance.choice(HABITS)
        if habit == "greedy":
            self.greedy.append(number)
        caller = Caller(uid=number, gid=number, pid=1)
        count = self.plan.calls // 5
        calls = []
        for index in range(count):
            if habit in ("steady", "lying"):
                at_s = self.plan.span_s * index / count
            elif habit == "bursty":
                at_s = self.plan.span_s * (index * 4 // count) / 4
            else:
                at_s = 0.0
            calls.append(self._call(f"{number}.{index}", caller, habit, at_s))
        await asyncio.gather(*calls)

    async def _call(self, name: str, caller: Caller, habit: str, at_s: float) -> None:
        chance = self.chance
        await asyncio.sleep(at_s)
        tokens_in = chance.choice((10, 100, 400, 1000))
        tokens_out = chance.randint(1, 200)
        max_tokens = tokens_out * 5 if habit == "lying" else int(tokens_out * 1.2) + 1
        patience_s = 20.0 if habit == "leaving" else 1e6
        deadline_s = self.loop.time() + patience_s
        leaves_s = chance.uniform(0.0, 60.0) if habit == "leaving" else None
        work = self._until_answered(caller, tokens_in, tokens_out, max_tokens, deadline_s)
        how = "left"
        try:
            async with asyncio.timeout(leaves_s):
                how = await work
        except TimeoutError:
            pass
        self.ended[how] += 1
        self.trace.append(f"{self.loop.time():.6f} {name} {how}")

    async def _until_answered(
        self, caller: Caller, tokens_in: int, tokens_out: int, max_tokens: int, deadline_s: float
    ) -> str:
        size = int(tokens_in * _BYTES_PER_TOKEN)
        built = BuiltRequest(model="m", path="/p", body={"p": "x" * max(1, size - 8)})
        asker = Asker(caller=caller, lane="normal")
        while True:
            turnstile = self.turnstile
            self.backlog[caller.uid] += 1
            try:
                passed = await turnstile.admit(
                    asker,
                    ROUTE,
                    built,
                    max_tokens_out=max_tokens,
                    wait_until_s=deadline_s,
                    enter=_Free,
                    reserve=_Free,
                )
            except ShuttingDown:
                await asyncio.sleep(1.0)  # the client reconnects and asks the next daemon
                continue
            except RateLimited as refused:
                return "refused" if refused.retryable else "never fits"
            finally:
                self.backlog[caller.uid] -= 1
            self._count(turnstile, passed)
            try:
                answered = await self._attempt(turnstile, passed, tokens_in, tokens_out, max_tokens)
            except asyncio.CancelledError:
                turnstile.abandoned(passed)
                raise
            finally:
                self._uncount(turnstile, passed)
            if answered:
                return "answered"

    async def _attempt(
        self, turnstile: Turnstile, passed: Passed, tokens_in: int, tokens_out: int, max_tokens: int
    ) -> bool:
        """Go to the provider and back. Tells whether it answered."""
        chance, loop = self.chance, self.loop
        await asyncio.sleep(chance.uniform(0.0, _TRAVEL_S))
        if chance.random() < self.plan.faults:
            outcome = chance.choice((Outcome.NOT_SENT, Outcome.NOT_BILLED))
            turnstile.failed(passed, _failure(outcome, 503, None, None), chance=chance.random())
            return False
        charged = {"requests": 1.0, "tokens_in": float(tokens_in)}
        charged["tokens"] = tokens_in + float(max_tokens)
        wait_s = self.provider.arrive(charged, loop.time())
        told = RateLimitView(limits=self.provider.told(loop.time()))
        seen = None if self.plan.knowledge == "silent" else told
        if wait_s is not None:
            await asyncio.sleep(chance.uniform(0.0, _TRAVEL_S))
            failure = _failure(Outcome.NOT_BILLED, 429, wait_s, seen)
            turnstile.failed(passed, failure, chance=chance.random())
            return False
        await asyncio.sleep(chance.choice((0.2, 0.5, 3.0)))
        self.provider.produced(float(tokens_out), loop.time())
        if seen is not None and self.plan.dialect == "anthropic_compatible":
            seen = RateLimitView(limits=self.provider.told(loop.time()))
        await asyncio.sleep(chance.uniform(0.0, _TRAVEL_S))
        used = {**charged, "tokens_out": float(tokens_out)}
        self.work_s += max(used[name] / each * 60 for name, each in self.plan.limits.items())
        usage = Usage(tokens_in=tokens_in, tokens_out=tokens_out)
        turnstile.succeeded(passed, usage, seen)
        return True

    async def _others(self) -> None:
        """Somebody else with the same key, who takes half of what refills."""
        every_s = 120.0 / self.plan.requests
        need = {name: limit / self.plan.requests for name, limit in self.plan.limits.items()}
        while True:
            await asyncio.sleep(every_s * self.chance.uniform(0.5, 1.5))
            refused = self.provider.refused
            self.provider.arrive(need, self.loop.time())
            self.provider.refused = refused
            self.provider.produced(need.get("tokens_out", 0.0), self.loop.time())

    async def _stop(self, at_s: float, clean: bool) -> None:
        """End this life of the daemon and begin the next: cleanly, or by a crash."""
        await asyncio.sleep(at_s)
        async with self.stopping:
            await self._restart(clean)

    async def _restart(self, clean: bool) -> None:
        before = self.turnstile
        before.gate.drain()
        kept = json.loads(json.dumps(before.noted())) if clean else {}
        await asyncio.sleep(self.chance.uniform(0.0, 5.0))
        past = Past(boundaries=kept, age_s=0.0, clean=clean)
        self.turnstile = Turnstile(llm=self._llm(), clock=self.loop, past=past)
        self.crashed = self.crashed or not clean
        self._new_life()
        self.trace.append(f"{self.loop.time():.6f} restarted, clean: {clean}")

    def _count(self, turnstile: Turnstile, passed: Passed) -> None:
        permit, quota = passed.permit, passed.learner.quota
        if turnstile is self.turnstile:
            self._open.append(passed)
        cost = quota.weight(permit.ask.need)
        self.largest = max(self.largest, cost)
        # This one waited until now, though it may have been the last of its uid.
        mine = permit.ask.uid
        if all(self.backlog[uid] or uid == mine for uid in self.greedy):
            self.shares[mine] += cost
        self.trace.append(f"{self.loop.time():.6f} {permit.ask.uid} {permit.queued_s:.6f}")
        self._check_sums(turnstile)

    def _uncount(self, turnstile: Turnstile, passed: Passed) -> None:
        if turnstile is self.turnstile:
            self._open.remove(passed)
        self._check_sums(turnstile)

    def _check_sums(self, turnstile: Turnstile) -> None:
        """Check what must hold after every step: all buckets gave to a call or none did, what
        is taken is what calls under way hold, and what we believe to have is really there."""
        if turnstile is not self.turnstile or not self._open:
            return
        quota = self._open[0].learner.quota
        # Some were let through in this turn of the loop and have not noticed yet.
        unaware = quota.in_flight - len(self._open)
        assert unaware >= 0, self.plan
        if unaware == 0:
            for name, bucket in quota.buckets.items():
                held = sum(each.permit.ask.need[name] for each in self._open)
                if self.plan.knowledge not in ("auto", "silent", "unset"):
                    assert abs(quota.reserved[name] - held) < 1e-3, (self.plan, name)
                assert bucket.level(self.loop.time()) <= bucket.capacity
        if self.plan.knowledge == "known" and not self.crashed:
            now_s = self.loop.time()
            ours = quota.buckets["requests"].level(now_s)
            assert ours <= self.provider.buckets["requests"].level(now_s) + 1e-6, self.plan

    def _check_quiet(self) -> None:
        """Check that every call ended once, and that everything is back where it began."""
        assert self.ended.total() == self.plan.calls // 5 * 5, self.plan
        assert not self._open, self.plan
        assert self.turnstile.gate.waiting == 0
        for level in self.turnstile.gate.levels():
            assert level["in_flight"] == level["waiting"] == 0, self.plan

    def _check_shares(self) -> None:
        """Check that those who always had calls waiting got the same, by cost."""
        if len(self.greedy) < 2 or self.plan.knowledge not in ("known", "shared"):
            return
        shares = [self.shares[uid] for uid in self.greedy]
        spread = max(shares) - min(shares)
        # Each life of the daemon begins its rounds anew.
        rounds = 3 * self.largest * (1 + len(self.plan.stops))
        assert spread <= 0.05 * max(shares) + rounds, (self.plan, shares)


def _failure(
    outcome: Outcome, status: int, hint_s: float | None, limits: RateLimitView | None
) -> AttemptFailed:
    return AttemptFailed(
        "simulated",
        verdict=Verdict.RETRY,
        outcome=outcome,
        kind="rate_limit" if status == 429 else "http_503",
        status=status,
        retry_after_s=hint_s,
        limits=limits,
    )
