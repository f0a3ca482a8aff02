"""Many calls at once on the one connection, in the asyncio client; answers in order."""

import asyncio
from collections import deque

from sutler.aio_ask import AsyncAsk
from sutler.mapping import HELD_FACTOR, call_for, check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, AsyncIterator, Deque, Dict, Optional

    from sutler.aio_ask import AsyncHome


class AsyncMapping:
    """The loop. ``window`` holds what is not yet handed out, in the order of the prompts."""

    def __init__(
        self, home: "AsyncHome", prompts: "Any", max_in_flight: int, options: "Dict[str, Any]"
    ) -> None:
        check(max_in_flight, options, home.defaults)
        self._home = home
        self._prompts = _each(prompts)
        self._max_in_flight = max_in_flight
        self._options = options
        self._window: "Deque[asyncio.Task[Any]]" = deque()
        self._under_way = 0
        self._exhausted = False
        self._bell: "Optional[asyncio.Future[None]]" = None

    async def answers(self, return_errors: bool) -> "AsyncIterator[Any]":
        try:
            await self._fill()
            while self._window:
                if not self._window[0].done():
                    await self._settled()
                elif self._window[0].exception() is not None and not return_errors:
                    raise self._window[0].exception() or AssertionError
                else:
                    task = self._window.popleft()
                    yield task.exception() or task.result()
                await self._fill()
        finally:
            for task in self._window:
                task.cancel()
            # Each cancels its call in the daemon before the connection is used again.
            await asyncio.gather(*self._window, return_exceptions=True)

    async def _fill(self) -> None:
        most = HELD_FACTOR * self._max_in_flight
        while self._under_way < self._max_in_flight and len(self._window) < most:
            if self._exhausted:
                return
            try:
                asked = await self._prompts.__anext__()
            except StopAsyncIteration:
                self._exhausted = True
                return
            call = call_for(asked, dict(self._options), self._home.defaults)
            ask = AsyncAsk(self._home, call)
            ask.patient = True
            task = self._home.loop.create_task(ask.answer())
            task.add_done_callback(self._count)
            self._under_way += 1
            self._window.append(task)

    def _count(self, task: "asyncio.Task[Any]") -> None:
        self._under_way -= 1
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    async def _settled(self) -> None:
        """Return when any of the calls has ended."""
        self._bell = self._home.loop.create_future()
        try:
            await self._bell
        finally:
            self._bell = None


async def _each(prompts: "Any") -> "AsyncIterator[Any]":
    if hasattr(prompts, "__aiter__"):
        async for prompt in prompts:
            yield prompt
    else:
        for prompt in prompts:
            yield prompt
