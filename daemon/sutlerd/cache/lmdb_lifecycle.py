"""The LMDB store's states: opening, open, resting after a failure, closed.

On the event loop; what blocks is called on the writer's thread. A reader's transaction is
begun and ended within one call on the loop, so taking ``begin`` away there is enough to
know that nobody reads while the environment is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from sutlerd.cache.lmdb_place import DAMAGE, Opened, Opener
from sutlerd.cache.lmdb_target import LmdbTarget
from sutlerd.cache.outage import Outage
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.system.tasks import Tasks
from sutlerd.system.write_target import STORAGE_ERRORS, WriterLimits, WriterStopped
from sutlerd.system.writer import Writer

#: How long a start waits for a file that has to be checked, before it goes on without.
CHECK_WAIT_S = 1.0

_STOP_LIMIT_S = 5.0
_COMMIT_JOBS = 128


class State(Enum):
    CLOSED = "closed"
    #: Being checked and opened: nothing can be read, what is put waits in the queue.
    OPENING = "opening"
    OPEN = "open"
    #: Left alone after a failure: nothing is put; what can still be read is.
    RESTING = "resting"


class NotOpen(OSError):
    """Nothing can be read now."""


def no_reading(database: Any) -> Any:
    """Stand in for a closed environment's ``begin``."""
    raise NotOpen


def writer_limits(map_bytes: int) -> WriterLimits:
    """Give limits that fit a map.

    A commit copies every page it changes and has to do without those that the last commits
    freed, so in a small map a commit must be small.
    """
    pages = map_bytes // 4096
    return WriterLimits(
        queue_jobs=4096,
        queue_bytes=min(64 << 20, map_bytes),
        commit_jobs=max(1, min(_COMMIT_JOBS, pages // 256)),
        commit_bytes=map_bytes // 32,
        linger_s=0.01,
    )


class Lifecycle:
    """Opens, closes, rests and opens again; ``begin(entries)`` is a reader's transaction."""

    def __init__(
        self,
        folder: Path,
        map_bytes: int,
        *,
        clock: Clock,
        log: EventLog,
        opener: Opener,
        hit_tick: Callable[[bytes], int | None],
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._log = log
        self._outage = Outage(first_pause_s=5.0, longest_pause_s=60.0)
        self._discard: str | None = None
        self._evicted_before = 0
        self.tasks = Tasks(log)
        self.target = LmdbTarget(
            folder,
            map_bytes,
            opener=opener,
            hit_tick=hit_tick,
            on_trouble=self._trouble_in_writer,
        )
        limits = writer_limits(map_bytes)
        self.step = limits.commit_jobs
        self.writer = Writer(self.target, name="cache-writer", limits=limits)
        self.state = State.CLOSED
        self.opened: Opened | None = None
        self.begin: Callable[..., Any] = no_reading
        self.entries: Any = None
        self.errors = 0

    async def start(self) -> asyncio.Task[None]:
        """Start opening, and wait for it a while; gives the task that does it."""
        self._loop = asyncio.get_running_loop()
        self.wake = asyncio.Event()
        await self.writer.__aenter__()
        self.state = State.OPENING
        opening = self.tasks.start(self._open(), "cache-open")
        _, unfinished = await asyncio.wait({opening}, timeout=CHECK_WAIT_S)
        if unfinished:
            self._log.event("info", "cache_check_goes_on", folder=str(self._folder))
        return opening

    async def stop(self) -> None:
        """Write what is queued and close; a writer that hangs is left behind."""
        is_sound = self.state is State.OPEN
        self.state = State.CLOSED
        self.begin = no_reading
        with suppress(WriterStopped):
            closing = self.writer.call(partial(self.target.close, leave_sound=is_sound))
            closing.add_done_callback(_look_at)
        if await self.writer.stop(_STOP_LIMIT_S) and self.writer.failure is not None:
            self.target.close(leave_sound=False)

    async def tend(self) -> None:
        """Open again what has rested long enough; notice a place that is gone."""
        if self.state is State.RESTING and self._outage.may_try(self._clock.monotonic_s()):
            await self._open()
        elif self.state is State.OPEN:
            await self.check_place()

    async def check_place(self) -> bool:
        """Say whether the open files are still those at the path; if not, open anew."""
        try:
            if await self.writer.call(self.target.is_in_place):
                return True
        except WriterStopped as stopped:
            self.met(stopped, reading=False)
            return False
        if self.state is State.OPEN:
            self._log.event("warning", "cache_place_replaced", folder=str(self._folder))
            await self._open()
        return False

    def met(self, error: Exception, *, reading: bool, discard: str | None = None) -> None:
        """Take a failure: leave the store alone for a while, or have it made anew."""
        self.errors += 1
        if self.state is not State.OPEN:
            return
        if isinstance(error, DAMAGE):
            discard = str(error)
        if reading or discard is not None:
            self.begin = no_reading
        self._discard = discard
        is_first = not self._outage.is_on
        self._rest(error, say=discard is None)
        if discard is not None and is_first:
            self._outage.may_try_now()
            self.wake.set()

    def worked(self) -> None:
        """Note a commit."""
        if self.state is State.OPEN and self._outage.worked():
            self._log.event("info", "cache_works_again", folder=str(self._folder))

    def evicted(self) -> int:
        """How many entries were evicted since the start."""
        now = self.opened.index.evicted if self.opened is not None else 0
        return self._evicted_before + now

    async def _open(self) -> None:
        self.state = State.OPENING
        self.begin = no_reading
        self._evicted_before, self.opened = self.evicted(), None
        discard, self._discard = self._discard, None
        try:
            opened = await self.writer.call(partial(self.target.open, discard))
        except (*STORAGE_ERRORS, WriterStopped) as error:
            self.errors += 1
            self._discard = discard
            self._rest(error, say=True)
            return
        self.opened = opened
        self.entries = opened.index.entries
        self.begin = opened.env.begin
        self.state = State.OPEN
        if opened.made_anew is not None:
            self.errors += 1
            self._log.event(
                "warning", "cache_made_anew", folder=str(self._folder), reason=opened.made_anew
            )

    def _rest(self, error: Exception, *, say: bool) -> None:
        self.state = State.RESTING
        if self._outage.failed(self._clock.monotonic_s()) and say:
            self._log.event(
                "warning",
                "cache_out_of_order",
                folder=str(self._folder),
                reason=str(error),
                retry_after_s=self._outage.pause_s,
            )

    def _trouble_in_writer(self, error: Exception, discard: str | None) -> None:
        with suppress(RuntimeError):  # the loop may have been closed by now
            self._loop.call_soon_threadsafe(
                partial(self.met, error, reading=False, discard=discard)
            )


def _look_at(closing: asyncio.Future[None]) -> None:
    """Take note of a failure to close, which nobody can do anything about any more."""
    if not closing.cancelled():
        closing.exception()
