"""What every test that did something bad to a daemon ends with.

A fresh client asks a cached, an uncached and a status call; then everything that was taken
must have been given back: calls, tasks, flights, descriptors, buffers.
"""

from __future__ import annotations

import time
from typing import Any

from tests.support.daemon_process import DaemonProcess

_SETTLES_WITHIN_S = 15.0
#: What a task, a callback or the loop itself says of a bug.
_CONFESSIONS = ("Traceback", "task_failed", "loop_error", "internal_error")


class Probe:
    """Made before the bad thing happens; ``check`` after it. Asks ``chat`` for its calls.

    ``cached`` is false for a daemon whose cache is off or out of order.
    """

    def __init__(self, daemon: DaemonProcess, *, cached: bool = True) -> None:
        self._daemon = daemon
        self._cached = cached
        daemon.result("chat", prompt="the probe: asked before")
        self._before = self._in_use()

    def check(self, *, confessions: bool = False) -> dict[str, Any]:
        """Fail unless all is as before; give the operator's ``status``.

        ``confessions`` allows the log to hold errors of the daemon itself.
        """
        daemon = self._daemon
        assert daemon.process.poll() is None, f"the daemon has ended:\n{daemon.log()}"
        self._wait_for_room()
        assert daemon.result("chat", prompt="the probe: asked before")["cached"] is self._cached
        fresh = f"the probe: asked at {time.monotonic_ns()}"
        assert daemon.result("chat", prompt=fresh)["cached"] is False
        until_s = time.monotonic() + _SETTLES_WITHIN_S
        while (now := self._in_use()) != self._before:
            assert time.monotonic() < until_s, {
                name: (self._before[name], now[name])
                for name in now
                if now[name] != self._before[name]
            }
            time.sleep(0.05)
        log = daemon.log()
        if not confessions:
            assert not [word for word in _CONFESSIONS if word in log], log
        status = daemon.result("status")
        assert status["process"]["tasks_failed"] == 0
        return status

    def _wait_for_room(self) -> None:
        """Those who have just left may not all have been noticed yet."""
        until_s = time.monotonic() + _SETTLES_WITHIN_S
        while "error" in (reply := self._daemon.ask("ping")):
            assert reply["error"]["data"]["type"] == "overloaded"
            assert time.monotonic() < until_s, reply
            time.sleep(0.02)

    def _in_use(self) -> dict[str, Any]:
        status = self._daemon.result("status")
        process = status["process"]
        providers = [each for each in status["providers"].values() if "in_flight" in each]
        # A provider's idle connections are kept on purpose, and come and go.
        kept = sum(each["connections"] for each in providers)
        return {
            "connections": status["connections"],
            "calls_open": status["calls_open"],
            "buffered_bytes": status["buffered_bytes"],
            "attempts": sum(each["in_flight"] for each in providers),
            "permits": sum(each["in_flight"] for each in status["buckets"]),
            "waiting": sum(each["waiting"] for each in status["buckets"]),
            "tasks": process["tasks"],
            "flights": process["flights"],
            "request_ids": process["request_ids_under_way"],
            "texts": process["texts_under_way"],
            "descriptors": process["descriptors"] - kept,
        }
