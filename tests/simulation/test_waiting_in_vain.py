"""Who waits for what cannot come in time is told so, and for what, as soon as that is known."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from sutlerd.admission.asking import Ask
from sutlerd.admission.gate import Gate
from sutlerd.admission.quota import Quota
from sutlerd.domain.errors import ProviderUnavailable
from sutlerd.providers.transport import Request, Response
from sutlerd.system.clock import SystemClock
from tests.support.simulated_provider import SimulatedTransport
from tests.support.simulated_world import Wire, World
from tests.support.wire_client import Line

SLOW = {"requests_per_minute": 60, "burst_s": 1}


class Turning(SimulatedTransport):
    """Answers well until ``turns_s``, and from then on what it is told to."""

    turns_s = 5.0
    status = 429
    hint = "600"

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        if self._clock.monotonic_s() < self.turns_s:
            return await super().send(request, timeout_s=timeout_s)
        self.asked_s.append(self._clock.monotonic_s())
        response = self._answer(self.status, {"error": {"message": "no", "type": "no"}})
        return Response(
            status=self.status,
            headers={**response.headers, "retry-after": self.hint},
            body=response.body,
            arrived_unix_s=response.arrived_unix_s,
        )


def failures(wire: Wire) -> list[tuple[float, dict[str, Any]]]:
    finals: list[tuple[float, Line]] = [asked.finals[0] for asked in wire.asked.values()]
    return [(at_s, line["error"]["data"]) for at_s, line in finals if "error" in line]


def test_who_waited_for_its_turn_until_its_time_was_up_is_told_what_for() -> None:
    world = World(1, llm={"rate_limits": {"sim": SLOW}})

    async def scenario(world: World) -> None:
        wire = Wire(world, uid=1000)
        for number in range(12):
            wire.ask("chat", prompt=f"p {number}", timeout_s=6)
        await asyncio.sleep(10.0)
        sent = world.transport.asked
        waited = [asked for asked in wire.asked.values() if asked.params["prompt"] not in sent]
        assert len(waited) > 4
        for asked in waited:
            at_s, line = asked.finals[0]
            data = line["error"]["data"]
            assert data["type"] == "rate_limited"
            assert data["retryable"]
            assert data["bucket"] == "requests"
            assert at_s <= 6.0

    world.live(scenario)


def turned(world: World, provider: Turning) -> tuple[Wire, Wire]:
    """Let calls wait at a provider that turns; give the impatient ones and the patient."""
    world.transports["sim"] = provider
    wires: list[Wire] = []

    async def scenario(world: World) -> None:
        wires.extend((Wire(world, uid=1000), Wire(world, uid=1001)))
        for number in range(12):
            wires[0].ask("chat", prompt=f"impatient {number}", timeout_s=60)
            wires[1].ask("chat", prompt=f"patient {number}", timeout_s=3000)
        await asyncio.sleep(3000.0)

    world.live(scenario)
    return wires[0], wires[1]


@pytest.mark.fault("P1")
def test_who_waits_already_is_refused_when_a_hint_passes_its_time_and_others_wait_on() -> None:
    world = World(1, llm={"rate_limits": {"sim": SLOW}, "queue_timeout_s": 3000})
    provider = Turning(chance=world.chance, clock=world.loop)
    impatient, patient = turned(world, provider)
    refused = failures(impatient)
    assert len(refused) > 4
    for at_s, data in refused:
        assert data["type"] == "rate_limited"
        assert at_s < 10.0, "at once, not after idle waiting"
        assert data["retry_after_s"] > 500.0
    assert any(at_s >= 600.0 for at_s in provider.asked_s)
    assert all(at_s > 600.0 for at_s, _ in failures(patient))


@pytest.mark.fault("P28")
def test_who_waits_already_is_told_when_the_circuit_opens() -> None:
    rule = {"least_calls": 1, "failure_pct": 10}
    world = World(1, llm={"rate_limits": {"sim": SLOW}, "circuit": rule, "max_retries": 0})
    provider = Turning(chance=world.chance, clock=world.loop)
    provider.status, provider.hint = 503, "0"
    impatient, patient = turned(world, provider)
    told = failures(impatient) + failures(patient)
    assert len(told) > 12
    for at_s, data in told:
        assert data["type"] == "provider_unavailable"
        assert at_s < 10.0
    assert sum(at_s >= provider.turns_s for at_s in provider.asked_s) <= 2


@pytest.mark.fault("P28")
def test_who_waits_for_another_model_of_the_provider_is_told_when_its_circuit_opens() -> None:
    rare = {"requests_per_minute": 6, "burst_s": 10}
    llm = {"rate_limits": {"sim": {**SLOW, "models": {"rare": rare}}}, "queue_timeout_s": 3000}
    world = World(1, llm=llm)
    provider = Turning(chance=world.chance, clock=world.loop)
    provider.turns_s, provider.status = 2.5, 401
    world.transports["sim"] = provider
    told: list[float] = []

    async def scenario(world: World) -> None:
        wire = Wire(world, uid=1000)
        for number in range(11):
            wire.ask("chat", prompt=f"p {number}", model="sim/rare", timeout_s=2000)
        await asyncio.sleep(3.0)
        await Wire(world, uid=1001).answer("chat", prompt="p", timeout_s=50)
        told.append(world.loop.time())
        assert told[0] < 9.0, "before the next of the others goes"
        await asyncio.sleep(0.1)
        waited = failures(wire)
        assert len(waited) > 5
        for at_s, data in waited:
            assert data["type"] in ("provider_error", "provider_unavailable")
            assert at_s <= told[0] + 0.1

    world.live(scenario)


async def test_very_many_who_wait_are_looked_at_some_at_a_time() -> None:
    turns = 0
    shut = False

    def check() -> None:
        if shut:
            raise ProviderUnavailable("left alone")

    gate = Gate(quota_of=lambda name, now_s: Quota({}, max_in_flight=1), clock=SystemClock())
    ask = Ask(boundary="p/a", need={}, path=(), uid=1, wait_until_s=math.inf, check=check)
    await gate.admit(ask, lambda: None)
    waiting = [asyncio.ensure_future(gate.admit(ask, lambda: None)) for _ in range(4000)]
    await asyncio.sleep(0)
    assert gate.waiting == len(waiting)
    shut = True
    gate.recheck(["p/a"])
    while gate.waiting:
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 4
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(end, ProviderUnavailable) for end in ends)
