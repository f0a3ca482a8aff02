"""The time that one ledger goes by, what is noted of it on the disk, and what is said of a wall
clock that is not believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sutlerd.domain.ports import Clock, EventLog
from sutlerd.ledger.calendar import TOLERANCE_S, BudgetClock
from sutlerd.system.lmdb_sound import boot_id


class LedgerTime:
    """One per daemon; ``begin_from`` takes up what a note on the disk says, if there is one."""

    def __init__(self, clock: Clock, log: EventLog) -> None:
        self._clock = clock
        self._log = log
        self._boot = boot_id()
        self._budget = BudgetClock(latest_unix_s=0.0)
        self._told = "ok"

    def begin_from(self, note: Mapping[str, Any]) -> None:
        """An offset of another boot says nothing of this one."""
        self._budget = BudgetClock(
            latest_unix_s=note.get("latest_unix_s", 0.0),
            offset_s=note.get("offset_s") if note.get("boot") == self._boot else None,
        )

    def now_unix_s(self) -> float:
        """Give the time that budgets go by; it never goes back."""
        clock = self._clock
        return self._budget.look(unix_s=clock.unix_s(), boottime_s=clock.boottime_s())

    def note(self) -> dict[str, Any]:
        return {
            "latest_unix_s": self._budget.latest_unix_s,
            "offset_s": self._budget.offset_s,
            "boot": self._boot,
        }

    def standing(self) -> tuple[str, float]:
        """Say how the wall clock stands, and by how many seconds it is off.

        ``ok``; ``jumped``: it was set, and is not believed before it has stood for a while;
        ``behind``: the newest day that was opened is charged until it has caught up.
        """
        jump_s = self._budget.suspects_jump_s
        if jump_s is not None:
            return "jumped", jump_s
        behind_s = self._budget.behind_s(boottime_s=self._clock.boottime_s())
        return ("behind", behind_s) if behind_s > TOLERANCE_S else ("ok", 0.0)

    def tell(self) -> None:
        """Log how the wall clock stands when that has changed."""
        state, by_s = self.standing()
        if state == self._told:
            return
        self._told = state
        level = "info" if state == "ok" else "warning"
        self._log.event(level, "budget_clock", state=state, by_s=round(by_s, 3), said=_SAID[state])


_SAID = {
    "ok": "the wall clock and the budgets' time are one again",
    "jumped": "the wall clock was set: budgets go by it when it has stood for ten minutes",
    "behind": "the wall clock is behind the newest time in the ledger: the newest day that was "
    "opened is charged until it has caught up",
}
