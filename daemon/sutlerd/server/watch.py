"""The housekeeping of connections, once a second: what the event loop does not tell.

Clients that are half-closed or paused and died, and clients that take nothing of what they
are owed. Only those in question are looked at, so idle ones cost nothing.
"""

from __future__ import annotations

import asyncio

from sutlerd.server.hub import Hub
from sutlerd.system.peers import Presence, presences

INTERVAL_S = 1.0


async def watch_connections(hub: Hub) -> None:
    while True:
        await asyncio.sleep(INTERVAL_S)
        sweep(hub)


def sweep(hub: Hub) -> None:
    now_s = hub.clock.monotonic_s()
    suspects = {}
    for connection in list(hub.connections):
        if connection.buffered_bytes and connection.stalled_for_s(now_s) >= hub.limits.stall_s:
            connection.cut(f"it took nothing for {hub.limits.stall_s:g} s")
        elif connection.wants_polling:
            suspects[connection.descriptor()] = connection
    for descriptor, presence in presences(suspects).items() if suspects else ():
        if presence is Presence.GONE:
            suspects[descriptor].gone()
