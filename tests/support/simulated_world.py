"""The daemon in virtual time: real connections' code over wires made of nothing, and the
simulated provider behind it. Everything in between is the daemon's own."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sutlerd.app import App, build
from sutlerd.config.schema import Config
from sutlerd.domain.caller import Caller
from sutlerd.providers.registry import Providers
from sutlerd.server.connection import Connection
from sutlerd.system.folders import Place
from tests.support.event_list import EventList
from tests.support.inline_store import InlineStore
from tests.support.simulated_provider import SimulatedTransport, simulated_provider
from tests.support.virtual_loop import VirtualLoop, run_virtually
from tests.support.wire_client import Line, request_line

RETRIES = 2
_SETTLES_WITHIN_S = 1_000.0
_CONFIG: dict[str, dict[str, Any]] = {
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
    """A request as it was sent, and all that was heard of it, with the time of final lines."""

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
        self._awaited: dict[int, asyncio.Future[Line]] = {}
        caller = Caller(uid=uid, gid=uid, pid=1, groups=frozenset(), job=None, may_operate=False)
        self.connection = Connection(world.app.hub, caller, world.loop)
        world.app.hub.joined(self.connection)
        self.connection.connection_made(self)

    def ask(self, method: str, **params: Any) -> int:
        request_id = len(self.asked) + 1
        self.asked[request_id] = Asked(method, params, self._world.loop.time())
        self.connection.data_received(request_line(method, request_id, **params))
        return request_id

    async def answer(self, method: str, **params: Any) -> Line:
        """Ask, and wait for the final line."""
        final = self._world.loop.create_future()
        request_id = len(self.asked) + 1
        self._awaited[request_id] = final
        self.ask(method, **params)
        line: Line = await final
        return line

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
                awaited = self._awaited.pop(line["id"], None)
                if awaited is not None:
                    awaited.set_result(line)

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
    """``live`` plays a scenario and fails unless all is quiet some time after it.

    ``llm`` goes over the usual configuration's group; ``transports`` may be changed before.
    """

    def __init__(
        self, seed: int, *, failures: float = 0.0, llm: Mapping[str, Any] | None = None
    ) -> None:
        self.chance = random.Random(seed)
        random.seed(seed)  # for the jitter of the daemon's own
        self.loop = VirtualLoop()
        self.log = EventList()
        self.trace: list[str] = []
        self.transport = SimulatedTransport(chance=self.chance, clock=self.loop, failures=failures)
        self.transports = {"sim": self.transport}
        self.config = {**_CONFIG, "llm": {**_CONFIG["llm"], **(llm or {})}}
        self.timeout_s = 60.0
        self.app: App

    def live(self, scenario: Callable[[World], Awaitable[None]]) -> None:
        run_virtually(self.loop, self._live(scenario))

    async def _live(self, scenario: Callable[[World], Awaitable[None]]) -> None:
        providers = {
            name: simulated_provider(name, transport, self.loop, timeout_s=self.timeout_s)
            for name, transport in self.transports.items()
        }
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            self.app = await build(
                stack,
                Config.model_validate(self.config),
                state_place=Place(path=folder, why="a test's"),
                ledger_store=InlineStore(folder / "ledger"),
                cache_place=None,
                connection_limit=100,
                clock=self.loop,
                log=self.log,
                providers=Providers(providers, {}),
            )
            await scenario(self)
            await asyncio.sleep(_SETTLES_WITHIN_S)
            self._is_quiet()

    def _is_quiet(self) -> None:
        hub = self.app.hub
        assert hub.calls_open == 0
        assert hub.pipeline.open_flights == hub.pipeline.ids_under_way == 0
        assert self.app.tasks.count == self.app.tasks.failed_count == 0
        assert not any(each.open_connections() for each in self.transports.values())
        anyone = next(iter(hub.connections)).caller
        levels = hub.services.status(anyone)["buckets"]
        assert all(level["in_flight"] == level["waiting"] == 0 for level in levels)
        assert not self.log.named("task_failed")
