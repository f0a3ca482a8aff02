"""The small file in the state folder that keeps levels from one life to the next.

Written when the daemon stops, and noted now and then while it runs, for the case that it
crashes. A clock that was set in between must not fill a bucket: within one boot the shorter
time counts of the wall clock's and of the one that runs while the machine sleeps.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from sutlerd.admission.levels import NOTED_EVERY_S, Past
from sutlerd.domain.ports import Clock, EventLog

_NAME = "levels.json"
_VERSION = 1
_MAX_BYTES = 16 * 1024 * 1024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LevelFile:
    """Entered before anything is sent, left when nothing is any more. ``past`` is what the
    life before left; ``None`` where there was none. Failures are logged, never raised: levels
    then begin as after a crash."""

    def __init__(self, folder: Path, *, clock: Clock, log: EventLog) -> None:
        self._path = folder / _NAME
        self._clock = clock
        self._log = log
        self._told = False
        self.noted: Callable[[], dict[str, Any]] = dict
        self.past: Past | None = None
        self._writing = threading.Lock()

    async def __aenter__(self) -> Self:
        self.past = self._read()
        # From here on, and until it is written otherwise, a daemon that ends has crashed.
        before = self.past.boundaries if self.past is not None else {}
        self._write(dict(before), clean=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._write(self.noted(), clean=True)

    async def keep(self) -> None:
        """Note the levels now and then, for ever; off the loop, for disks can be slow."""
        while True:
            await asyncio.sleep(NOTED_EVERY_S)
            noted = self.noted()
            # Where nothing is limited nothing can overrun.
            if any(boundary["limits"] for boundary in noted.values()):
                await asyncio.to_thread(self._write, noted, clean=False)

    def _write(self, boundaries: dict[str, Any], *, clean: bool) -> None:
        value = {
            "version": _VERSION,
            "clean": clean,
            "unix_s": self._clock.unix_s(),
            "boottime_s": self._clock.boottime_s(),
            "boot": _boot(),
            "boundaries": boundaries,
        }
        beside = self._path.with_suffix(".new")
        try:
            with self._writing:
                beside.write_text(json.dumps(value))
                os.replace(beside, self._path)
        except OSError as error:
            self._tell(f"not written: {error}")

    def _read(self) -> Past | None:
        try:
            with self._path.open("rb") as file:
                value = json.loads(file.read(_MAX_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            self._tell(f"not readable, so all buckets begin empty: {error}")
            return Past(boundaries={}, age_s=0.0, clean=False)
        if not isinstance(value, dict) or value.get("version") != _VERSION:
            return Past(boundaries={}, age_s=0.0, clean=False)
        boundaries = value.get("boundaries")
        return Past(
            boundaries=boundaries if isinstance(boundaries, dict) else {},
            age_s=self._age_s(value),
            clean=value.get("clean") is True,
        )

    def _age_s(self, value: dict[str, Any]) -> float:
        ages = [_passed(value.get("unix_s"), self._clock.unix_s())]
        if value.get("boot") == _boot():
            ages.append(_passed(value.get("boottime_s"), self._clock.boottime_s()))
        return min(ages)

    def _tell(self, said: str) -> None:
        if not self._told:
            self._told = True
            self._log.event("warning", "levels", file=str(self._path), said=said)


def _passed(then: object, now: float) -> float:
    """Give the seconds since, 0 for what makes no sense or lies in the future."""
    if isinstance(then, bool) or not isinstance(then, int | float):
        return 0.0
    passed_s = now - then
    return passed_s if passed_s > 0 else 0.0


def _boot() -> str | None:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None
