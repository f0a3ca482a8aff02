"""The housekeeping of connections, once a second: what the event loop does not tell.

Clients that are half-closed or paused and died, and clients that take nothing of what they
are owed. Of those that owe nothing and whose input is read, the loop tells all there is.
"""

from __future__ import annotations

import asyncio

from sutlerd.server.hub import Hub
from sutlerd.system.peers import Presence, presences

INTERVAL_S = 1.0


async def watch_connections(hub: Hub) -> None:
    looked_s = hub.clock.monotonic_s()
    while True:
        await asyncio.sleep(INTERVAL_S)
        now_s = hub.clock.monotonic_s()
        # A longer pause was ours, and no client could take anything from us in it.
        sweep(hub, min(now_s - looked_s, 2 * INTERVAL_S))
        looked_s = now_s


def sweep(hub: Hub, passed_s: float) -> None:
    """Look at all connections; ``passed_s`` after this was done before."""
    suspects = {}
    for connection in list(hub.connections):
        if connection.stalled_for_s(passed_s) >= hub.limits.stall_s:
            connection.cut(f"it took nothing for {hub.limits.stall_s:g} s")
        elif connection.wants_polling:
            suspects[connection.descriptor()] = connection
    for descriptor, found in presences(suspects).items() if suspects else ():
        if found is Presence.GONE:
            suspects[descriptor].gone()
