"""Alerts on their way to a webhook, as Slack and what is compatible with it take them.

They wait in a queue of their own, with a time limit and a few tries of their own; nothing
else ever waits for them. Where they go is a secret: addresses of webhooks are their own keys.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Callable
from typing import Any, Final, Literal

from sutlerd.domain.ports import EventLog
from sutlerd.ledger.alerts import Alert

MAX_WAITING: Final = 64
TRIES: Final = 4
LIMIT_S: Final = 10.0
PAUSES_S: Final = (1.0, 5.0, 25.0)

Outcome = Literal["delivered", "dropped"]


class Webhook:
    """``address`` gives where to post, or ``None`` for nowhere; it is asked for each alert.

    ``done`` is told of every alert that was delivered.
    """

    def __init__(
        self,
        *,
        address: Callable[[], str | None],
        done: Callable[[Alert], object],
        log: EventLog,
        pauses_s: tuple[float, ...] = PAUSES_S,
        limit_s: float = LIMIT_S,
    ) -> None:
        self.delivered = 0
        self.dropped = 0
        self.failed_tries = 0
        self._address = address
        self._done = done
        self._log = log
        self._pauses_s = pauses_s
        self._limit_s = limit_s
        self._waiting: asyncio.Queue[Alert] = asyncio.Queue(MAX_WAITING)

    def send(self, alert: Alert) -> None:
        """Queue an alert. Never waits: one too many is dropped, and counted."""
        if self._address() is None:
            return
        try:
            self._waiting.put_nowait(alert)
        except asyncio.QueueFull:
            self._drop(alert, "too many wait")

    async def run(self) -> None:
        """Deliver what is queued, one after the other."""
        while True:
            alert = await self._waiting.get()
            await self._deliver(alert)

    def snapshot(self) -> dict[str, int]:
        return {
            "waiting": self._waiting.qsize(),
            "delivered": self.delivered,
            "dropped": self.dropped,
            "failed_tries": self.failed_tries,
        }

    async def _deliver(self, alert: Alert) -> None:
        why = ""
        for pause_s in (*self._pauses_s, None):
            address = self._address()
            if address is None:
                return
            why = await self._try(address, alert)
            if not why:
                self.delivered += 1
                self._done(alert)
                return
            self.failed_tries += 1
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        self._drop(alert, why)

    async def _try(self, address: str, alert: Alert) -> str:
        """Post once; give what went wrong, without the address, or nothing."""
        # Takes half a second the first time: not on the loop.
        aiohttp: Any = await asyncio.to_thread(importlib.import_module, "aiohttp")
        body = {"text": f"sutler on {socket.gethostname()}: {alert.text}"}
        try:
            async with (
                asyncio.timeout(self._limit_s),
                aiohttp.ClientSession() as session,
                # Where a redirect leads is not where the operator wanted it to be known.
                session.post(address, json=body, allow_redirects=False) as response,
            ):
                status = int(response.status)
        except TimeoutError:
            return f"no answer within {self._limit_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return type(error).__name__
        return "" if 200 <= status < 300 else f"it answered {status}"

    def _drop(self, alert: Alert, why: str) -> None:
        self.dropped += 1
        self._log.event("error", "alert_dropped", why=why, **alert.to_fields())
