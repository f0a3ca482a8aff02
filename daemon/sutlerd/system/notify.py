"""Tell the service manager how we are, by sd_notify(3)'s datagrams. Never raises.

Without ``$NOTIFY_SOCKET`` everything here does nothing.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping

#: A state that must arrive is waited for, for at most this long.
_SEND_TIMEOUT_S = 1.0


class Notifier:
    """One service manager's socket. ``failures`` counts what could not be sent."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.failures = 0

    @property
    def is_wanted(self) -> bool:
        """Whether there is anybody to tell."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """Starting or reloading is over."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def reloading(self) -> None:
        """A new configuration is being read; the time stamp is what systemd 253 asks for."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        self._send(f"STOPPING=1\nSTATUS={_one_line(status)}")

    def status(self, text: str) -> None:
        """Show a line in ``systemctl status``."""
        self._send(f"STATUS={_one_line(text)}", timeout_s=0.0)

    def watchdog(self) -> None:
        """Say that the event loop turns; to be called from it and nowhere else."""
        self._send("WATCHDOG=1", timeout_s=0.0)

    def _send(self, message: str, timeout_s: float = _SEND_TIMEOUT_S) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(timeout_s)
                sock.connect(self._address)
                sock.sendall(message.encode(errors="replace"))
        except OSError:
            self.failures += 1


def watchdog_interval_s(environ: Mapping[str, str], *, pid: int) -> float | None:
    """Give how often ``watchdog`` is to be called: half of what systemd allows; None if never."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    allowed = environ.get("WATCHDOG_USEC", "")
    if not (allowed.isascii() and allowed.isdigit()) or int(allowed) == 0:
        return None
    return int(allowed) / 2_000_000


async def feed_watchdog(notifier: Notifier, every_s: float) -> None:
    """Tell the service manager for ever that the loop turns; only the loop itself may say so.

    The loop's time stands still while the machine sleeps, as systemd's watchdog does.
    """
    while True:
        notifier.watchdog()
        await asyncio.sleep(every_s)


def _address(name: str) -> str | None:
    if name.startswith("@"):
        return "\0" + name[1:]  # an abstract socket
    return name if name.startswith("/") else None


def _one_line(text: str) -> str:
    # A second line would be an assignment of its own.
    return " ".join(text.split())
