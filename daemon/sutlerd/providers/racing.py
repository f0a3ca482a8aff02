"""The first of several ways to connect that works (RFC 8305), and none of the others left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

_Protocol = TypeVar("_Protocol", bound=asyncio.Protocol)
_Connected = tuple[asyncio.Transport, _Protocol]


async def first_of(
    attempts: Sequence[Callable[[], Awaitable[tuple[Any, _Protocol]]]], next_s: float
) -> tuple[asyncio.Transport, _Protocol]:
    """Give the first connection made. The next attempt begins when all before it failed, or
    after ``next_s`` seconds beside them.

    Raises the first attempt's ``OSError`` if all fail, at once whatever else one raises.
    Connections that come too late are closed.
    """
    if len(attempts) == 1:
        return await attempts[0]()
    waiting = list(attempts)
    running: set[asyncio.Future[_Connected[_Protocol]]] = set()
    failures: list[OSError] = []
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(waiting.pop(0)()))
            done, _ = await asyncio.wait(
                running,
                timeout=next_s if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for attempt in done:
                running.discard(attempt)
                try:
                    return attempt.result()
                except OSError as error:
                    failures.append(error)
    finally:
        for late in running:
            late.add_done_callback(_close)
            late.cancel()
    raise failures[0] if failures else OSError("the host has no address")


def _close(late: asyncio.Future[_Connected[_Protocol]]) -> None:
    if not late.cancelled() and late.exception() is None:
        late.result()[0].abort()
