"""Connections to one address: kept alive, closed when idle too long, bounded in number."""

from __future__ import annotations

import asyncio
from collections import deque

from sutlerd.providers.dialing import Dialer
from sutlerd.providers.failures import not_sent
from sutlerd.providers.http_connection import HttpConnection, State
from sutlerd.providers.transport import IDLE_LIMIT_S

#: Open at once to one address; calls beyond wait their turn within their time limit.
MAX_CONNECTIONS = 1024


class HttpPool:
    """``where`` names the address in messages. The one used last is used next: the others
    grow old and are closed, so there are as many as the load needs."""

    def __init__(
        self, dialer: Dialer, where: str, *, max_connections: int = MAX_CONNECTIONS
    ) -> None:
        self._dialer = dialer
        self._where = where
        self._max_connections = max_connections
        self._open: set[HttpConnection] = set()
        self._dialing = 0
        self._idle: deque[HttpConnection] = deque()
        self._queue: deque[asyncio.Future[None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False
        self._emptied = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def take_idle(self) -> HttpConnection | None:
        """Give a kept connection that is young enough to be trusted, without waiting."""
        idle = self._idle
        if not idle:
            return None
        oldest_s = asyncio.get_running_loop().time() - IDLE_LIMIT_S
        while idle:
            connection = idle.pop()
            if connection.state is State.IDLE and connection.idle_since_s > oldest_s:
                return connection
            connection.abort()
        return None

    async def connect(self, until_s: float) -> HttpConnection:
        """Make a connection, or wait for one where there are as many as may be.

        ``until_s`` is on the loop's clock. Raises ``AttemptFailed``, not sent.
        """
        loop = asyncio.get_running_loop()
        while len(self._open) + self._dialing >= self._max_connections:
            await self._wait_turn(until_s)
            connection = self.take_idle()
            if connection is not None:
                return connection
        if self._closed:
            raise not_sent("closed", "the daemon is closing its connections")
        self._dialing += 1
        try:
            connection = await self._dialer.dial(self._make, timeout_s=until_s - loop.time())
            if connection.state is State.CLOSED:
                raise not_sent("connect", f"{self._where} closed the connection at once")
            self._open.add(connection)
            return connection
        finally:
            self._dialing -= 1
            self._call_next()

    def give_back(self, connection: HttpConnection) -> None:
        """Keep a connection for the next, or close one whose exchange is not over."""
        if connection.state is State.IDLE and not self._closed:
            loop = asyncio.get_running_loop()
            connection.idle_since_s = loop.time()
            self._idle.append(connection)
            if self._reaper is None:
                self._reaper = loop.call_later(IDLE_LIMIT_S, self._reap)
        else:
            connection.abort()
        self._call_next()

    async def close(self) -> None:
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        for connection in list(self._open):
            connection.abort()
        # Sockets are closed in the loop's next rounds; nobody may find them open after us.
        if self._open:
            await self._emptied.wait()

    def _make(self) -> HttpConnection:
        return HttpConnection(self._where, self._closed_one)

    def _closed_one(self, connection: HttpConnection) -> None:
        self._open.discard(connection)
        if self._closed and not self._open:
            self._emptied.set()
        self._call_next()

    async def _wait_turn(self, until_s: float) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout_at(until_s):
                await turn
        except TimeoutError:
            self._pass_on(turn)
            raise not_sent(
                "pool", f"all {self._max_connections} connections to {self._where} were busy"
            ) from None
        except asyncio.CancelledError:
            self._pass_on(turn)
            raise

    def _pass_on(self, turn: asyncio.Future[None]) -> None:
        """Give a turn that came, and will not be used, to the next in line."""
        if turn.done() and not turn.cancelled():
            self._call_next()

    def _call_next(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _reap(self) -> None:
        """Close what was idle for too long, oldest first."""
        loop = asyncio.get_running_loop()
        oldest_s = loop.time() - IDLE_LIMIT_S
        idle = self._idle
        while idle and (idle[0].idle_since_s <= oldest_s or idle[0].state is State.CLOSED):
            idle.popleft().abort()
        self._reaper = None
        if idle:
            self._reaper = loop.call_at(idle[0].idle_since_s + IDLE_LIMIT_S, self._reap)
