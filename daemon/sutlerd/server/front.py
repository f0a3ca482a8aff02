"""The listening side: bound or inherited, accepting, and bound anew when its file is gone."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from sutlerd.domain.ports import EventLog
from sutlerd.system.accepting import Acceptor
from sutlerd.system.exits import CannotStart
from sutlerd.system.listening import Listener, SocketAccess, listen, listen_again

CHECK_INTERVAL_S = 5.0


class Doorkeeper(Protocol):
    """Takes a socket that was just accepted, and owns it."""

    def admit(self, sock: socket.socket) -> None: ...

    def refuse(self, sock: socket.socket) -> None: ...


class Front:
    """A context manager: listens while it is entered.

    Either at ``path``, or on a socket that the service manager passed on.
    """

    def __init__(
        self,
        *,
        path: Path | None,
        inherited: Listener | None,
        access: SocketAccess,
        uid: int,
        doorkeeper: Doorkeeper,
        log: EventLog,
    ) -> None:
        self._wanted_path = path
        self._access = access
        self._uid = uid
        self._doorkeeper = doorkeeper
        self._log = log
        self._listener = inherited
        self._acceptor: Acceptor | None = None

    @property
    def path(self) -> str:
        return self._listener.path if self._listener is not None else str(self._wanted_path)

    def __enter__(self) -> Self:
        """Listen and accept. Raises ``CannotStart``."""
        if self._listener is None:
            assert self._wanted_path is not None
            self._listener = listen(self._wanted_path, self._access, uid=self._uid)
        self._accept()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop_accepting()

    def stop_accepting(self) -> None:
        """Take no more clients; those that wait in the backlog are told so by the doorkeeper.

        An inherited socket stays with the service manager: there, who waits or comes later is
        served by the next daemon, and told nothing.
        """
        listener, self._listener = self._listener, None
        if listener is not None and listener.is_ours:
            listener.unlink()
            if self._acceptor is not None:
                self._acceptor.drain()
        self._unaccept()
        if listener is not None:
            listener.close()

    async def keep_reachable(self) -> None:
        """Notice a socket file that was removed or replaced, and bind it anew."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            listener = self._listener
            if listener is None:
                return
            if not listener.still_there():
                self._rebind(listener)

    def _rebind(self, lost: Listener) -> None:
        try:
            fresh = listen_again(lost, uid=self._uid)
        except CannotStart as refusal:
            self._log.event("error", "socket_lost", path=lost.path, said=refusal.message)
            return
        if self._acceptor is not None:
            self._acceptor.drain()
        self._unaccept()
        lost.socket.close()
        self._listener = fresh
        self._accept()
        self._log.event(
            "warning", "socket_bound_anew", path=fresh.path, why="its file was removed or replaced"
        )

    def _accept(self) -> None:
        assert self._listener is not None
        self._acceptor = Acceptor(
            asyncio.get_running_loop(),
            self._listener.socket,
            take=self._doorkeeper.admit,
            refuse=self._doorkeeper.refuse,
            trouble=lambda said: self._log.event("error", "accept", said=said),
        )
        self._acceptor.start()

    def _unaccept(self) -> None:
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor = None
