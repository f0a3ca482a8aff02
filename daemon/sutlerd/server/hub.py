"""What all connections share: the services, the limits, who is connected, what is counted.

No bytes are read or written here. Limits over all clients are kept here: connections and
calls in sum and per uid, bytes held and owed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sutlerd.config.schema import LimitsConfig
from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import CallError, Overloaded
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.domain.record import record
from sutlerd.pipeline.accounting import Accounting
from sutlerd.pipeline.hits import HitPath
from sutlerd.pipeline.resolve import Resolver
from sutlerd.pipeline.serve import Pipeline

if TYPE_CHECKING:
    from sutlerd.server.services import Services

#: A uid that comes when all ordinary places are taken gets a few of the reserved ones.
RESERVED_PLACES_PER_UID = 16
RETRY_AFTER_S = 1.0


@dataclass
class Tally:
    """Plain counters, cheap enough for the hit path."""

    hits: int = 0
    fresh: int = 0
    coalesced: int = 0
    cut_slow: int = 0
    refused_connections: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def answered(self, *, cached: bool, coalesced: bool) -> None:
        if cached:
            self.hits += 1
        elif coalesced:
            self.coalesced += 1
        else:
            self.fresh += 1

    def failed(self, kind: str) -> None:
        self.errors[kind] += 1


@record
class Serving:
    """What requests are served by, replaced whole when the configuration is.

    ``spawn`` starts a task that the daemon owns.
    """

    pipeline: Pipeline
    resolver: Resolver
    hit_path: HitPath
    services: Services
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Connection(Protocol):
    """What is known here of a client, whatever protocol it speaks."""

    caller: Caller

    @property
    def pending(self) -> Sized: ...

    @property
    def buffered_bytes(self) -> int: ...

    @property
    def wants_polling(self) -> bool: ...

    def share(self, scope: str) -> None: ...

    def measure(self) -> int: ...

    def make_room(self, error: CallError) -> None: ...

    def stalled_for_s(self, passed_s: float) -> float: ...

    def descriptor(self) -> int: ...

    def cut(self, why: str) -> None: ...

    def gone(self) -> None: ...

    def close(self, error: CallError | None = None) -> None: ...


class Hub:
    """One per daemon."""

    def __init__(
        self,
        *,
        serving: Serving,
        accounting: Accounting,
        limits: LimitsConfig,
        connection_limit: int,
        clock: Clock,
        log: EventLog,
    ) -> None:
        self.accounting = accounting
        self.clock = clock
        self.log = log
        self._serve_by(serving, limits)
        self.tally = Tally()
        self.draining = False
        self.connections: dict[Connection, None] = {}
        self.buffered_bytes = 0
        self._connection_limit = connection_limit
        self._connections_by_uid: Counter[int] = Counter()
        self._calls_by_uid: Counter[int] = Counter()
        self._calls = 0
        self._calls_bytes = 0
        self._watchers: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def adopt(self, serving: Serving, limits: LimitsConfig) -> None:
        """Serve by another configuration from the next request on."""
        serving.services.inherit(self.services)
        self._serve_by(serving, limits)
        for connection in self.connections:
            # Who shares answers with whom may have changed, and the memo goes by it.
            connection.share(serving.resolver.tenant(connection.caller))

    def _serve_by(self, serving: Serving, limits: LimitsConfig) -> None:
        # One attribute each: the way of a cache hit leads through all of them.
        self.pipeline = serving.pipeline
        self.resolver = serving.resolver
        self.hit_path = serving.hit_path
        self.services = serving.services
        self.spawn = serving.spawn
        self.limits = limits
        serving.services.hub = self

    @property
    def calls_open(self) -> int:
        return self._calls

    def users_calling(self, uid: int) -> int:
        """Count the users with calls under way, ``uid`` among them in any case."""
        return len(self._calls_by_uid.keys() | {uid})

    def has_place_for(self, uid: int) -> bool:
        """Say whether one more connection of this uid may be served.

        Any uid may fill the ordinary places; the reserved ones beyond them go to uids that
        hold few, so that nobody can lock the others out.
        """
        held = len(self.connections)
        share = self.limits.connections_per_uid or self._connection_limit
        if self._connections_by_uid[uid] >= share:
            return False
        if held < self._connection_limit:
            return True
        within = held < self._connection_limit + self.limits.connections_reserved
        return within and self._connections_by_uid[uid] < RESERVED_PLACES_PER_UID

    def joined(self, connection: Connection) -> None:
        self.connections[connection] = None
        self._connections_by_uid[connection.caller.uid] += 1

    def left(self, connection: Connection) -> None:
        if self.connections.pop(connection, self) is None:
            _count_down(self._connections_by_uid, connection.caller.uid)
            self._changed()

    def call_opened(self, caller: Caller, line_bytes: int) -> None:
        """Count one more call under way. Raises ``Overloaded`` at any of the maxima."""
        if self._calls >= self.limits.calls:
            raise Overloaded(
                f"{self._calls} calls are under way on this node: ask again a little later",
                retry_after_s=RETRY_AFTER_S,
            )
        if self._calls_by_uid[caller.uid] >= self.limits.calls_per_uid:
            raise Overloaded(
                f"uid {caller.uid} has {self.limits.calls_per_uid} calls under way, "
                "its share: wait for some of them",
                retry_after_s=RETRY_AFTER_S,
            )
        if self._calls and self._calls_bytes + line_bytes > self.limits.buffered_total_bytes:
            raise Overloaded(
                f"the calls under way on this node hold {self._calls_bytes} bytes of requests: "
                "ask again a little later",
                retry_after_s=RETRY_AFTER_S,
            )
        self._calls += 1
        self._calls_bytes += line_bytes
        self._calls_by_uid[caller.uid] += 1

    def call_ended(self, caller: Caller, line_bytes: int) -> None:
        self._calls -= 1
        self._calls_bytes -= line_bytes
        _count_down(self._calls_by_uid, caller.uid)
        if self._watchers:
            self._changed()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on calls or connections holds."""
        if not condition():
            holds = asyncio.get_running_loop().create_future()
            self._watchers.append((condition, holds))
            await holds

    def close_all(self, error: CallError) -> None:
        """End every call with this error, and every connection after what it is owed."""
        for connection in list(self.connections):
            connection.close(error)

    def buffered(self, change_bytes: int, just_written: Connection | None = None) -> None:
        """Account for bytes held or owed; past the maximum the largest holder is closed.

        ``just_written`` has had no time to take what it was sent: another that holds at least
        half as much goes before it.
        """
        self.buffered_bytes += change_bytes
        if change_bytes > 0 and self.buffered_bytes > self.limits.buffered_total_bytes:
            self._make_room(just_written)

    def _changed(self) -> None:
        for watcher in self._watchers[:]:
            condition, holds = watcher
            if holds.done() or condition():
                self._watchers.remove(watcher)
                if not holds.done():
                    holds.set_result(None)

    def _make_room(self, just_written: Connection | None) -> None:
        # What clients have taken meanwhile is not told at once: look again before judging.
        for connection in self.connections:
            self.buffered_bytes += connection.measure()
        if self.buffered_bytes <= self.limits.buffered_total_bytes:
            return

        def weight(connection: Connection) -> int:
            held_bytes = connection.buffered_bytes
            return held_bytes // 2 if connection is just_written else held_bytes

        largest = max(self.connections, key=weight)
        largest.make_room(
            Overloaded(
                "clients hold more unfinished or unread bytes than the daemon may keep",
                retry_after_s=RETRY_AFTER_S,
            )
        )


def _count_down(counter: Counter[int], uid: int) -> None:
    counter[uid] -= 1
    if not counter[uid]:
        del counter[uid]
