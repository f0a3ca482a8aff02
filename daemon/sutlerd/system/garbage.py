"""When the collector of cycles looks: not while the daemon starts, and seldom afterwards.

What is imported and built at the start stays until the end: walking it during the imports
costs a tenth of the start, and again and again later a pause in the middle of somebody's
call. Calls make few cycles, so that the collector may wait for more of them.
"""

from __future__ import annotations

import gc

#: Objects made and not freed before the young are looked at (Python's own: 700), and how many
#: such looks lie between two at the older.
_THRESHOLDS = (10_000, 20, 20)


def put_off() -> None:
    """Collect nothing until ``settle``."""
    gc.disable()


def settle() -> None:
    """Leave out what exists by now from every later look, and begin to look."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()
