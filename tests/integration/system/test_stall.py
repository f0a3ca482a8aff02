"""Real loops that hang, and a real process that is stopped for a while."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

from sutlerd.system.stall import Stall, StallWatcher


def _hang_here(until: threading.Event) -> None:
    until.wait(30)


@pytest.mark.fault("R5")
@pytest.mark.loop("asyncio", "uvloop")
async def test_a_hanging_loop_is_reported_with_the_line_where_it_hangs() -> None:
    reports: queue.Queue[Stall] = queue.Queue()
    noticed = threading.Event()

    def report(stall: Stall) -> None:
        reports.put(stall)
        noticed.set()

    watcher = StallWatcher(report, beat_s=0.02, stall_s=0.2)
    watcher.start(asyncio.get_running_loop())
    _hang_here(noticed)
    stall = reports.get_nowait()
    assert "_hang_here" in stall.stack
    assert stall.silent_s >= 0.2
    assert watcher.count >= 1
    assert watcher.longest_s > 0.1
    watcher.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "stall-watch"]


STOPPED = """
import asyncio, sys
from sutlerd.system.stall import StallWatcher
async def main():
    watcher = StallWatcher(lambda stall: print("stall", stall.silent_s, flush=True))
    watcher.start(asyncio.get_running_loop())
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await asyncio.sleep(0.6)
    print(watcher.count, watcher.longest_s, flush=True)
    watcher.stop()
asyncio.run(main())
"""


@pytest.mark.fault("R5")
def test_a_stopped_process_has_not_stalled() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        time.sleep(1.8)  # longer than a stall: this pause is what is tested
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate("\n")
    count, longest_s = said.split()[-2:]
    assert count == "0", said
    assert float(longest_s) < 1.0
