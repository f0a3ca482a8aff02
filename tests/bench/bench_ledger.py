"""Reservations on the disk, beside bare LMDB group commits; and what the loop spends on one.

The floor writes as many values of the same size, in the same kind of environment, as there
are callers, and commits them together: no caller can be quicker than its commit. The figures
of our own side have the settlement in them, too, which is a second write of every call.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import lmdb

from sutlerd.ledger.records import encode_held
from sutlerd.system.clock import SystemClock
from tests.bench.parts import Row
from tests.support.ledgers import open_ledger_in, reserved, spend

FOR_S = 2.0
CALLERS = (1, 8, 64)
ON_LOOP = 20_000


def run(folder: Path) -> list[Row]:
    return asyncio.run(_measure(folder))


async def _measure(folder: Path) -> list[Row]:
    rows = []
    for callers in CALLERS:
        ours, commits, value_bytes = await _ours_per_s(folder / f"ours{callers}", callers)
        floor = _floor_per_s(folder / f"floor{callers}", callers, value_bytes)
        rows.append(
            Row(
                what=f"reservations a second, {callers} at once "
                f"({ours / max(1.0, commits):.1f} a commit)",
                ours=f"{ours:,.0f}",
                floor=f"{floor:,.0f}",
                ratio=ours / floor,
            )
        )
    reserve, settle, waits_us = await _on_loop(folder / "loop")
    rows += [
        Row(what="on the loop: reserve in 4 budgets, queue the write", ours=str(reserve)),
        Row(what="on the loop: settle, queue the write", ours=str(settle)),
        Row(what="a call alone waits for its reservation's commit, p50", ours=f"{waits_us:.0f} µs"),
    ]
    return rows


async def _ours_per_s(folder: Path, callers: int) -> tuple[float, float, int]:
    """Give reservations and commits a second, and the size of a reservation's value."""
    done = value_bytes = 0
    async with open_ledger_in(folder, clock=SystemClock(), daily_limit_usd=10**9) as ledger:
        until_s = time.perf_counter() + FOR_S

        async def call() -> None:
            nonlocal done, value_bytes
            while time.perf_counter() < until_s:
                reservation = reserved(ledger.try_reserve(spend(1_000_000, "request-0123456789")))
                await reservation.on_disk()
                reservation.settle(123_456)
                value_bytes = value_bytes or len(encode_held(reservation.held))
                done += 1

        await asyncio.gather(*(call() for _ in range(callers)))
        commits = ledger.store.commits
    return done / FOR_S, commits / FOR_S, value_bytes


def _floor_per_s(folder: Path, callers: int, value_bytes: int) -> float:
    folder.mkdir()
    value, number = os.urandom(value_bytes), 0
    with lmdb.open(str(folder), map_size=1 << 28, lib_version=0) as env:
        until_s = time.perf_counter() + FOR_S
        while time.perf_counter() < until_s:
            with env.begin(write=True) as txn:
                for _ in range(callers):
                    number += 1
                    txn.put(number.to_bytes(8, "big"), value)
    return number / FOR_S


class Spent:
    """Time in the loop's thread: the processor's, and the wall's, which has in it what the
    writer's thread took of the interpreter meanwhile."""

    def __init__(self) -> None:
        self._cpu_s = self._wall_s = 0.0

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        cpu_s, wall_s = time.thread_time(), time.perf_counter()
        yield
        self._cpu_s += time.thread_time() - cpu_s
        self._wall_s += time.perf_counter() - wall_s

    def __str__(self) -> str:
        cpu_us, wall_us = self._cpu_s / ON_LOOP * 1e6, self._wall_s / ON_LOOP * 1e6
        return f"{cpu_us:.1f} µs ({wall_us:.1f} µs of wall time)"


async def _on_loop(folder: Path) -> tuple[Spent, Spent, float]:
    """Give what a reservation and what a settlement take of the loop, and the median of how
    many µs a call alone waits for the disk."""
    rules = [{"per": "uid", "limit_usd": Decimal(10**6)}]
    waits: list[float] = []
    async with open_ledger_in(
        folder, clock=SystemClock(), daily_limit_usd=10**6, rules=rules
    ) as ledger:
        for _ in range(300):
            reservation = reserved(ledger.try_reserve(spend(1000)))
            before_s = time.perf_counter()
            await reservation.on_disk()
            waits.append(time.perf_counter() - before_s)
            reservation.settle(1)
        reserve, settle = Spent(), Spent()
        for _ in range(ON_LOOP // 100):
            with reserve.measured():
                some = [reserved(ledger.try_reserve(spend(1000))) for _ in range(100)]
                queued = [asyncio.ensure_future(each.on_disk()) for each in some]
                await asyncio.sleep(0)
            await asyncio.gather(*queued)
            with settle.measured():
                for each in some:
                    each.settle(1)
    return reserve, settle, sorted(waits)[len(waits) // 2] * 1e6
