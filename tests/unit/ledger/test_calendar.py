"""Budget days turn once, when they should, whatever is done to the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.ledger.calendar import STANDS_S, BudgetClock, Period, span_at
from tests.support.virtual_clock import VirtualClock

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/Havana",  # sets its clocks back into midnight
    "Asia/Beirut",  # leaves midnight out
    "America/Sao_Paulo",  # did both, at midnight
    "Pacific/Apia",  # left out a whole day
    "Australia/Lord_Howe",
    "America/Goose_Bay",  # changed at 00:01, so that a date came twice
)


def at(text: str, zone: tzinfo = UTC) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Europe/Berlin", "2026-11-23", 24),
        ("America/Havana", "2026-11-01", 25),
        ("Asia/Beirut", "2026-03-29", 23),
        ("America/Sao_Paulo", "2018-11-04", 23),
        ("America/Sao_Paulo", "2018-02-17", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
    ],
)
def test_a_day_has_the_hours_that_its_zone_gives_it(zone: str, day: str, hours: float) -> None:
    local = ZoneInfo(zone)
    span = span_at(Period.DAY, local, at(f"{day}T12:00", local))
    assert span.key == day
    assert span.ends_unix_s == span.begins_unix_s + hours * HOUR_S
    assert span_at(Period.DAY, local, span.begins_unix_s) == span
    assert span_at(Period.DAY, local, span.ends_unix_s - 0.001) == span
    assert span_at(Period.DAY, local, span.ends_unix_s).key > day


@given(
    zone=st.sampled_from(ZONES),
    period=st.sampled_from([Period.DAY, Period.MONTH]),
    unix_s=st.floats(at("1995-01-01"), at("2037-01-01")),
)
def test_every_instant_is_in_one_span_and_spans_meet(
    zone: str, period: Period, unix_s: float
) -> None:
    local = ZoneInfo(zone)
    span = span_at(period, local, unix_s)
    assert span.ends_unix_s is not None
    assert span.begins_unix_s <= unix_s < span.ends_unix_s
    following = span_at(period, local, span.ends_unix_s)
    assert following.begins_unix_s == span.ends_unix_s
    assert following.key > span.key
    assert span_at(period, local, span.begins_unix_s - 0.001).key < span.key


def test_a_date_that_comes_twice_is_one_day() -> None:
    local = ZoneInfo("America/Goose_Bay")
    # 2010-11-07 00:01 became 2010-11-06 23:01: the 6th came again.
    keys = [
        span_at(Period.DAY, local, at("2010-11-07T02:00") + minutes * 60.0).key
        for minutes in range(180)
    ]
    assert keys == sorted(keys)
    assert set(keys) == {"2010-11-06", "2010-11-07"}


def test_an_instant_after_a_change_over_midnight_is_in_one_day() -> None:
    local = ZoneInfo("America/Toronto")
    # 1919-03-30 23:30 became 1919-03-31 00:30.
    changed = at("1919-03-30T23:29", local) + 60
    span = span_at(Period.DAY, local, changed + 60)
    assert span.begins_unix_s <= changed + 60
    assert span_at(Period.DAY, local, changed + HOUR_S).key == "1919-03-31"


def test_a_month_and_all_time() -> None:
    december = span_at(Period.MONTH, ZoneInfo("Europe/Berlin"), at("2026-12-31T22:59"))
    assert december.key == "2026-12"
    assert december.ends_unix_s == at("2026-12-31T23:00")
    assert span_at(Period.TOTAL, UTC, 0.0).ends_unix_s is None


class Clocked:
    """A budget clock beside a machine's clocks, looked at once a minute."""

    def __init__(self, now: str) -> None:
        self.machine = VirtualClock(unix_s=at(now))
        self.budget = BudgetClock(latest_unix_s=0.0)
        self.look()

    def look(self) -> float:
        return self.budget.look(unix_s=self.machine.unix_s(), boottime_s=self.machine.boottime_s())

    def day(self) -> str:
        return span_at(Period.DAY, UTC, self.look()).key

    def days_through(self, seconds: float) -> list[str]:
        """Give each day once that is seen while time passes."""
        days = [self.day()]
        for _ in range(int(seconds // 60)):
            self.machine.advance(60)
            days.append(self.day())
        return list(dict.fromkeys(days))


@pytest.mark.parametrize("by_s", [HOUR_S, DAY_S, 365 * DAY_S])
def test_a_slip_forward_opens_no_fresh_budget(by_s: float) -> None:
    clocks = Clocked("2026-11-23T23:30")
    clocks.machine.jump_unix(by_s)
    assert clocks.days_through(60) == ["2026-11-23"]
    assert clocks.budget.suspects_jump_s == pytest.approx(by_s)
    clocks.machine.jump_unix(-by_s)
    assert clocks.days_through(20 * 60) == ["2026-11-23"]
    assert clocks.budget.suspects_jump_s is None
    assert clocks.days_through(20 * 60) == ["2026-11-23", "2026-11-24"]


def test_a_clock_that_was_set_forward_for_good_is_believed_after_it_has_stood() -> None:
    clocks = Clocked("2026-11-23T12:00")
    clocks.machine.jump_unix(DAY_S)
    assert clocks.days_through(STANDS_S - 60) == ["2026-11-23"]
    assert clocks.days_through(120) == ["2026-11-23", "2026-11-24"]


@pytest.mark.parametrize("by_s", [HOUR_S, DAY_S])
def test_a_clock_that_goes_back_never_opens_a_day_again(by_s: float) -> None:
    clocks = Clocked("2026-11-24T00:20")
    clocks.machine.jump_unix(-by_s)
    assert clocks.days_through(STANDS_S + 60) == ["2026-11-24"]
    assert clocks.budget.behind_s(boottime_s=clocks.machine.boottime_s()) > 0
    assert clocks.days_through(by_s) == ["2026-11-24"]
    assert clocks.budget.behind_s(boottime_s=clocks.machine.boottime_s()) == 0


@pytest.mark.parametrize("now", ["1970-01-01T00:00", "2026-11-22T12:00"])
def test_after_a_restart_with_an_older_clock_the_newest_day_is_kept(now: str) -> None:
    machine, newest = VirtualClock(unix_s=at(now)), at("2026-11-23T12:00")
    budget = BudgetClock(latest_unix_s=newest)
    assert budget.look(unix_s=machine.unix_s(), boottime_s=machine.boottime_s()) == newest
    assert budget.behind_s(boottime_s=machine.boottime_s()) == newest - machine.unix_s()


def test_a_slip_across_a_restart_of_the_daemon_is_seen_through() -> None:
    clocks = Clocked("2026-11-23T12:00")
    before = clocks.budget
    clocks.budget = BudgetClock(latest_unix_s=before.latest_unix_s, offset_s=before.offset_s)
    clocks.machine.jump_unix(365 * DAY_S)
    assert clocks.days_through(60) == ["2026-11-23"]


def test_a_machine_that_slept_is_believed_at_once() -> None:
    clocks = Clocked("2026-11-23T12:00")
    clocks.machine.suspend(DAY_S)
    assert clocks.day() == "2026-11-24"


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["pass", "jump", "sleep"]), st.floats(-2 * DAY_S, 2 * DAY_S)),
        max_size=30,
    )
)
def test_the_budgets_time_never_goes_back(steps: list[tuple[str, float]]) -> None:
    clocks = Clocked("2026-11-23T12:00")
    seen = clocks.look()
    for what, by_s in steps:
        if what == "jump":
            clocks.machine.jump_unix(by_s)
        elif what == "sleep":
            clocks.machine.suspend(abs(by_s))
        else:
            clocks.machine.advance(abs(by_s))
        now = clocks.look()
        assert now >= seen
        seen = now
