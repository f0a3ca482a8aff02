"""From an accepted socket to a served connection: who it is, and whether there is room.

Refusals are written straight to the socket: one line, then closed, with no transport made.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from sutlerd.domain.errors import AccessDenied, CallError, Overloaded, ShuttingDown
from sutlerd.domain.ports import EventLog
from sutlerd.server.connection import Connection
from sutlerd.server.hub import RETRY_AFTER_S, Hub
from sutlerd.server.replies import error_line
from sutlerd.system.accepting import send_and_close
from sutlerd.system.access import Access
from sutlerd.system.peers import identify


class Doorkeeper:
    """``admit`` and ``refuse`` take a socket that was just accepted, and own it."""

    def __init__(
        self,
        *,
        hub: Hub,
        access: Access,
        log: EventLog,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
    ) -> None:
        self._hub = hub
        self._access = access
        self._log = log
        self._spawn = spawn

    def admit(self, sock: socket.socket) -> None:
        """Serve the client, or tell it why not."""
        try:
            peer = identify(sock)
        except OSError:
            sock.close()
            return
        caller = self._access.caller(peer)
        if caller is None:
            self._log.event("warning", "refused", uid=peer.uid, pid=peer.pid, why="not listed")
            self._turn_away(sock, AccessDenied(_not_listed(peer.uid)))
        elif self._hub.draining:
            self._turn_away(sock, ShuttingDown("the daemon is stopping: reconnect and ask again"))
        elif not self._hub.has_place_for(peer.uid):
            self.refuse(sock)
        else:
            loop = asyncio.get_running_loop()
            connection = Connection(self._hub, caller, loop)
            # Counted from now on: many may be accepted before the first is connected.
            self._hub.joined(connection)
            self._spawn(self._connect(connection, sock), "connect")

    @property
    def access(self) -> Access:
        """Give the policy that holds now."""
        return self._access

    def go_by(self, access: Access) -> None:
        """Admit by another policy from now on, those who are connected included."""
        self._access = access
        for connection in list(self._hub.connections):
            known = connection.caller
            caller = access.caller(known)
            if caller is None:
                self._log.event("warning", "refused", uid=known.uid, pid=known.pid, why="unlisted")
                connection.close(AccessDenied(_not_listed(known.uid)))
            elif caller != known:
                connection.caller = caller

    def refuse(self, sock: socket.socket) -> None:
        """Turn a client away for want of room."""
        self._turn_away(
            sock,
            Overloaded(
                "too many connections: try again a little later", retry_after_s=RETRY_AFTER_S
            ),
        )

    async def _connect(self, connection: Connection, sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
        except OSError:
            sock.close()
            self._hub.left(connection)

    def _turn_away(self, sock: socket.socket, error: CallError) -> None:
        self._hub.tally.refused_connections += 1
        self._hub.tally.failed(error.type)
        send_and_close(sock, error_line(None, error))


def _not_listed(uid: int) -> str:
    return f"uid {uid} may not use this daemon: ask its operator"
