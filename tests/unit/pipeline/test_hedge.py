from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from sutlerd.pipeline.hedge import Beaten, Race
from tests.support.virtual_loop import VirtualLoop, run_virtually


class Told(Exception):
    pass


class Runner:
    """Attempts of one race that take their time."""

    def __init__(self) -> None:
        self.race: Race[str] = Race()
        self.began: list[str] = []
        self.cut: list[str] = []

    async def attempt(
        self,
        name: str,
        *,
        waits_s: float = 0.0,
        hears_s: float | None = None,
        takes_s: float,
        fails: bool = False,
    ) -> str:
        self.began.append(name)
        try:
            await asyncio.sleep(waits_s)
            self.race.sent.set()
            if hears_s is not None:
                await asyncio.sleep(hears_s)
                self.race.heard()
            await asyncio.sleep(takes_s)
        except (asyncio.CancelledError, Beaten):
            self.cut.append(name)
            raise
        if fails:
            raise Told(name)
        return name

    async def run(
        self, first: Coroutine[None, None, str], second: Coroutine[None, None, str] | None
    ) -> str:
        try:
            return await self.race.run(first, late_s=1.0, second=lambda: second)
        finally:
            if second is not None:
                second.close()


def race(first: dict[str, object], second: dict[str, object] | None) -> tuple[str, Runner, float]:
    loop, runner = VirtualLoop(), Runner()

    async def live() -> str:
        other = None if second is None else runner.attempt("second", **second)  # type: ignore[arg-type]  # a table
        return await runner.run(runner.attempt("first", **first), other)  # type: ignore[arg-type]  # a table

    try:
        arrived = run_virtually(loop, live())
    except Told as error:
        arrived = f"failed {error}"
    return arrived, runner, loop.time()


def test_an_answer_in_time_is_alone() -> None:
    arrived, runner, ended_s = race({"takes_s": 0.9}, {"takes_s": 0.1})
    assert (arrived, runner.began, ended_s) == ("first", ["first"], 0.9)


def test_a_late_first_is_beaten_and_cut() -> None:
    arrived, runner, ended_s = race({"takes_s": 50.0}, {"takes_s": 0.5})
    assert (arrived, runner.cut, ended_s) == ("second", ["first"], 1.5)


def test_a_late_first_may_still_win() -> None:
    arrived, runner, ended_s = race({"takes_s": 2.0}, {"takes_s": 5.0})
    assert (arrived, runner.cut, ended_s) == ("first", ["second"], 2.0)


def test_waiting_for_ones_turn_is_not_being_late() -> None:
    arrived, runner, _ = race({"waits_s": 100.0, "takes_s": 0.5}, {"takes_s": 0.1})
    assert (arrived, runner.began) == ("first", ["first"])


def test_none_is_begun_after_something_was_heard() -> None:
    arrived, runner, _ = race({"hears_s": 0.5, "takes_s": 50.0}, {"takes_s": 0.1})
    assert (arrived, runner.began) == ("first", ["first"])


def test_who_is_heard_first_silences_the_other() -> None:
    arrived, runner, ended_s = race(
        {"hears_s": 1.2, "takes_s": 9.0}, {"hears_s": 0.2, "takes_s": 0.1}
    )
    assert len(runner.cut) == 1
    assert runner.cut != [arrived]
    assert ended_s < 11


def test_one_failure_waits_for_the_other_and_two_tell_the_last() -> None:
    assert race({"takes_s": 2.0, "fails": True}, {"takes_s": 5.0})[0] == "second"
    assert race({"takes_s": 5.0}, {"takes_s": 0.5, "fails": True})[0] == "first"
    failing = {"takes_s": 5.0, "fails": True}
    assert race(failing, {"takes_s": 0.5, "fails": True})[0] == "failed first"
    assert race({"takes_s": 0.5, "fails": True}, None)[0] == "failed first"
    assert race(failing, None)[0] == "failed first"


def test_whoever_cancels_the_race_cuts_both() -> None:
    loop, runner = VirtualLoop(), Runner()

    async def live() -> None:
        racing = asyncio.ensure_future(
            runner.run(
                runner.attempt("first", takes_s=50.0), runner.attempt("second", takes_s=50.0)
            )
        )
        await asyncio.sleep(5.0)
        racing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await racing
        assert sorted(runner.cut) == ["first", "second"]

    run_virtually(loop, live())
