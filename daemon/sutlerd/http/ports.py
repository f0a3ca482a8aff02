"""A loopback TCP port, for programs that cannot speak HTTP over a Unix socket."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Self

from sutlerd.domain.ports import EventLog
from sutlerd.http.doorkeeper import HttpDoorkeeper
from sutlerd.system.accepting import Acceptor
from sutlerd.system.exits import CannotStart, Exit
from sutlerd.system.listening import BACKLOG


class LoopbackPort:
    """A context manager: listens while it is entered. Port 0 takes a free one. ``setting`` is
    what asked for it, for the complaint."""

    def __init__(
        self, host: str, port: int, doorkeeper: HttpDoorkeeper, log: EventLog, setting: str
    ) -> None:
        self._setting = setting
        self._host = host
        self._port = port
        self._doorkeeper = doorkeeper
        self._log = log
        self._socket: socket.socket | None = None
        self._acceptor: Acceptor | None = None

    @property
    def path(self) -> str:
        shown = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{shown}:{self._port}"

    def __enter__(self) -> Self:
        """Listen and accept. Raises ``CannotStart``."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self._host, self._port))
            listening.listen(BACKLOG)
        except OSError as error:
            listening.close()
            raise CannotStart(
                Exit.CONFIGURATION,
                f"{self._setting}: cannot listen on {self.path}: {error.strerror}",
            ) from None
        listening.setblocking(False)
        self._port = listening.getsockname()[1]
        self._socket = listening
        self._acceptor = Acceptor(
            asyncio.get_running_loop(),
            listening,
            take=self._take,
            refuse=self._doorkeeper.refuse,
            trouble=lambda said: self._log.event("error", "accept", said=said),
        )
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop_accepting()

    def stop_accepting(self) -> None:
        """Take no more clients; those that wait in the backlog are told so."""
        acceptor, self._acceptor = self._acceptor, None
        if acceptor is not None:
            acceptor.drain()
            acceptor.stop()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _take(self, accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._doorkeeper.admit_tcp(accepted)
