"""What the HTTP side needs of the rest of the daemon: the very parts that serve the socket.

Limits, cache, money and identity are decided there, once; here is only another spelling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from sutlerd.config.schema import LimitsConfig
from sutlerd.domain.caller import Caller
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.pipeline.accounting import Accounting
from sutlerd.pipeline.counting import Counting
from sutlerd.pipeline.embedding import Embeddings
from sutlerd.pipeline.hits import HitPath
from sutlerd.pipeline.resolve import Resolver
from sutlerd.pipeline.serve import Pipeline
from sutlerd.telemetry.readings import Readings

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Tally(Protocol):
    hits: int
    cut_slow: int
    refused_connections: int

    def answered(self, *, cached: bool, coalesced: bool) -> None: ...

    def failed(self, kind: str) -> None: ...


class Services(Protocol):
    embeddings: Embeddings
    counting: Counting
    aliases: Mapping[str, str]

    async def list_models(self) -> list[dict[str, Any]]: ...

    def status(self, caller: Caller) -> dict[str, Any]: ...

    def readings(self) -> Readings: ...

    def shares(
        self, caller: Caller, provider: str, model: str
    ) -> dict[str, tuple[float, float, float]]: ...


class House(Protocol):
    """The hub, as far as it is used here. See ``server.hub``."""

    draining: bool

    @property
    def accounting(self) -> Accounting: ...

    @property
    def pipeline(self) -> Pipeline: ...

    @property
    def resolver(self) -> Resolver: ...

    @property
    def hit_path(self) -> HitPath: ...

    @property
    def limits(self) -> LimitsConfig: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def log(self) -> EventLog: ...

    @property
    def spawn(self) -> Spawn: ...

    @property
    def tally(self) -> Tally: ...

    @property
    def services(self) -> Services: ...

    def has_place_for(self, uid: int) -> bool: ...

    def joined(self, connection: Any) -> None: ...

    def left(self, connection: Any) -> None: ...

    def call_opened(self, caller: Caller, line_bytes: int) -> None: ...

    def call_ended(self, caller: Caller, line_bytes: int) -> None: ...

    def buffered(self, change_bytes: int) -> None: ...
