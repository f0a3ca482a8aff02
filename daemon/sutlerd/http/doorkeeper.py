"""From an accepted socket to a served HTTP client: who it is, and whether there is room.

The HTTP library is loaded when the first client comes, while that one waits.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import AccessDenied, CallError, Overloaded
from sutlerd.http.client import Client, Inner
from sutlerd.http.house import House
from sutlerd.http.plain import tell_error
from sutlerd.http.site import Site, stopping
from sutlerd.system.accepting import send_and_close
from sutlerd.system.access import Access
from sutlerd.system.peers import identify

RETRY_AFTER_S = 1.0
#: Whoever connects over TCP, until a token says who asks.
NOBODY = Caller(uid=-1, gid=-1, pid=0)


class HttpDoorkeeper:
    """``admit``, ``admit_tcp`` and ``refuse`` take a socket just accepted, and own it.

    ``access`` gives the policy that holds now. ``is_off``: everybody is told that HTTP is off.
    """

    def __init__(self, house: House, site: Site, access: Callable[[], Access]) -> None:
        self._house = house
        self._site = site
        self._access = access
        self.is_off = False

    def admit(self, sock: socket.socket) -> None:
        """Serve a client of the Unix socket, or tell it why not."""
        try:
            peer = identify(sock)
        except OSError:
            sock.close()
            return
        caller = self._access().caller(peer)
        if self.is_off:
            self._turn_away(sock, AccessDenied("HTTP is switched off here: http.enabled is false"))
        elif caller is None:
            self._house.log.event(
                "warning", "refused", uid=peer.uid, pid=peer.pid, why="not listed"
            )
            self._turn_away(
                sock, AccessDenied(f"uid {peer.uid} may not use this daemon: ask its operator")
            )
        else:
            self._let_in(sock, caller, over_tcp=False)

    def admit_tcp(self, sock: socket.socket) -> None:
        """Serve a client of the loopback port; who it is, each request has to say."""
        self._let_in(sock, NOBODY, over_tcp=True)

    def refuse(self, sock: socket.socket) -> None:
        """Turn a client away for want of room."""
        self._turn_away(
            sock,
            Overloaded(
                "too many connections: try again a little later", retry_after_s=RETRY_AFTER_S
            ),
        )

    def _let_in(self, sock: socket.socket, caller: Caller, *, over_tcp: bool) -> None:
        if self._house.draining:
            self._turn_away(sock, stopping())
        elif not self._house.has_place_for(caller.uid):
            self.refuse(sock)
        else:
            client = _Served(self._house, self._site, caller, over_tcp=over_tcp)
            self._house.joined(client)
            self._house.spawn(self._connect(client, sock), "connect http")

    async def _connect(self, client: Client, sock: socket.socket) -> None:
        connected = False
        try:
            await self._site.load()
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: client, sock)
            connected = True
        except OSError:
            pass  # it left while it waited
        finally:
            if not connected:
                sock.close()
                self._house.left(client)

    def _turn_away(self, sock: socket.socket, error: CallError) -> None:
        self._house.tally.refused_connections += 1
        self._house.tally.failed(error.type)
        page = tell_error(error, None)
        lines = [f"HTTP/1.1 {page.status} Refused", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in page.headers.items()]
        lines += [f"Content-Type: {page.content_type}", f"Content-Length: {len(page.body)}"]
        send_and_close(sock, "\r\n".join([*lines, "", ""]).encode() + page.body)


class _Served(Client):
    """A client whose protocol the site makes and forgets."""

    def __init__(self, house: House, site: Site, caller: Caller, *, over_tcp: bool) -> None:
        super().__init__(house, caller, over_tcp=over_tcp)
        self._site = site
        self._worn: Inner | None = None
        self.wear(self._dress)

    def _dress(self, client: Client) -> Inner:
        self._worn = self._site.inner(client)
        return self._worn

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._site.left(self._worn)
