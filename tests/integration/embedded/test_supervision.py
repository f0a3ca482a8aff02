"""A supervised child, as a real process: first use, death, crash loop, silence, the end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sutlerd.system.clock import SystemClock
from sutlerd.system.restarts import PATIENT_LIVES
from sutlerd.system.supervision import (
    ChildRefuses,
    ChildUnavailable,
    State,
    Supervisor,
)
from tests.integration.embedded.charges import WELL, Notices, Scripted
from tests.support.virtual_clock import VirtualClock

DIES = "sys.exit('no memory left for it')"


@asynccontextmanager
async def supervised(
    charge: Scripted, notices: Notices | None = None, clock: VirtualClock | None = None
) -> AsyncIterator[Supervisor[str]]:
    supervisor = Supervisor(
        charge,
        clock=clock or SystemClock(),
        log=notices or Notices(),
        check_every_s=0.05,
        check_limit_s=5,
    )
    try:
        yield supervisor
    finally:
        await supervisor.close()


async def test_nothing_is_started_before_somebody_asks_and_then_once_for_all() -> None:
    charge = Scripted(WELL)
    async with supervised(charge) as supervisor:
        await asyncio.sleep(0)
        assert (charge.started, supervisor.state) == (0, State.IDLE)
        lives = await asyncio.gather(*(supervisor.life() for _ in range(20)))
        assert set(lives) == {"life 1: ready"}
        assert charge.started == 1


async def test_a_killed_child_is_started_again_and_callers_wait_for_it() -> None:
    charge, notices = Scripted(WELL), Notices()
    async with supervised(charge, notices) as supervisor:
        first = await supervisor.life()
        assert supervisor.pid is not None
        os.kill(supervisor.pid, signal.SIGKILL)
        assert await supervisor.is_over(first, within_s=30)
        assert charge.left in ([], [first])
        assert await supervisor.life() == "life 2: ready"
        assert charge.left == [first]
        assert supervisor.last_end == "the process was killed by SIGKILL"
    assert notices.names() == ["child_ready", "child_ended", "child_ready"]


async def test_callers_wait_through_a_start_that_fails() -> None:
    charge = Scripted(DIES, WELL)
    async with supervised(charge) as supervisor:
        assert await supervisor.life() == "life 2: ready"


async def test_a_crash_loop_tells_its_last_words_and_is_not_tried_again_before_its_rest() -> None:
    charge, clock = Scripted(DIES), VirtualClock()
    async with supervised(charge, clock=clock) as supervisor:
        with pytest.raises(ChildUnavailable) as raised:
            await supervisor.life()
        assert charge.started == PATIENT_LIVES
        assert "ended with code 1 while starting" in raised.value.message
        assert "no memory left for it" in raised.value.message
        assert not raised.value.lasting
        rest_s = raised.value.retry_after_s
        assert rest_s is not None

        clock.advance(rest_s * 0.9)
        with pytest.raises(ChildUnavailable) as raised:
            await supervisor.life()
        assert charge.started == PATIENT_LIVES
        assert raised.value.retry_after_s == pytest.approx(rest_s * 0.1)

        clock.advance(rest_s)
        charge.scripts = (WELL,)
        assert await supervisor.life() == f"life {PATIENT_LIVES + 1}: ready"


async def test_after_the_rest_a_crash_loop_gets_one_start_for_each_that_asks() -> None:
    charge, clock = Scripted(DIES), VirtualClock()
    async with supervised(charge, clock=clock) as supervisor:
        for started in (PATIENT_LIVES, PATIENT_LIVES + 1, PATIENT_LIVES + 2):
            results = await asyncio.gather(
                *(supervisor.life() for _ in range(5)), return_exceptions=True
            )
            assert all(isinstance(result, ChildUnavailable) for result in results)
            assert charge.started == started
            clock.advance(3600)


async def test_a_child_that_refuses_is_not_tried_again_and_again() -> None:
    class Refusing(Scripted):
        async def welcome(self, first_line: bytes) -> str:
            raise ChildRefuses("it says that this is no model")

    charge, notices = Refusing(WELL), Notices()
    async with supervised(charge, notices) as supervisor:
        with pytest.raises(ChildUnavailable, match="this is no model") as raised:
            await supervisor.life()
        assert raised.value.lasting
        assert charge.started == 1
        assert notices.names() == ["child_failed"]


async def test_a_child_that_cannot_be_started_at_all_says_why() -> None:
    class Missing(Scripted):
        def spec(self):  # type: ignore[no-untyped-def]
            spec = super().spec()
            return type(spec)(
                argv=("/no/such/python",),
                environment=spec.environment,
                settings=spec.settings,
                may_keep=spec.may_keep,
            )

    async with supervised(Missing(WELL)) as supervisor:
        with pytest.raises(ChildUnavailable, match="cannot be started: No such file"):
            await supervisor.life()


async def test_a_child_that_stopped_answering_is_ended_and_started_again() -> None:
    charge = Scripted(WELL)
    async with supervised(charge) as supervisor:
        first = await supervisor.life()
        pid = supervisor.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        charge.answers = False
        assert await supervisor.is_over(first, within_s=30)
        charge.answers = True
        assert await supervisor.life() == "life 2: ready"
        assert supervisor.last_end == "the process stopped answering"
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_closing_ends_the_child_and_whoever_waits() -> None:
    charge = Scripted("time.sleep(600)")
    async with supervised(charge) as supervisor:
        waiting = [asyncio.ensure_future(supervisor.life()) for _ in range(3)]
        while (pid := supervisor.pid) is None:  # noqa: ASYNC110  a start has no event
            await asyncio.sleep(0.01)
        await supervisor.close()
        for waiter in waiting:
            with pytest.raises(ChildUnavailable, match="stopping"):
                await waiter
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(ChildUnavailable, match="stopping"):
            await supervisor.life()


async def test_a_caller_that_leaves_takes_neither_the_child_nor_the_others_along() -> None:
    charge = Scripted("time.sleep(0.2); " + WELL)
    async with supervised(charge) as supervisor:
        leaves = asyncio.ensure_future(supervisor.life())
        stays = asyncio.ensure_future(supervisor.life())
        await asyncio.sleep(0.01)
        leaves.cancel()
        assert await stays == "life 1: ready"
        assert leaves.cancelled()
