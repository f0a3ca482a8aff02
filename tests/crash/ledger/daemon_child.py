"""The daemon, killed by itself at a named point; run by the tests beside it.

    python daemon_child.py POINT COUNT OPTIONS…

It is ``sutlerd OPTIONS…`` that gets SIGKILL when it comes to the point for the COUNT-th time.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from sutlerd.__main__ import main
from sutlerd.ledger import store
from sutlerd.ledger.entries import Entries
from sutlerd.ledger.ledger import Ledger
from sutlerd.ledger.reservation import Reservation
from sutlerd.pipeline.till import Till


class Countdown:
    def __init__(self, count: int) -> None:
        self.left = count

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def before(owner: type, name: str, step: Callable[[], None]) -> None:
    whole = getattr(owner, name)

    @functools.wraps(whole)
    def stepped(*arguments: Any, **named: Any) -> Any:
        step()
        return whole(*arguments, **named)

    setattr(owner, name, stepped)


def after(owner: type, name: str, step: Callable[[], None]) -> None:
    """After a coroutine's end."""
    whole = getattr(owner, name)

    @functools.wraps(whole)
    async def stepped(*arguments: Any, **named: Any) -> Any:
        result = await whole(*arguments, **named)
        step()
        return result

    setattr(owner, name, stepped)


def after_return(owner: type, name: str, step: Callable[[], None]) -> None:
    whole = getattr(owner, name)

    @functools.wraps(whole)
    def stepped(*arguments: Any, **named: Any) -> Any:
        result = whole(*arguments, **named)
        step()
        return result

    setattr(owner, name, stepped)


def within(owner: type, name: str, step: Callable[[], None]) -> None:
    """Within the transaction of a job, when it has done its part, before the commit."""
    whole = getattr(owner, name)

    @functools.wraps(whole)
    def makes(*arguments: Any, **named: Any) -> Any:
        job = whole(*arguments, **named)

        def stepped(txn: Any) -> Any:
            result = job(txn)
            step()
            return result

        return stepped

    setattr(owner, name, makes)


POINTS: dict[str, tuple[Callable[[type, str, Callable[[], None]], None], type, str]] = {
    "before_reserve_commit": (before, Reservation, "on_disk"),
    "in_reserve_commit": (within, Entries, "begin"),
    "in_group_commit": (before, store._Target, "seal"),
    "before_send": (after, Reservation, "on_disk"),
    "after_reply": (before, Till, "settle"),
    "before_settle_commit": (after_return, Ledger, "end"),
    "in_settle_commit": (within, Entries, "end"),
    "after_settle": (after, Till, "settle"),
    "in_recovery_commit": (within, Entries, "lose"),
    "after_recovery": (after, Ledger, "_charge_what_was_open"),
}

if __name__ == "__main__":
    point, count = sys.argv[1], int(sys.argv[2])
    if point in POINTS:
        wrap, owner, name = POINTS[point]
        wrap(owner, name, Countdown(count).step)
    sys.argv = ["sutlerd", *sys.argv[3:]]
    sys.exit(main())
