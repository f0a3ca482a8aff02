"""The collector is put off while the daemon starts, and never forgotten afterwards."""

from __future__ import annotations

import subprocess
import sys

_STARTS = """
import gc
from sutlerd.system import garbage
garbage.put_off()
assert not gc.isenabled()
garbage.settle()
assert gc.isenabled() and gc.get_freeze_count() > 0

class Cyclic:
    freed = 0
    def __init__(self): self.me = self
    def __del__(self): Cyclic.freed += 1

for _ in range(100_000): Cyclic()
print(Cyclic.freed)
"""


def test_cycles_are_still_freed_once_the_daemon_serves() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _STARTS], capture_output=True, text=True, timeout=30, check=True
    )
    assert int(done.stdout) > 50_000
