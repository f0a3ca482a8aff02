"""Daemons that are killed by themselves at a named point; run by the tests beside it.

Each line on stdin is a JSON object that asks for one daemon, ``sutlerd OPTIONS…``, that gets
SIGKILL when it comes to ``point`` for the ``count``-th time. It is forked from here, where all
that it needs is imported already: so thousands of them take minutes and not hours. Its pid is
told on stdout, and its return code when it has ended.
"""

from __future__ import annotations

import functools
import importlib
import json
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

#: What a daemon of these tests imports sooner or later.
USED = (
    *("sutlerd.app", "sutlerd.assembly", "sutlerd.config.loader", "sutlerd.ledger.price_list"),
    *("aiohttp", "genai_prices", "openai", "uvloop"),
)


def serve() -> None:
    """Fork a daemon for each line, and return in the daemon."""
    for name in USED:
        importlib.import_module(name)
    pid = 0
    for line in sys.stdin.buffer:
        if pid:
            os.waitpid(pid, 0)
        pid = os.fork()
        if not pid:
            _become(json.loads(line))
            return
        _tell(pid=pid)
        # Left as it lies until the next one: who has the pid may send it a signal still.
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        by_itself = ended.si_code == os.CLD_EXITED
        _tell(returncode=ended.si_status if by_itself else -ended.si_status)
    os._exit(0)


def _become(asked: dict[str, Any]) -> None:
    sink = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, standard in ((nothing, 0), (sink, 1), (sink, 2)):
        os.dup2(ours, standard)
    os.closerange(3, max(sink, nothing) + 1)
    os.chdir(asked["folder"])
    if asked["point"] in POINTS:
        wrap, owner, name = POINTS[asked["point"]]
        wrap(owner, name, Countdown(asked["count"]).step)
    sys.argv = ["sutlerd", *asked["options"]]


def _tell(**said: int) -> None:
    sys.stdout.buffer.write(json.dumps(said).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve()
    sys.exit(main())
