"""A provider in virtual time that tells no limits, and refuses what goes beyond them; all calls
stand at the daemon's turnstile from the beginning."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass

from sutlerd.config.schema_llm import LlmConfig
from sutlerd.domain.caller import Caller
from sutlerd.domain.usage import Usage
from sutlerd.pipeline.places import Asker
from sutlerd.pipeline.turnstile import Passed, Turnstile
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Outcome, Verdict
from tests.support.hidden_limits import HiddenLimits
from tests.support.quota_world import ROUTE, _Free
from tests.support.virtual_loop import VirtualLoop, run_virtually


@dataclass(kw_only=True)
class Silent:
    """One load. ``hint``: how a refusal tells when to come back: to the ``moment``, in
    ``whole`` seconds, or with ``no`` word."""

    requests: float = 2400.0
    burst_s: float = 2.5
    calls: int = 640
    answer_s: float = 0.05
    travel_s: float = 0.004
    hint: str = "moment"

    @property
    def ideal_s(self) -> float:
        per_s = self.requests / 60
        return (self.calls - per_s * self.burst_s) / per_s + self.answer_s

    def hinted_s(self, wait_s: float) -> float | None:
        return {"moment": wait_s, "whole": float(math.ceil(wait_s)), "no": None}[self.hint]

    def played(self, seed: int) -> tuple[float, int]:
        """Give the time taken to the ideal, and how many were refused."""
        world = _World(self, seed)
        run_virtually(world.loop, world.live())
        return world.last_s / self.ideal_s, world.provider.refused


class _World:
    def __init__(self, load: Silent, seed: int) -> None:
        self.load = load
        self.chance = random.Random(seed)
        self.loop = VirtualLoop()
        limits = {"requests": load.requests}
        self.provider = HiddenLimits(limits, burst_s=load.burst_s)
        llm = {
            "default_provider": "sim",
            "providers": {
                "sim": {
                    "kind": "openai_compatible",
                    "base_url": "http://127.0.0.1:1/v1",
                    "default_model": "m",
                    "models": ["m"],
                }
            },
            "rate_limits": {"sim": "auto"},
        }
        self.turnstile = Turnstile(llm=LlmConfig.model_validate(llm), clock=self.loop)
        self.last_s = 0.0

    async def live(self) -> None:
        await asyncio.gather(*(self._call() for _ in range(self.load.calls)))

    async def _travels(self) -> None:
        await asyncio.sleep(self.load.travel_s * self.chance.uniform(0.25, 1.0))

    async def _call(self) -> None:
        asker = Asker(caller=Caller(uid=1, gid=1, pid=1), lane="normal")
        built = BuiltRequest(model="m", path="/p", body={"p": "x"})
        while True:
            passed = await self.turnstile.admit(
                asker,
                ROUTE,
                built,
                max_tokens_out=50,
                wait_until_s=1e9,
                enter=_Free,
                reserve=_Free,
            )
            await self._travels()
            wait_s = self.provider.arrive({"requests": 1.0}, self.loop.time())
            if wait_s is None:
                break
            await self._travels()
            await self._refused(passed, self.load.hinted_s(wait_s))
        await asyncio.sleep(self.load.answer_s * self.chance.uniform(0.8, 1.2))
        await self._travels()
        self.turnstile.succeeded(passed, Usage(tokens_in=10, tokens_out=40), None)
        self.last_s = self.loop.time()

    async def _refused(self, passed: Passed, hint_s: float | None) -> None:
        failure = AttemptFailed(
            "simulated",
            verdict=Verdict.RETRY,
            outcome=Outcome.NOT_BILLED,
            kind="rate_limit",
            status=429,
            retry_after_s=hint_s,
        )
        self.turnstile.failed(passed, failure, chance=self.chance.random())
        await asyncio.sleep(0.5 * self.chance.random() if hint_s is None else hint_s)
