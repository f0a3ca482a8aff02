"""A ledger on a disk that fills up, or may not be written; run by the tests beside it.

python disk_child.py full FOLDER COMMAND…     COMMAND makes room on the disk
python disk_child.py make FOLDER
python disk_child.py read_only FOLDER
python disk_child.py turns_read_only FOLDER TRIGGER    "1" written to TRIGGER does it
python disk_child.py recover FOLDER                    the next start after that
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sutlerd.domain.errors import LedgerUnavailable
from sutlerd.ledger.reservation import Reservation
from sutlerd.ledger.store import Standing
from sutlerd.system.exits import CannotStart, Exit
from tests.support.event_list import EventList
from tests.support.ledger_file import read_ledger
from tests.support.ledgers import open_ledger_in, reserved, spend

MOST = 20_000


async def fill_up(folder: Path, relief: list[str]) -> None:
    log = EventList()
    async with open_ledger_in(folder, log=log) as ledger:
        taken: list[Reservation] = []
        refused: list[LedgerUnavailable] = []

        async def take(number: int) -> None:
            answer = ledger.try_reserve(spend(100, f"{number:090}"))
            if isinstance(answer, LedgerUnavailable):
                refused.append(answer)
                return
            reservation = reserved(answer)
            try:
                await reservation.on_disk()
            except LedgerUnavailable as refusal:
                refused.append(refusal)
            else:
                taken.append(reservation)

        with (folder.parent / "filler").open("wb") as filler:
            while os.statvfs(folder).f_bavail > 300:
                filler.write(bytes(64 * 1024))
                filler.flush()
        for first in range(0, MOST, 20):
            await asyncio.gather(*(take(first + number) for number in range(20)))
            if refused:
                break
        assert refused, "the disk is not full"
        assert str(folder) in refused[0].message
        assert ledger.store.standing is Standing.FULL
        assert isinstance(ledger.try_reserve(spend(1)), LedgerUnavailable)
        reserved(ledger.try_reserve(spend(0))).settle(0)
        half = len(taken) // 2
        assert half > 20
        for each in taken[:half]:
            each.settle(40)
        for _ in range(3):
            await ledger.tend()
            await ledger.store.flush()
        on_disk = await ledger.store.read(lambda txn: txn.stat(ledger.store.database(b"open")))
        assert on_disk["entries"] == len(taken) - half, "an end was not written"
        assert ledger.store.standing is Standing.FULL
        await asyncio.to_thread(subprocess.run, relief, check=True)
        await ledger.tend()
        assert ledger.store.standing is Standing.OPEN
        await reserved(ledger.try_reserve(spend(5))).on_disk()
        for each in taken[half:]:
            each.settle(40)
        assert [fields["standing"] for fields in log.named("ledger")] == ["full", "open"]
    found = read_ledger(folder)
    assert (found.settled(), len(found.open)) == (40 * len(taken), 1)
    assert found.is_consistent()


async def make(folder: Path) -> None:
    async with open_ledger_in(folder):
        pass


async def be_refused(folder: Path) -> None:
    with pytest.raises(CannotStart) as refused:
        await make(folder)
    assert refused.value.exit_code is Exit.STORAGE
    assert str(folder) in refused.value.message
    assert f"uid {os.geteuid()}" in refused.value.message


async def turn_read_only(folder: Path, trigger: Path) -> None:
    log = EventList()
    async with open_ledger_in(folder, log=log) as ledger:
        ended, pending = (reserved(ledger.try_reserve(spend(100))) for _ in range(2))
        await asyncio.gather(ended.on_disk(), pending.on_disk())
        ended.settle(40)
        await ledger.store.flush()
        await asyncio.to_thread(trigger.write_text, "1")
        with pytest.raises(LedgerUnavailable) as refused:
            await reserved(ledger.try_reserve(spend(100))).on_disk()
        assert str(folder) in refused.value.message
        assert "Read-only file system" in refused.value.message
        assert ledger.store.standing is Standing.FAILED
        for _ in range(3):
            assert isinstance(ledger.try_reserve(spend(1)), LedgerUnavailable)
            reserved(ledger.try_reserve(spend(0))).settle(0)
            await ledger.tend()
        pending.settle(40)  # which nobody can write down any more
        assert [fields["standing"] for fields in log.named("ledger")] == ["failed"]


async def recover(folder: Path) -> None:
    async with open_ledger_in(folder) as ledger:
        assert [each.cost_nanousd for each in ledger.unknown()] == [100]
        await reserved(ledger.try_reserve(spend(1))).on_disk()
    assert read_ledger(folder).settled() == 140


if __name__ == "__main__":
    what, where = sys.argv[1], Path(sys.argv[2])
    if what == "full":
        asyncio.run(fill_up(where, sys.argv[3:]))
    elif what == "turns_read_only":
        asyncio.run(turn_read_only(where, Path(sys.argv[3])))
    else:
        asyncio.run({"make": make, "read_only": be_refused, "recover": recover}[what](where))
