"""Everything a caller is given is entered in the accounts: answers, errors, hits, attempts.

An attempt is entered where its money is settled, a call where its caller is told how it ended.
Hits are tallied on their own short way and entered once in a while. Nothing here waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sutlerd.domain.call import Call, Labels
from sutlerd.domain.caller import Caller
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import quick
from sutlerd.ledger.accounts import Accounts, Unstored
from sutlerd.ledger.records import Ended
from sutlerd.ledger.rows import Payer, UsageRow, attempt_row, bounded, payer_of
from sutlerd.ledger.sums import AccountKey, Sums
from sutlerd.pipeline.hits import HitTallies
from sutlerd.pipeline.result import Answer
from sutlerd.system.write_target import Job
from sutlerd.telemetry.history import History
from sutlerd.telemetry.meter import Meter

_new_usage_row = quick(UsageRow)

#: Gives the job that adds sums to the stored accounts, and keeps rows of single calls.
AddToDisk = Callable[[Mapping[AccountKey, Sums], Sequence[UsageRow]], Job[None]]
#: Rows of single calls that wait to be stored: more of them in one turn are only added up.
MAX_ROWS_WAITING = 1000
#: The last errors that are shown.
_MAX_ERRORS = 50
#: Refusals whose caller waited for its turn until then.
_AFTER_WAITING = frozenset({"rate_limited", "budget_exceeded", "timeout"})


class Accounting:
    """One per daemon. ``day`` gives the day that the budgets go by.

    ``meter`` counts the same things for the metrics, without who paid; ``history`` is what it
    counted in the last hour.
    """

    def __init__(self, *, accounts: Accounts, day: Callable[[], str], clock: Clock) -> None:
        self.meter = Meter()
        self.history = History()
        self._errors: deque[UsageRow] = deque(maxlen=_MAX_ERRORS)
        self.accounts = accounts
        self.hit_tallies = HitTallies()
        self.unstored = Unstored()
        self.rows_dropped = 0
        self.day = day
        self._clock = clock
        self._rows: list[UsageRow] = []
        self._add_to_disk: AddToDisk | None = None
        self._keeps_rows = False

    def stores_with(self, add: AddToDisk, *, keeps_rows: bool) -> None:
        """Have what attempts cost stored together with their ends from now on."""
        self._add_to_disk = add
        self._keeps_rows = keeps_rows

    def answered(self, call: Call, answer: Answer, *, coalesced: bool) -> None:
        """Enter a call whose caller has its answer."""
        served, cached = answer.served, answer.cached
        free = cached or coalesced
        # Not by ``_enter``: this is on the way of every call.
        self._add(
            _new_usage_row(
                request_id=call.request_id,
                unix_s=self._clock.unix_s(),
                day=self.day(),
                payer=payer_of(call.caller, call.labels),
                provider=served.provider,
                model=served.model,
                kind="chat",
                calls=1,
                cached=int(cached),
                coalesced=int(coalesced and not cached),
                saved_nanousd=(served.saved_nanousd or 0) if free else 0,
                waited_ms=round(answer.trace.get("queued_ms", 0)),
                prompt=call.prompt.title if call.prompt else None,
            )
        )

    def failed(self, call: Call, error: str, *, passed_s: float) -> None:
        """Enter a call whose caller was told an error, or was gone, after ``passed_s``."""
        route = call.routes[0]
        self._enter(
            call.request_id,
            payer_of(call.caller, call.labels),
            provider=route.provider,
            model=route.model,
            kind="chat",
            error=error,
            waited_ms=round(passed_s * 1000) if error in _AFTER_WAITING else 0,
            prompt=call.prompt.title if call.prompt else None,
        )

    def refused(
        self, caller: Caller, claimed: object, request_id: object, kind: str, error: str
    ) -> None:
        """Enter a request that never became a call; its labels are as they were claimed."""
        labels = claimed if isinstance(claimed, dict) else {}
        component, project = labels.get("component"), labels.get("project")
        payer = Payer(
            caller.uid,
            bounded(caller.job),
            bounded(component) if isinstance(component, str) else None,
            bounded(project) if isinstance(project, str) else None,
        )
        name = request_id if isinstance(request_id, str) else ""
        self._enter(name, payer, provider="", model="", kind=kind, error=error, is_kept=False)

    def embedded(
        self,
        request_id: str,
        caller: Caller,
        labels: Labels,
        *,
        provider: str,
        model: str,
        cached: bool = False,
        coalesced: bool = False,
        error: str | None = None,
    ) -> None:
        """Enter an ``embed`` call: ``cached`` if all of its texts were, ``coalesced`` if it
        bought none itself."""
        self._enter(
            request_id,
            payer_of(caller, labels),
            provider=provider,
            model=model,
            kind="embed",
            error=error,
            cached=int(cached),
            coalesced=int(coalesced and not cached),
        )

    def settled(self, ended: Ended, is_priced: bool) -> Job[None] | None:
        """Enter the end of an attempt's money, which the ledger tells of.

        Gives what is to be committed together with the end, so that the accounts are never
        above or below the ledger, whatever is killed; ``None`` where no end is committed.
        """
        held = ended.held
        row = attempt_row(ended, is_priced=is_priced)
        self.meter.settled(held.provider, held.model, held.amount_nanousd)
        if not held.attempt or self._add_to_disk is None:
            self._add(row)
            return None
        sums = Sums()
        sums.add_row(row)
        key = self.accounts.add(row)
        count(self.meter, row)
        return self._add_to_disk({key: sums}, [row] if self._keeps_rows else [])

    def recent_errors(self, caller: Caller) -> list[dict[str, Any]]:
        """Give the last calls that failed, the newest first: a caller's own, an operator's all."""
        return [
            {
                "unix_s": round(row.unix_s, 3),
                "uid": row.payer.uid,
                "provider": row.provider,
                "model": row.model,
                "error": row.error,
                "request_id": row.request_id,
            }
            for row in reversed(self._errors)
            if caller.may_operate or row.payer.uid == caller.uid
        ]

    def enter_hits(self) -> None:
        """Enter what the way of hits has tallied."""
        now_unix_s = self._clock.unix_s()
        day = self.day()
        for tally, hits, saved_nanousd in self.hit_tallies.take():
            self._sum_up(
                UsageRow(
                    request_id="",
                    unix_s=now_unix_s,
                    day=day,
                    payer=tally.payer,
                    provider=tally.provider,
                    model=tally.model,
                    kind="chat",
                    calls=hits,
                    cached=hits,
                    saved_nanousd=saved_nanousd,
                )
            )

    def take_rows(self) -> list[UsageRow]:
        """Give the rows of single calls that were entered since this was asked last."""
        taken, self._rows = self._rows, []
        return taken

    def drop_rows(self) -> None:
        """Give up the rows that wait: only their sums are kept."""
        self.rows_dropped += len(self._rows)
        self._rows.clear()

    def _enter(
        self,
        request_id: str,
        payer: Payer,
        *,
        provider: str,
        model: str,
        kind: str,
        error: str | None = None,
        cached: int = 0,
        coalesced: int = 0,
        saved_nanousd: int = 0,
        waited_ms: int = 0,
        prompt: str | None = None,
        is_kept: bool = True,
    ) -> None:
        now_unix_s = self._clock.unix_s()
        row = UsageRow(
            request_id=request_id,
            unix_s=now_unix_s,
            day=self.day(),
            payer=payer,
            provider=provider,
            model=model,
            kind=kind,
            calls=1,
            cached=cached,
            coalesced=coalesced,
            error=error,
            saved_nanousd=saved_nanousd,
            waited_ms=waited_ms,
            prompt=prompt,
        )
        if is_kept:
            self._add(row)
        else:
            self._sum_up(row)

    def _sum_up(self, row: UsageRow) -> None:
        self.unstored.note(self.accounts.add(row), row)
        count(self.meter, row)
        if row.error is not None:
            self._errors.append(row)

    def _add(self, row: UsageRow) -> None:
        self._sum_up(row)
        if not self._keeps_rows:
            return
        if len(self._rows) < MAX_ROWS_WAITING:
            self._rows.append(row)
        else:
            self.rows_dropped += 1


def count(meter: Meter, row: UsageRow) -> None:
    """Count for the metrics what is entered in the accounts."""
    if row.calls:
        meter.called(
            row.provider,
            row.model,
            calls=row.calls,
            cached=row.cached,
            coalesced=row.coalesced,
            error=row.error,
            saved_nanousd=row.saved_nanousd,
            waited_s=row.waited_ms / 1000,
        )
    if row.attempts:
        tokens = {"input": row.tokens_in, "output": row.tokens_out}
        if row.cached_tokens_in or row.cache_write_tokens_in or row.reasoning_tokens_out:
            tokens["cached"] = row.cached_tokens_in
            tokens["cache_write"] = row.cache_write_tokens_in
            tokens["reasoning"] = row.reasoning_tokens_out
        meter.spent(row.provider, row.model, tokens=tokens, cost_nanousd=row.cost_nanousd)
