"""Providers that come and go, before the whole daemon in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.simulated_provider import SimulatedTransport
from tests.support.simulated_world import Wire, World
from tests.support.wire_client import Line

NAMES = ("a", "b", "c")
FLAPS_S = 60.0


def world_of(seed: int, down: dict[str, Callable[[float], bool]], **llm: Any) -> World:
    """A world of far providers, in the order of the chain."""
    names = list(down)
    one = {"kind": "openai_compatible", "base_url": "http://far.example/v1", "default_model": "m"}
    settings: dict[str, Any] = {
        "default_provider": names[0],
        "fallback_providers": names[1:],
        "cache": {"backend": "memory"},
        "prices": {"m": {"input_usd": 0, "output_usd": 0}},
        "providers": {name: {**one, "api_key": "none"} for name in names},
        **llm,
    }
    world = World(seed, llm=settings)
    world.transports = {
        name: SimulatedTransport(chance=world.chance, clock=world.loop, down=down[name])
        for name in names
    }
    return world


def kind_of(line: Line) -> str:
    return str(line["error"]["data"]["type"]) if "error" in line else "ok"


def flapping(offset_s: float) -> Callable[[float], bool]:
    return lambda now_s: (now_s + offset_s) % FLAPS_S >= FLAPS_S / 2


@pytest.mark.fault("P28")
@pytest.mark.parametrize("seed", range(2))
def test_three_providers_that_flap_out_of_step_answer_nearly_everything(seed: int) -> None:
    lasts_s = 1200.0
    world = world_of(seed, {name: flapping(20.0 * at) for at, name in enumerate(NAMES)})
    ended: Counter[str] = Counter()
    refused_at_once: list[float] = []

    async def one(wire: Wire, number: int) -> None:
        began_s = world.loop.time()
        line = await wire.answer("chat", prompt=f"q{number}", cache="off", timeout_s=60)
        ended[kind_of(line)] += 1
        if "error" in line:
            outcomes = {row["outcome"] for row in line["error"]["data"]["attempts"]}
            if outcomes == {"circuit_open"}:
                refused_at_once.append(world.loop.time() - began_s)
                assert line["error"]["data"]["retry_after_s"] is not None

    async def scenario(world: World) -> None:
        wires = [Wire(world, uid=1000 + number) for number in range(8)]
        calls, number = [], 0
        while world.loop.time() < lasts_s:
            number += 1
            calls.append(asyncio.ensure_future(one(wires[number % 8], number)))
            await asyncio.sleep(world.chance.expovariate(2.0))
        await asyncio.gather(*calls)

    world.live(scenario)
    assert ended["ok"] >= 0.97 * ended.total(), f"seed {seed}: {ended}"
    assert all(passed_s == 0.0 for passed_s in refused_at_once)
    for at, name in enumerate(NAMES):
        is_down = flapping(20.0 * at)
        asked_down = sum(map(is_down, world.transports[name].asked_s))
        # Some until it opens, then a probe at a time: far fewer than the calls of that time.
        phases = lasts_s / FLAPS_S
        assert asked_down / phases < 25, f"seed {seed}: {name} was asked {asked_down} times"
        assert len(world.transports[name].asked_s) > asked_down, "it was found again"
    assert len(world.log.named("circuit_open")) < 4 * lasts_s / FLAPS_S * len(NAMES)


@pytest.mark.fault("P28")
def test_probes_go_out_one_at_a_time_however_many_call() -> None:
    world = world_of(1, {"a": lambda now_s: True})

    async def scenario(world: World) -> None:
        wires = [Wire(world, uid=1000 + number) for number in range(20)]
        while world.loop.time() < 150.0:
            lines = await asyncio.gather(
                *(wire.answer("chat", prompt="q", cache="off", timeout_s=60) for wire in wires)
            )
            assert {kind_of(line) for line in lines} == {"provider_unavailable"}
            await asyncio.sleep(1.0)

    world.live(scenario)
    late = [at_s for at_s in world.transports["a"].asked_s if at_s > 30.0]
    apart_s = [later - sooner for sooner, later in itertools.pairwise(late)]
    assert min(apart_s) >= 10.0


@pytest.mark.fault("P28")
def test_faults_of_callers_open_nothing() -> None:
    world = world_of(1, {"a": lambda now_s: False})
    slow = SimulatedTransport(chance=world.chance, clock=world.loop, busy_s=lambda now_s: 30.0)
    world.transports = {"a": slow}

    async def scenario(world: World) -> None:
        wire = Wire(world, uid=1000)
        for number in range(50):
            line = await wire.answer("chat", prompt=f"q{number}", timeout_s=0.5)
            assert kind_of(line) == "timeout"
        assert kind_of(await wire.answer("chat", prompt="patient", timeout_s=60)) == "ok"
        assert not world.log.named("circuit_open")

    world.live(scenario)


@pytest.mark.fault("P29")
def test_when_all_are_down_a_thousand_callers_make_no_storm_and_all_come_back() -> None:
    down_until_s, ends_s = 600.0, 780.0

    def is_down(now_s: float) -> bool:
        return now_s < down_until_s

    limits = {name: {"requests_per_minute": 6000, "burst_s": 5} for name in NAMES}
    world = world_of(1, dict.fromkeys(NAMES, is_down), rate_limits=limits)
    calls: Counter[str] = Counter()
    answered_s: list[float] = []

    async def caller(wire: Wire, name: str) -> None:
        await asyncio.sleep(world.chance.uniform(0, 20))
        while world.loop.time() < ends_s:
            began_s = world.loop.time()
            line = await wire.answer("chat", prompt=name, cache="off", timeout_s=60)
            calls[kind_of(line)] += 1
            assert world.loop.time() - began_s <= 60.0
            if "error" in line:
                assert kind_of(line) == "provider_unavailable"
                again_s = line["error"]["data"]["retry_after_s"] or 1.0
                await asyncio.sleep(again_s + world.chance.uniform(10, 40))
            else:
                answered_s.append(world.loop.time())
                await asyncio.sleep(world.chance.uniform(20, 40))

    async def scenario(world: World) -> None:
        wires = [Wire(world, uid=1000 + number) for number in range(100)]
        await asyncio.gather(
            *(
                caller(wire, f"{at} {number}")
                for at, wire in enumerate(wires)
                for number in range(10)
            )
        )

    world.live(scenario)
    requests = sum(len(each.asked_s) for each in world.transports.values())
    assert requests <= 1.1 * calls.total(), f"{requests} requests for {calls}"
    assert min(answered_s) < down_until_s + 15.0
    for transport in world.transports.values():
        times = transport.asked_s
        # Never more in a second than the bucket holds and refills.
        assert all(times[at + 600] - times[at] > 1.0 for at in range(len(times) - 600))


@pytest.mark.fault("P34")
def test_a_model_that_loads_for_minutes_opens_no_circuit_and_holds_only_its_own_permit() -> None:
    loaded_s = 240.0
    world = World(1, llm={"rate_limits": {"sim": {"calls_in_flight": 8}}})
    world.timeout_s = 300.0
    world.transports["sim"] = SimulatedTransport(
        chance=world.chance,
        clock=world.loop,
        busy_s=lambda now_s: max(0.0, loaded_s - now_s),
    )

    async def scenario(world: World) -> None:
        wire = Wire(world, uid=1000)
        patient = asyncio.ensure_future(wire.answer("chat", prompt="patient", timeout_s=600))
        for number in range(3):
            hurried = await asyncio.gather(
                *(wire.answer("chat", prompt=f"{number} {each}", timeout_s=60) for each in range(5))
            )
            assert {kind_of(line) for line in hurried} == {"timeout"}
            (levels,) = world.app.hub.services.status(wire.connection.caller)["buckets"]
            assert levels["in_flight"] == 1
        assert kind_of(await patient) == "ok"
        assert world.loop.time() < loaded_s + 10
        assert not world.log.named("circuit_open")

    world.live(scenario)
