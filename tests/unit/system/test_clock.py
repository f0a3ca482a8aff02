"""Three clocks, real and virtual, that are never mixed."""

from __future__ import annotations

import time

import pytest

from sutlerd.domain.ports import Clock
from sutlerd.system.clock import SystemClock
from tests.support.virtual_clock import VirtualClock


def test_the_system_clock_reads_the_kernels_three_clocks() -> None:
    clock: Clock = SystemClock()
    before = (time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME), time.time())
    read = (clock.monotonic_s(), clock.boottime_s(), clock.unix_s())
    after = (time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME), time.time())
    assert all(low <= got <= high for low, got, high in zip(before, read, after, strict=True))


def test_a_virtual_clock_moves_only_when_told() -> None:
    clock: Clock = (virtual := VirtualClock())
    start = (clock.monotonic_s(), clock.boottime_s(), clock.unix_s())
    virtual.advance(2.0)
    virtual.suspend(10.0)
    virtual.jump_unix(-100.0)
    moved = (clock.monotonic_s(), clock.boottime_s(), clock.unix_s())
    assert [now - then for now, then in zip(moved, start, strict=True)] == [2.0, 12.0, -88.0]


def test_virtual_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError):
        VirtualClock().advance(-1.0)
