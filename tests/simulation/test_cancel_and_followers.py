"""Callers who cancel, lose patience and leave, in virtual time, on real connections' code.

Each seed is a different afternoon of many calls on a few connections; prompts are few, so
that most calls share flights. Everything between a line's bytes and the provider's transport
is the daemon's own.
"""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sutlerd.app import App, build
from sutlerd.config.schema import Config
from sutlerd.domain.caller import Caller
from sutlerd.providers.registry import Providers
from sutlerd.server.connection import Connection
from tests.support.event_list import EventList
from tests.support.simulated_provider import SimulatedTransport, simulated_provider
from tests.support.virtual_loop import VirtualLoop, run_virtually
from tests.support.wire_client import Line, request_line

SEEDS = 150
STEPS = 120
RETRIES = 2
#: Longer than all attempts of a flight together.
PATIENT_S = 60.0

_CONFIG = {
    "llm": {
        "default_provider": "sim",
        "max_retries": RETRIES,
        "cache": {"backend": "memory"},
        "providers": {"sim": {"kind": "llama_cpp", "default_model": "m"}},
    },
    "limits": {"in_flight_per_connection": 12},
}


@dataclass
class Asked:
    """A request as it was sent, and all that was heard of it."""

    method: str
    params: dict[str, Any]
    at_s: float
    chunks: list[Line] = field(default_factory=list)
    finals: list[tuple[float, Line]] = field(default_factory=list)


class Wire(asyncio.Transport):
    """The client's end of a connection: hears lines at once, and can go away."""

    def __init__(self, world: World, uid: int) -> None:
        super().__init__()
        self._world = world
        self._is_closing = False
        self.asked: dict[int, Asked] = {}
        caller = Caller(uid=uid, gid=uid, pid=1, groups=frozenset(), job=None, may_operate=False)
        self.connection = Connection(world.app.hub, caller, world.loop)
        world.app.hub.joined(self.connection)
        self.connection.connection_made(self)

    def ask(self, method: str, **params: Any) -> int:
        request_id = len(self.asked) + 1
        self.asked[request_id] = Asked(method, params, self._world.loop.time())
        self.connection.data_received(request_line(method, request_id, **params))
        return request_id

    def leave(self) -> None:
        self._is_closing = True
        self.connection.connection_lost(None)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._is_closing, "written to a client that is gone"
        for text in bytes(data).splitlines():
            line: Line = json.loads(text)
            self._world.trace.append(f"{self._world.loop.time():.3f} {text.decode()}")
            if line.get("method") == "chunk":
                asked = self.asked[line["params"]["id"]]
                assert not asked.finals, "a chunk after the final line"
                asked.chunks.append(line["params"])
            else:
                self.asked[line["id"]].finals.append((self._world.loop.time(), line))

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True


class World:
    def __init__(self, seed: int, *, failures: float = 0.25) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        random.seed(seed)  # jitter of the daemon's own
        self.loop = VirtualLoop()
        self.log = EventList()
        self.trace: list[str] = []
        self.wires: list[Wire] = []
        self.transport = SimulatedTransport(chance=self.chance, clock=self.loop, failures=failures)
        self.app: App

    def run(self) -> None:
        run_virtually(self.loop, self._live())

    async def _live(self) -> None:
        provider = simulated_provider("sim", self.transport, self.loop)
        async with AsyncExitStack() as stack:
            self.app = await build(
                stack,
                Config.model_validate(_CONFIG),
                cache_place=None,
                connection_limit=100,
                clock=self.loop,
                log=self.log,
                providers=Providers({"sim": provider}, {}),
            )
            await self._afternoon()
            await asyncio.sleep(1_000.0)
            self._is_quiet()

    async def _afternoon(self) -> None:
        self.wires = [Wire(self, uid=1000 + number // 3) for number in range(4)]
        for _ in range(STEPS):
            await asyncio.sleep(self.chance.choice((0.0, 0.0, 0.1, 0.1, 0.5)))
            wire = self.chance.choice(self.wires)
            what = self.chance.random()
            if what < 0.68:
                self._ask(wire)
            elif what < 0.97:
                self._cancel(wire)
            else:
                wire.leave()
                self._gone(wire)
                self.wires[self.wires.index(wire)] = Wire(self, uid=wire.connection.caller.uid)

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

    def _gone(self, wire: Wire) -> None:
        for asked in wire.asked.values():
            _check(asked, wire, gone=True)

    def _is_quiet(self) -> None:
        for wire in self.wires:
            for asked in wire.asked.values():
                _check(asked, wire, gone=False)
        hub = self.app.hub
        assert hub.calls_open == 0
        assert hub.pipeline.open_flights == hub.pipeline.ids_under_way == 0
        assert self.app.tasks.count == self.app.tasks.failed_count == 0
        assert self.transport.open_connections() == 0
        levels = hub.services.status(self.wires[0].connection.caller)["buckets"]
        assert all(level["in_flight"] == level["waiting"] == 0 for level in levels)
        assert not self.log.named("task_failed")
        # Three of the connections are one user's: what it asks at once is asked once.
        assert max(self.transport.most_at_once.values()) <= 2


def _check(asked: Asked, wire: Wire, *, gone: bool) -> None:
    """Hold one request to what is owed to it."""
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
        world = World(seed)
        try:
            world.run()
        except BaseException:
            print(f"seed {seed}:", *world.trace[-30:], sep="\n")
            raise
        text = "\n".join(world.trace)
        shared += text.count('"coalesced":true')
        cancelled += text.count('"type":"cancelled"')
        late += text.count('"type":"timeout"')
    # The afternoons were busy ones.
    assert min(shared, cancelled, late) > SEEDS


@pytest.mark.fault("C21")
def test_the_same_seed_gives_the_same_trace() -> None:
    def trace_of(seed: int) -> list[str]:
        world = World(seed)
        world.run()
        return world.trace

    assert trace_of(7) == trace_of(7) != trace_of(8)


@pytest.mark.fault("C21")
def test_what_was_answered_or_never_asked_cannot_be_cancelled() -> None:
    async def scenario(world: World) -> None:
        wire, other = world.wires = [Wire(world, uid=1), Wire(world, uid=1)]
        asked = wire.ask("complete", prompt="p", timeout_s=60, request_id="r")
        for who, target in ((wire, 99), (other, asked), (wire, "1")):
            cancel = who.ask("cancel", id=target)
            assert who.asked[cancel].finals[0][1]["result"] == {"cancelled": False}
        await asyncio.sleep(10)
        assert "result" in wire.asked[asked].finals[0][1]
        cancel = wire.ask("cancel", id=asked)
        assert wire.asked[cancel].finals[0][1]["result"] == {"cancelled": False}

    _play(scenario)


@pytest.mark.fault("C24")
def test_the_flight_lives_while_anyone_waits_and_a_failed_attempt_is_tried_again_as_one() -> None:
    async def scenario(world: World) -> None:
        patience = [1.0, PATIENT_S, 2.0, PATIENT_S + 1]
        wires = world.wires = [Wire(world, uid=1) for _ in patience]
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
        _play(scenario, seed=seed, failures=0.6)


def _play(scenario: Any, *, seed: int = 1, failures: float = 0.0) -> None:
    world = World(seed, failures=failures)
    cast(Any, world)._afternoon = lambda: scenario(world)
    world.run()
