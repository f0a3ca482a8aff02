"""One call under way in the asyncio client: sent, waited for, and if need be sent again."""

import asyncio
import os
from collections import deque
from time import monotonic

from sutler import dial
from sutler.aio_link import AsyncLink
from sutler.errors import ConnectionLost, SutlerError
from sutler.pending import Asked, Expired
from sutler.pieces import Piecewise
from sutler.tries import random_share

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from sutler.calls import Call
    from sutler.client import Settings
    from sutler.pending import Lost, Waiter

#: A full backlog cannot be waited for without blocking the loop: it is tried again.
_KNOCK_S = 0.05


class AsyncHome:
    """What a client has in one event loop of one process."""

    def __init__(self, pid: int, loop: asyncio.AbstractEventLoop, settings: "Settings") -> None:
        self.pid = pid
        self.loop = loop
        self.settings = settings
        self.defaults = settings.defaults()
        self.link: "Optional[AsyncLink]" = None
        self.closed = False
        self._opening: "Optional[asyncio.Future[None]]" = None

    async def usable_link(self, deadline_s: float) -> AsyncLink:
        """Give the connection, opened if there is none; one caller opens, the others wait.

        Raises DaemonUnavailable, AccessDenied; ConnectionLost if the client was closed.
        """
        began_s = monotonic()
        while self._opening is not None:
            left_s = max(0.0, deadline_s - monotonic())
            done, _ = await asyncio.wait([self._opening], timeout=left_s)
            if not done:
                raise dial.not_accepting(self._path(), monotonic() - began_s)
        self._check_open()
        if self.link is not None and self.link.usable:
            return self.link
        opening = self._opening = self.loop.create_future()
        try:
            self.link = await self._open(deadline_s)
            return self.link
        finally:
            self._opening = None
            opening.set_result(None)

    def _check_open(self) -> None:
        if self.closed:
            raise ConnectionLost("the client was closed", retryable=False)

    async def _open(self, deadline_s: float) -> AsyncLink:
        path = self._path()
        waited_s = max(0.0, deadline_s - monotonic())
        while True:
            link = await self._knock(path)
            if link is not None:
                return link
            if monotonic() >= deadline_s:
                raise dial.not_accepting(path, waited_s)
            await asyncio.sleep(_KNOCK_S * (0.5 + random_share()))

    def _path(self) -> str:
        return dial.locate(self.settings.socket_path, os.environ, os.getuid())

    async def _knock(self, path: str) -> "Optional[AsyncLink]":
        """Try to connect once; None if the daemon does not accept just now."""
        connected = dial.open_socket()
        try:
            connected.setblocking(False)
            if dial.attempt(connected, path, self.settings.trusted_uids):
                self._check_open()
                link = AsyncLink(connected)
                await self.loop.create_unix_connection(lambda: link, sock=connected)
                return link
        except BaseException:
            connected.close()
            raise
        connected.close()
        return None

    def close(self) -> None:
        self.closed = True
        link, self.link = self.link, None
        if link is not None:
            link.fail("the client was closed")

    def forsake(self) -> None:
        self.closed = True
        link, self.link = self.link, None
        if link is not None:
            link.forsake()


class AsyncAsk(Asked):
    """``link`` is the connection of the latest try."""

    link: "Optional[AsyncLink]" = None
    _bell: "Optional[asyncio.Future[None]]" = None

    def __init__(self, home: AsyncHome, call: "Call") -> None:
        super().__init__(call, home.settings.reconnect_s)
        self.home = home

    def left_s(self) -> float:
        return self.deadline_s - monotonic()

    def is_over(self) -> bool:
        """Tell whether the end of the answer, good or bad, is there."""
        return self.ready

    def deliver(self, kind: int, payload: "Any") -> "Waiter":
        super().deliver(kind, payload)
        self._ring()
        return self

    def lose(self, lost: "Lost") -> "Waiter":
        super().lose(lost)
        self._ring()
        return self

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    async def answer(self) -> "Any":
        """Send, wait, and give the call's value; raises its one error."""
        try:
            await self.start()
            while True:
                await self.wait()
                if self.failure is None:
                    return self.call.value(self.result)
                await asyncio.sleep(self.pause_s())
                await self.start()
        except Expired:
            raise self.too_late() from None
        finally:
            self.abandon()

    async def start(self) -> None:
        while True:
            try:
                link = self.home.link
                if link is None or not link.usable:
                    link = await self.home.usable_link(self.deadline_s)
                break
            except SutlerError as error:
                await asyncio.sleep(self.reconnect_pause_s(error))
        self.link = link
        if self.tries is not None:
            self.renew()
        await link.send(self, self.call.method, self.params())

    async def wait(self) -> None:
        """Return when there is something to take; raises Expired."""
        while not self.ready:
            left_s = self.left_s()
            if left_s <= 0:
                raise Expired
            self._bell = self.home.loop.create_future()
            alarm = self.home.loop.call_later(left_s, self._ring)
            try:
                await self._bell
            finally:
                alarm.cancel()
                self._bell = None

    def let_go(self) -> None:
        if self.home.link is self.link:
            self.home.link = None
        if self.link is not None:
            self.link.retire()

    def abandon(self) -> None:
        """Cancel it in the daemon if it is still to be answered."""
        if self.link is not None:
            self.link.abandon(self)


class AsyncPieces(AsyncAsk, Piecewise):
    """A call whose answer comes in pieces."""

    def __init__(self, home: AsyncHome, call: "Call") -> None:
        self.pieces = deque()
        super().__init__(home, call)

    def is_over(self) -> bool:
        return self.over
