"""Work that cannot be stopped, in a thread that the daemon's end does not wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def run_aside(work: Callable[[], T], *, name: str) -> T:
    """Give what ``work`` gives, or raise what it raises. Cancelled, it goes on by itself.

    ``asyncio.to_thread`` has a loop wait for its threads at the end, however long they take:
    that is right for what writes, and wrong for a package that is being imported.
    """
    promised: Future[T] = Future()
    threading.Thread(target=_run, args=(work, promised), name=name, daemon=True).start()
    return await asyncio.wrap_future(promised)


def _run(work: Callable[[], T], promised: Future[T]) -> None:
    if not promised.set_running_or_notify_cancel():
        return
    try:
        found = work()
    except BaseException as error:  # noqa: BLE001 -- whatever it is, it is for who waits
        promised.set_exception(error)
    else:
        promised.set_result(found)
