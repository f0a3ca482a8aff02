"""What the accounts show: usage by any grouping, single calls, one job's report.

A caller sees what its uid used; ``uid`` is ``None`` for those who may see everyone's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any, Final, Protocol

from sutlerd.domain.record import record
from sutlerd.ledger.rows import FIGURES, UsageRow
from sutlerd.ledger.sums import Entry, Sums, grouped
from sutlerd.pipeline.accounting import Accounting

#: What is looked at where nobody says since when.
DAYS_SHOWN: Final = 31
MAX_ROWS_SHOWN: Final = 10_000


class Archive(Protocol):
    """What is stored of days that may no longer be in memory. Raises ``CallError``."""

    async def entries(self, since: str, until: str) -> list[Entry]: ...

    async def rows(self, wanted: Wanted, since: str, until: str) -> list[UsageRow]: ...


@record
class Wanted:
    """Which part of the accounts: days as ``YYYY-MM-DD``, both included; ``None`` is any."""

    since: str | None = None
    until: str | None = None
    uid: int | None = None
    job: str | None = None

    def fits(self, uid: int, job: str | None) -> bool:
        return self.uid in (None, uid) and self.job in (None, job)


class AccountViews:
    def __init__(self, *, accounting: Accounting, archive: Archive) -> None:
        self._accounting = accounting
        self._archive = archive

    async def usage(self, wanted: Wanted, by: Sequence[str]) -> dict[str, Any]:
        """Give a row for each group, and the whole."""
        since, until = self._days(wanted)
        entries = await self._entries(wanted, since, until)
        rows = grouped(entries, by)
        return {
            "since": since,
            "until": until,
            "rows": rows[:MAX_ROWS_SHOWN],
            "left_out": max(0, len(rows) - MAX_ROWS_SHOWN),
            "total": _total(entries),
        }

    async def calls(self, wanted: Wanted) -> dict[str, Any]:
        """Give the newest single calls, each with what its attempts used."""
        since, until = self._days(wanted)
        rows = await self._archive.rows(wanted, since, until)
        calls = list(_by_request(rows).values())
        return {
            "since": since,
            "until": until,
            "rows": calls[-MAX_ROWS_SHOWN:],
            "left_out": max(0, len(calls) - MAX_ROWS_SHOWN),
        }

    async def report(self, wanted: Wanted) -> dict[str, Any]:
        """Give one job's account: the whole, and by model, component and error."""
        since, until = self._days(wanted)
        entries = await self._entries(wanted, since, until)
        days = sorted({key.day for key, _ in entries})
        return {
            "job": wanted.job,
            "uids": sorted({key.uid for key, _ in entries}),
            "since": days[0] if days else since,
            "until": days[-1] if days else until,
            "total": _total(entries),
            "models": [row for row in grouped(entries, ("provider", "model")) if row["provider"]],
            "components": grouped(entries, ("component", "project")),
        }

    def _days(self, wanted: Wanted) -> tuple[str, str]:
        today = self._accounting.day()
        first = date.fromisoformat(today) - timedelta(days=DAYS_SHOWN - 1)
        return wanted.since or first.isoformat(), wanted.until or today

    async def _entries(self, wanted: Wanted, since: str, until: str) -> list[Entry]:
        """Give what is wanted of memory and archive; of a day in both, memory knows more."""
        self._accounting.enter_hits()
        stored = await self._archive.entries(since, until)
        # Looked at after the wait: what is entered meanwhile is here at once.
        accounts = self._accounting.accounts
        older = [entry for entry in stored if entry[0].day < accounts.open_since]
        fresh = accounts.entries(since=since, until=until)
        return [entry for entry in [*older, *fresh] if wanted.fits(entry[0].uid, entry[0].job)]


def _total(entries: Iterable[Entry]) -> dict[str, Any]:
    rows = grouped(entries, ())
    return rows[0] if rows else Sums().to_wire()


def _by_request(rows: Iterable[UsageRow]) -> dict[tuple[int, str], dict[str, Any]]:
    """Put what was entered under each request's id together, in the order they came."""
    calls: dict[tuple[int, str], dict[str, Any]] = {}
    for row in rows:
        call = calls.get((row.payer.uid, row.request_id))
        if call is None:
            call = calls[row.payer.uid, row.request_id] = {
                "request_id": row.request_id,
                "unix_s": row.unix_s,
                "day": row.day,
                **row.payer._asdict(),
                "provider": row.provider,
                "model": row.model,
                "kind": row.kind,
                "prompt": None,
                "error": None,
                **dict.fromkeys(FIGURES, 0),
            }
        for figure in FIGURES:
            call[figure] += getattr(row, figure)
        if row.calls:
            # Attempts may come before and after their caller was told.
            call |= {"unix_s": row.unix_s, "error": row.error, "prompt": row.prompt}
    return calls
