from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sutlerd.providers.racing import first_of

NEVER_S = 3600.0


class Connected(asyncio.Transport):
    """A connection that knows whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def succeeds(connection: Connected, after: asyncio.Event | None = None) -> Any:
    async def attempt() -> tuple[Connected, asyncio.Protocol]:
        if after is not None:
            try:
                await after.wait()
            except asyncio.CancelledError:
                pass  # as a loop that had connected already when it was told to stop
        return connection, asyncio.Protocol()

    return attempt


def fails(error: Exception) -> Callable[[], Awaitable[Any]]:
    async def attempt() -> Any:
        raise error

    return attempt


async def test_the_next_begins_at_once_where_one_failed() -> None:
    connection = Connected()
    attempts = [fails(OSError("first")), fails(OSError("second")), succeeds(connection)]
    transport, _ = await first_of(attempts, NEVER_S)
    assert transport is connection


async def test_the_first_failure_is_told_when_all_fail() -> None:
    with pytest.raises(OSError, match="first"):
        await first_of([fails(OSError("first")), fails(OSError("second"))], NEVER_S)
    with pytest.raises(OSError, match="no address"):
        await first_of([], NEVER_S)


@pytest.mark.fault("P25")
async def test_a_silent_address_is_passed_by_and_what_it_still_gives_is_closed() -> None:
    late, early = Connected(), Connected()
    transport, _ = await first_of([succeeds(late, asyncio.Event()), succeeds(early)], 0.001)
    assert transport is early
    for _ in range(3):
        await asyncio.sleep(0)
    assert (late.aborted, early.aborted) == (True, False)


async def test_two_that_succeed_at_once_leave_one_open() -> None:
    both = asyncio.Event()
    one, other = Connected(), Connected()
    racing = asyncio.create_task(first_of([succeeds(one, both), succeeds(other, both)], 0.0))
    for _ in range(5):
        await asyncio.sleep(0.001)
    both.set()
    transport, _ = await racing
    for _ in range(3):
        await asyncio.sleep(0)
    assert [c.aborted for c in (one, other)] == [c is not transport for c in (one, other)]
