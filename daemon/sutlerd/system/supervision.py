"""A child process kept alive from its first use on.

Nothing is started before somebody asks. From then on the child is started again when it ends
or stops answering, with the rests of ``restarts``; callers that come meanwhile wait. After a
row of short lives, or when the child itself says that it cannot work, callers are told why at
once, until the rest is over and the next one that asks starts it anew.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

from sutlerd.domain.ports import Clock, EventLog
from sutlerd.system.children import Child, ChildSpec
from sutlerd.system.restarts import LONGEST_REST_S, Restarts
from sutlerd.system.tasks import Tasks

#: From the start of the process to the child's word that it is ready. Weights of many
#: gigabytes on a network file system take minutes.
START_LIMIT_S = 600.0
#: Between two questions whether a child still answers, and how long each may take.
CHECK_EVERY_S = 10.0
CHECK_LIMIT_S = 10.0
#: Unanswered questions in a row after which a child is ended and started anew.
CHECKS_MISSED = 3

Life = TypeVar("Life")


class State(Enum):
    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    RESTING = "resting"
    FAILED = "failed"
    CLOSED = "closed"


class ChildRefuses(Exception):
    """The child cannot work as it was told to: the same start will fail the same way."""


class ChildUnavailable(Exception):
    """There is no child to use now; ``lasting`` says that asking again will not help."""

    def __init__(self, message: str, *, lasting: bool, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.message = message
        self.lasting = lasting
        self.retry_after_s = retry_after_s


class Charge(Protocol[Life]):
    """What is supervised: how it is started, met, checked and left behind."""

    def spec(self) -> ChildSpec:
        """Give a start's command and settings. Raises ChildRefuses."""

    async def welcome(self, first_line: bytes) -> Life:
        """Read the child's first line and make what callers use. Raises ChildRefuses."""

    async def check(self, life: Life) -> bool:
        """Ask whether it still answers. Bounded from outside; raises nothing."""

    async def farewell(self, life: Life) -> None:
        """Close what ``welcome`` made; the process is gone already."""


class Supervisor(Generic[Life]):
    """Owner of one child, on one event loop."""

    def __init__(
        self,
        charge: Charge[Life],
        *,
        clock: Clock,
        log: EventLog,
        check_every_s: float = CHECK_EVERY_S,
        check_limit_s: float = CHECK_LIMIT_S,
    ) -> None:
        self._charge = charge
        self._clock = clock
        self._log = log
        self._tasks = Tasks(log)
        self._check_every_s = check_every_s
        self._check_limit_s = check_limit_s
        self._restarts = Restarts()
        self._state = State.IDLE
        self._changed = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._life: Life | None = None
        self._child: Child | None = None
        self._served_s = 0.0
        self._why = ""
        self._lasting = False
        self._next_start_s = 0.0
        self.lives = 0

    @property
    def state(self) -> State:
        return self._state

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    @property
    def last_end(self) -> str:
        """Why the last life ended, fit for everybody's eyes; empty before that."""
        return self._why

    async def life(self) -> Life:
        """Give the running child, started or waited for if need be.

        Takes as long as that takes: bound it from outside. Raises ChildUnavailable.
        """
        while self._state is not State.RUNNING:
            if self._state is State.CLOSED:
                raise ChildUnavailable("the daemon is stopping", lasting=False, retry_after_s=None)
            if self._state in (State.IDLE, State.FAILED):
                self._start_or_refuse()
            await self._changed.wait()
        assert self._life is not None
        return self._life

    async def is_over(self, life: Life, *, within_s: float) -> bool:
        """Say whether this life has ended, waiting for that at most ``within_s`` seconds."""
        try:
            async with asyncio.timeout(within_s):
                while self._life is life:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End the child and start none any more."""
        self._become(State.CLOSED)
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})

    def _start_or_refuse(self) -> None:
        rest_s = self._next_start_s - self._clock.monotonic_s()
        if self._state is State.FAILED and rest_s > 0:
            raise ChildUnavailable(self._why, lasting=self._lasting, retry_after_s=rest_s)
        self._become(State.STARTING)
        self._keeping = self._tasks.start(self._keep(), "supervision")

    async def _keep(self) -> None:
        """Live life after life until one is not worth waiting for."""
        try:
            while await self._live_and_rest():
                pass
        finally:  # a fault of our own must not leave callers waiting either
            self._become(State.FAILED)

    async def _live_and_rest(self) -> bool:
        """Live one life; True: it is over, rested from, and callers may wait for another."""
        self._become(State.STARTING)
        self._served_s = 0.0
        self._next_start_s = self._clock.monotonic_s() + LONGEST_REST_S
        try:
            self._why, self._lasting = await self._live(), False
        except ChildRefuses as refusal:
            self._why, self._lasting = str(refusal), True
        now_s = self._clock.monotonic_s()
        rest_s = self._restarts.ended(lived_s=self._served_s)
        self._next_start_s = now_s + rest_s
        if self._lasting or not self._restarts.patient:
            self._log.event("error", "child_failed", why=self._why, retry_after_s=rest_s)
            return False
        self._log.event("warning", "child_ended", why=self._why, restart_in_s=rest_s)
        self._become(State.RESTING)
        await asyncio.sleep(rest_s)
        return True

    async def _live(self) -> str:
        """Start the child and stay until its end; give the reason for it."""
        try:
            child = self._child = await Child.start(self._charge.spec())
        except OSError as error:
            return f"the process cannot be started: {error.strerror}"
        try:
            async with asyncio.timeout(START_LIMIT_S):
                first_line = await child.first_line()
            if first_line:
                return await self._serve(child, first_line)
            await child.stop()
            return _last_words(f"the process {child.how_it_ended()} while starting", child)
        except TimeoutError:
            return f"the process was not ready after {START_LIMIT_S:.0f} s"
        finally:
            await child.stop()
            self._child = None

    async def _serve(self, child: Child, first_line: bytes) -> str:
        """Hand the child to callers until it ends; give the reason for that."""
        try:
            life = await self._charge.welcome(first_line)
        except ChildRefuses as refusal:
            await child.stop()
            raise ChildRefuses(_last_words(str(refusal), child)) from None
        child.serves_now()
        ready_s = self._clock.monotonic_s()
        try:
            self._life = life
            self.lives += 1
            self._log.event("info", "child_ready", pid=child.pid, life=self.lives)
            self._become(State.RUNNING)
            answers = await self._watch(child, life)
            return f"the process {child.how_it_ended() if answers else 'stopped answering'}"
        finally:
            self._served_s = self._clock.monotonic_s() - ready_s
            self._life = None
            self._become(State.RESTING)
            await child.stop()
            await self._charge.farewell(life)
            for line in child.tail():
                self._log.event("warning", "child_said", pid=child.pid, line=line)

    async def _watch(self, child: Child, life: Life) -> bool:
        """Stay until the child has ended, or (False) runs but has stopped answering."""
        missed = 0
        while missed < CHECKS_MISSED:
            await asyncio.wait({child.ended}, timeout=self._check_every_s)
            if child.ended.done():
                return True
            asked = asyncio.ensure_future(self._charge.check(life))
            awaited: set[asyncio.Future[Any]] = {asked, child.ended}
            try:
                await asyncio.wait(
                    awaited,
                    timeout=self._check_limit_s,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                missed = 0 if asked.done() and asked.result() else missed + 1
            finally:
                asked.cancel()
        return child.ended.done()

    def _become(self, state: State) -> None:
        if self._state is State.CLOSED:
            return
        self._state = state
        self._changed.set()
        self._changed = asyncio.Event()


def _last_words(message: str, child: Child) -> str:
    """Add what the child said last. Only of a start: later it may be about users' words."""
    tail = child.tail()
    # The cause comes first, what it made impossible last.
    words = dict.fromkeys((*tail[:1], *tail[-1:]))
    return f"{message}; it said: {' | '.join(words)}" if words else message
