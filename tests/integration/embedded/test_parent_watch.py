"""A child ends with its parent, by either of two ways alone."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from sutlerd.system.children import Child
from tests.integration.embedded.charges import python

WATCH = "from sutlerd.system.parent_watch import die_with_parent, ignore_terminal; "
#: Standard input of the child stays open: only the kernel can tell it.
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-c", '''{WATCH}
import os, time
ignore_terminal()
die_with_parent(os.getppid(), 0)
print(os.getpid(), flush=True)
time.sleep(600)
''']
)
time.sleep(600)
"""


async def gone(pid: int) -> None:
    """Wait until a process has ended, be it that nobody has fetched its end yet."""
    stat = Path(f"/proc/{pid}/stat")
    while stat.exists():
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        await asyncio.sleep(0.01)


async def test_the_kernel_ends_a_child_whose_input_stays_open() -> None:
    reading, writing = os.pipe()
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdin=reading, stdout=asyncio.subprocess.PIPE
    )
    os.close(reading)
    assert parent.stdout is not None
    try:
        pid = int(await parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
        await parent.wait()
        await gone(pid)
    finally:
        os.close(writing)
        if parent.returncode is None:
            parent.kill()
            await parent.wait()


async def test_the_end_of_its_input_ends_a_child_that_is_busy() -> None:
    script = WATCH + "die_with_parent(os.getppid(), 0); print('ready', flush=True); time.sleep(600)"
    child = await Child.start(python(script))
    assert await child.first_line() == b"ready\n"
    await child.stop(grace_s=30)
    assert child.how_it_ended() == "ended with code 0"


async def test_a_child_whose_parent_was_gone_before_it_could_ask_ends_at_once() -> None:
    script = WATCH + "die_with_parent(os.getppid() + 1, 0); print('ready', flush=True)"
    child = await Child.start(python(script))
    assert await child.first_line() == b""
    await child.stop(grace_s=30)
    assert child.how_it_ended() == "ended with code 0"
