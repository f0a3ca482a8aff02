"""How the budgets stand, what is unknown, and an operator's word on it."""

from __future__ import annotations

from typing import Any

from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import InvalidParams
from sutlerd.ledger.alarm import Alarm
from sutlerd.ledger.balances import is_of_all, is_visible, shown, standings
from sutlerd.ledger.ledger import Ledger
from sutlerd.ledger.records import Ended
from sutlerd.telemetry.readings import BudgetReading, MoneyReadings

MAX_SHOWN = 10_000


class BudgetViews:
    def __init__(self, *, ledger: Ledger, alarm: Alarm) -> None:
        self._ledger = ledger
        self._alarm = alarm

    def budgets(self, caller: Caller) -> dict[str, Any]:
        """Give every budget that a caller may see; ``unknown`` lists attempts whose outcome
        nobody knows, which were charged at their worst case: a caller's own, or all."""
        ledger = self._ledger
        visible = [each for each in standings(ledger) if is_visible(each.account.subject, caller)]
        unknown = [
            ended
            for ended in ledger.unknown()
            if caller.may_operate or ended.held.uid == caller.uid
        ]
        return {
            "day": ledger.day(),
            "ledger": ledger.store.standing.value,
            "clock": self.clock(),
            "budgets": [shown(each, ledger, self._alarm.paces) for each in visible[:MAX_SHOWN]],
            "unknown": [_unknown(ended) for ended in unknown[:MAX_SHOWN]],
        }

    def clock(self) -> dict[str, Any]:
        """Say whether the budgets go by the wall clock now: ``ok``, or why not."""
        state, by_s = self._ledger.time.standing()
        return {"state": state, "by_s": round(by_s, 3)}

    def readings(self) -> MoneyReadings:
        """Read what the metrics show: how the budgets stand that are nobody's in particular."""
        ledger = self._ledger
        return MoneyReadings(
            reservations_open=ledger.book.open_count,
            unknown_outcomes=len(ledger.unknown()),
            overruns=ledger.overruns,
            ledger_bytes=ledger.store.size_bytes(),
            budgets=tuple(
                BudgetReading(
                    name=each.budget.name,
                    scope=each.account.subject,
                    limit_nanousd=each.budget.limit_nanousd,
                    settled_nanousd=each.balance.settled_nanousd,
                    pending_nanousd=each.balance.pending_nanousd,
                )
                for each in standings(ledger)
                if is_of_all(each.account.subject)
            ),
        )

    def alerts(self) -> dict[str, Any]:
        return self._alarm.snapshot()

    async def amend(self, attempt: int, cost_nanousd: int, why: str) -> dict[str, Any]:
        """Take an operator's word on what an unknown attempt cost. Raises ``CallError``."""
        try:
            ended = await self._ledger.amend(attempt, cost_nanousd, why=why)
        except KeyError:
            raise InvalidParams(
                f"params.attempt: no attempt {attempt} is unknown; budget lists those that are"
            ) from None
        return {**_unknown(ended), "cost_nanousd": ended.cost_nanousd, "why": why}


def _unknown(ended: Ended) -> dict[str, Any]:
    held = ended.held
    return {
        "attempt": held.attempt,
        "request_id": held.request_id,
        "uid": held.uid,
        "job": held.job,
        "provider": held.provider,
        "model": held.model,
        "reserved_unix_s": held.unix_s,
        "day": held.day,
        "charged_nanousd": held.amount_nanousd,
    }
