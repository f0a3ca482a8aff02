"""Callers who cancel, lose patience and leave, in virtual time.

Each seed is a different afternoon of many calls on a few connections; prompts are few, so
that most calls share flights.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tests.support.simulated_world import RETRIES, Asked, Wire, World
from tests.support.wire_client import Line

SEEDS = 150
STEPS = 120
#: Longer than all attempts of a flight together.
PATIENT_S = 60.0


class Afternoon:
    """Four connections of two users, and what a seed has them do."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed, failures=0.25)
        self.chance = self.world.chance
        self.wires: list[Wire] = []

    def pass_by(self) -> None:
        self.world.live(self._play)
        for wire in self.wires:
            for asked in wire.asked.values():
                _check(asked, wire, gone=False)
        # Three of the connections are one user's: what it asks at once is asked once.
        assert max(self.world.transport.most_at_once.values()) <= 2

    async def _play(self, world: World) -> None:
        self.wires = [Wire(world, uid=1000 + number // 3) for number in range(4)]
        for _ in range(STEPS):
            await asyncio.sleep(self.chance.choice((0.0, 0.0, 0.1, 0.1, 0.5)))
            wire = self.chance.choice(self.wires)
            what = self.chance.random()
            if what < 0.68:
                self._ask(wire)
            elif what < 0.97:
                self._cancel(wire)
            else:
                self._leave(wire)

    def _ask(self, wire: Wire) -> None:
        chance = self.chance
        params: dict[str, Any] = {
            "prompt": f"p{chance.randrange(4)}",
            "timeout_s": chance.choice((0.1, 0.5, 1.0, 5.0, PATIENT_S)),
            "cache_ttl_s": 2.0,
            "request_id": f"r{chance.getrandbits(40)}",
        }
        if chance.random() < 0.4:
            params["stream"] = True
        wire.ask("complete", **params)

    def _cancel(self, wire: Wire) -> None:
        """Cancel what is known or unknown, of this connection or of another, once or twice."""
        other = self.chance.choice(self.wires)
        target = self.chance.randint(1, len(other.asked) + 2)
        for _ in range(self.chance.choice((1, 1, 2))):
            wire.ask("cancel", id=target)

    def _leave(self, wire: Wire) -> None:
        wire.leave()
        for asked in wire.asked.values():
            _check(asked, wire, gone=True)
        self.wires[self.wires.index(wire)] = Wire(self.world, uid=wire.connection.caller.uid)


def _check(asked: Asked, wire: Wire, *, gone: bool) -> None:
    """Hold the daemon to what is owed to one request."""
    if gone and not asked.finals:
        return
    assert len(asked.finals) == 1, asked
    at_s, final = asked.finals[0]
    if asked.method == "cancel":
        _check_cancel(asked, wire, final)
        return
    limit_s = asked.at_s + asked.params["timeout_s"]
    if "result" in final:
        result = final["result"]
        assert result["content"] == f"to: {asked.params['prompt']}"
        assert result["request_id"] == asked.params["request_id"]
        assert len(result["trace"]["attempts"]) <= RETRIES + 1
        assert at_s <= limit_s + 1e-6
        if asked.params.get("stream"):
            assert "".join(chunk["delta"] for chunk in asked.chunks) == result["content"]
        return
    kind = final["error"]["data"]["type"]
    assert final["error"]["data"]["request_id"] == asked.params["request_id"]
    assert kind in ("timeout", "cancelled", "provider_unavailable"), final
    if kind == "timeout":
        assert at_s == pytest.approx(limit_s)
        assert asked.params["timeout_s"] < PATIENT_S, "nobody told this one anything"


def _check_cancel(cancel: Asked, wire: Wire, final: Line) -> None:
    target = wire.asked.get(cancel.params["id"])
    if not final["result"]["cancelled"]:
        return
    assert target is not None, "another connection's was cancelled"
    assert [line["error"]["data"]["type"] for _, line in target.finals] == ["cancelled"]
    assert target.finals[0][0] == pytest.approx(cancel.finals[0][0])


@pytest.mark.fault("C21")
@pytest.mark.fault("C24")
def test_whoever_cancels_waits_or_leaves_everyone_gets_exactly_what_is_owed() -> None:
    shared = cancelled = late = 0
    for seed in range(SEEDS):
        afternoon = Afternoon(seed)
        try:
            afternoon.pass_by()
        except BaseException:
            print(f"seed {seed}:", *afternoon.world.trace[-30:], sep="\n")
            raise
        text = "\n".join(afternoon.world.trace)
        shared += text.count('"coalesced":true')
        cancelled += text.count('"type":"cancelled"')
        late += text.count('"type":"timeout"')
    # The afternoons were busy ones.
    assert min(shared, cancelled, late) > SEEDS


@pytest.mark.fault("C21")
def test_the_same_seed_gives_the_same_trace() -> None:
    def trace_of(seed: int) -> list[str]:
        afternoon = Afternoon(seed)
        afternoon.pass_by()
        return afternoon.world.trace

    assert trace_of(7) == trace_of(7) != trace_of(8)


@pytest.mark.fault("C21")
def test_what_was_answered_or_never_asked_cannot_be_cancelled() -> None:
    async def scenario(world: World) -> None:
        wire, other = Wire(world, uid=1), Wire(world, uid=1)
        asked = wire.ask("complete", prompt="p", timeout_s=60, request_id="r")
        for who, target in ((wire, 99), (other, asked), (wire, "1")):
            cancel = who.ask("cancel", id=target)
            assert who.asked[cancel].finals[0][1]["result"] == {"cancelled": False}
        await asyncio.sleep(10)
        assert "result" in wire.asked[asked].finals[0][1]
        cancel = wire.ask("cancel", id=asked)
        assert wire.asked[cancel].finals[0][1]["result"] == {"cancelled": False}

    World(seed=1).live(scenario)


@pytest.mark.fault("C24")
def test_the_flight_lives_while_anyone_waits_and_a_failed_attempt_is_tried_again_as_one() -> None:
    async def scenario(world: World) -> None:
        patience = [1.0, PATIENT_S, 2.0, PATIENT_S + 1]
        wires = [Wire(world, uid=1) for _ in patience]
        for wire, timeout_s in zip(wires, patience, strict=True):
            wire.ask("complete", prompt="p", timeout_s=timeout_s, request_id=f"{timeout_s}")
        # Refused for longer than the impatient have, then answered.
        await asyncio.sleep(100)
        assert world.transport.most_at_once["p"] == 1
        assert world.transport.asked["p"] <= RETRIES + 1
        for wire, timeout_s in zip(wires, patience, strict=True):
            ((_, final),) = wire.asked[1].finals
            body = final.get("result") or final["error"]["data"]
            assert body["request_id"] == f"{timeout_s}"
            assert body.get("type") != "timeout" or timeout_s < PATIENT_S

    for seed in range(40):
        World(seed, failures=0.6).live(scenario)


def test_who_follows_another_account_that_has_no_money_left_goes_on_its_own() -> None:
    rules = [{"per": "uid", "match": 1000, "limit_usd": Decimal("0.000001")}]
    prices = {"m": {"input_usd": 1, "output_usd": 2}}
    billing = {
        "kind": "openai_compatible",
        "base_url": "http://127.0.0.1:1/v1",
        "default_model": "m",
        "models": ["m"],
    }
    llm = {"prices": prices, "budget": {"rules": rules}, "providers": {"sim": billing}}
    world = World(1, llm=llm)

    async def scenario(world: World) -> None:
        poor, other, rich = (Wire(world, uid=uid) for uid in (1000, 1000, 1001))
        lines = await asyncio.gather(
            *(wire.answer("chat", prompt="the same", timeout_s=60) for wire in (poor, other, rich))
        )
        assert [line["error"]["data"]["type"] for line in lines[:2]] == ["budget_exceeded"] * 2
        assert lines[2]["result"]["coalesced"] is False
        assert world.transport.asked == {"the same": 1}

    world.live(scenario)
