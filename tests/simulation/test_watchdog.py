"""The service manager's watchdog while the machine sleeps."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from pathlib import Path

import pytest

from sutlerd.system.notify import Notifier, feed_watchdog, watchdog_interval_s
from tests.support.virtual_loop import VirtualLoop, run_virtually

ALLOWED_S = 30


@pytest.mark.fault("T5")
def test_the_watchdog_is_fed_in_time_and_no_oftener_though_the_machine_slept_for_an_hour(
    tmp_path: Path,
) -> None:
    loop = VirtualLoop()
    fed_s: list[float] = []

    async def scenario(manager: socket.socket) -> None:
        environ = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": str(ALLOWED_S * 1_000_000),
        }
        every_s = watchdog_interval_s(environ, pid=1)
        assert every_s is not None
        feeding = asyncio.ensure_future(feed_watchdog(Notifier(environ), every_s))
        await asyncio.sleep(0.5)  # to look between the seconds
        for second in range(240):
            if second == 100:
                loop.slept_s += 3600.0  # as the boot-time and the wall clock saw it
            with contextlib.suppress(BlockingIOError):
                while manager.recv(100) == b"WATCHDOG=1":
                    fed_s.append(loop.monotonic_s())
            await asyncio.sleep(1)
        feeding.cancel()

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)
        manager.bind(str(tmp_path / "notify"))
        run_virtually(loop, scenario(manager))
    gaps_s = [after - before for before, after in itertools.pairwise(fed_s)]
    assert len(fed_s) >= 240 // (ALLOWED_S / 2)
    assert set(gaps_s) == {ALLOWED_S / 2}
