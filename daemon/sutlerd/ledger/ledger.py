"""The ledger: the one object that the pipeline asks for money, in front of book and store.

What is decided is decided in memory, in one step with no ``await`` in it. A reservation is on
the disk before its provider may be contacted; an end is booked in memory at once and written
soon after, so that it delays no reply. A start charges what it finds open at its worst case.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, Self

from sutlerd.domain.errors import BudgetExceeded, CallError
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.domain.record import record
from sutlerd.ledger.book import Account, Book, Granted, Hold, Short, State, Touched
from sutlerd.ledger.budgets import UNLIMITED_NANOUSD, Budgets, Spender
from sutlerd.ledger.dearer import Dearer
from sutlerd.ledger.entries import Entries, Kept
from sutlerd.ledger.guard import Guard, charged_in_full, with_crash
from sutlerd.ledger.ledger_time import LedgerTime
from sutlerd.ledger.money import usd_text
from sutlerd.ledger.place import refused_as_damaged, unusable
from sutlerd.ledger.records import Damaged, Ended, Held
from sutlerd.ledger.refusals import behind, exceeded, unavailable
from sutlerd.ledger.reservation import Named, Reservation, Spend
from sutlerd.ledger.served_as import ServedAs
from sutlerd.ledger.store import LedgerStore, Standing
from sutlerd.system.write_target import STORAGE_ERRORS, Job, WriterFull, WriterStopped

#: Reservations open at once; each needs room to be settled on a disk that is full.
MAX_OPEN: Final = 16_384
#: Records are kept at least so long, so that today's money can be added up again.
_KEPT_DAYS: Final = 32
_DAY_S: Final = 86_400.0

#: Told of every end; gives a job that is committed together with it, or nothing. For a free
#: attempt nothing is committed: whoever accounts for it writes it in its own time.
Tell = Callable[[Ended, bool], Job[Any] | None]
OnFreed = Callable[[Collection[Account] | None], object]


@record
class WaitForMoney:
    """Not now: what is open in ``account`` may settle to less than it holds.

    ``refusal`` is what to say when time is up.
    """

    account: Account
    needed_nanousd: int
    refusal: BudgetExceeded


class Ledger:
    """One per daemon; entering reads the store and charges what a crash left open.

    ``on_freed`` is called after every end with the accounts that it was booked in, where
    waiting calls may look again; with ``None`` they all may.
    """

    def __init__(
        self,
        *,
        store: LedgerStore,
        budgets: Budgets,
        rows_days: int,
        clock: Clock,
        log: EventLog,
        tell: Tell | None = None,
    ) -> None:
        self.store = store
        self.budgets = budgets
        self.book = Book()
        self.on_freed: OnFreed = _nothing
        self.overruns = 0
        self.short_of: set[Account] = set()
        self._tell = tell or _tell_nobody
        self._kept_s = max(rows_days, _KEPT_DAYS) * _DAY_S
        self._log = log
        self._entries: Entries
        self.time = LedgerTime(clock, log)
        self._next_attempt = 1
        self._dearer = Dearer()
        self.served_as = ServedAs()
        self._unknown: dict[int, Ended] = {}
        self._guard = Guard()
        self._unwritten: deque[Job[Any]] = deque()
        self._stood = Standing.OPEN
        self._pruned_day = ""

    async def __aenter__(self) -> Self:
        self._entries = Entries(self.store)
        try:
            kept = await self.store.read(self._entries.read_all)
        except Damaged as error:
            raise refused_as_damaged(self.store.folder, error) from None
        self._begin_from(kept)
        await self._charge_what_was_open(kept)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._write_again()

    # --- what the pipeline calls --------------------------------------------------------

    def try_reserve(self, spend: Spend) -> Reservation | WaitForMoney | CallError:
        """Hold the worst case in every budget that is touched, or in none. Never blocks."""
        now_unix_s = self.now_unix_s()
        if not spend.worst_case_nanousd:
            # What may be billed all the same is then booked where it would have been held.
            may_touch = self._touched(spend, now_unix_s) if spend.may_cost else []
            accounts = tuple(each.account for each in may_touch)
            held = spend.held(0, 0, accounts, self.budgets.day(now_unix_s), now_unix_s)
            return Reservation(self, held, is_priced=spend.worst_case_nanousd is not None)
        refusal = self._refusal()
        if refusal is not None:
            return refusal
        touched = self._touched(spend, now_unix_s)
        amount = self._dearer.held_for(str(spend.route), spend.worst_case_nanousd)
        attempt = self._next_attempt
        answer = self.book.reserve(str(attempt), touched, amount)
        if isinstance(answer, Short):
            refused = exceeded(answer, self.budgets, now_unix_s)
            if not answer.may_help:
                self.short_of.add(answer.account)
                return refused
            return WaitForMoney(
                account=answer.account, needed_nanousd=answer.needed_nanousd, refusal=refused
            )
        assert isinstance(answer, Granted)
        self._next_attempt += 1
        accounts = answer.hold.accounts
        held = spend.held(attempt, amount, accounts, self.budgets.day(now_unix_s), now_unix_s)
        return Reservation(self, held, is_priced=True, askers=spend.askers)

    def is_outcome_unknown(self, uid: int, request_id: str) -> bool:
        """Tell whether the request under a caller's own id was under way at a crash."""
        return self._guard.is_in_doubt(uid, request_id, self.now_unix_s())

    def now_unix_s(self) -> float:
        """Give the time that budgets go by; it never goes back."""
        return self.time.now_unix_s()

    # --- what operators see and do ------------------------------------------------------

    def day(self) -> str:
        return self.budgets.day(self.now_unix_s())

    def unknown(self) -> list[Ended]:
        return list(self._unknown.values())

    async def amend(self, attempt: int, cost_nanousd: int, *, why: str) -> Ended:
        """Take an operator's word on what an unknown attempt cost. Raises ``KeyError`` for one
        that is not unknown, ``ValueError`` for a negative cost, and ``LedgerUnavailable``."""
        was = self._unknown[attempt]
        self.book.settle(was.held.name, cost_nanousd)
        del self._unknown[attempt]
        ended = Ended(
            held=was.held,
            state="amended",
            cost_nanousd=cost_nanousd,
            ended_unix_s=self.now_unix_s(),
            why=why,
        )
        job = self._entries.amend(ended, was.cost_nanousd, self._tell(ended, True))
        self.on_freed(was.held.accounts)
        try:
            await self.store.write(job)
        except (*STORAGE_ERRORS, WriterFull, WriterStopped) as error:
            raise unavailable(self.store, str(error)) from None
        return ended

    async def tend(self) -> None:
        """Look after clock, disk and what could not be written. To be called every second."""
        self.now_unix_s()
        self.time.tell()
        with contextlib.suppress(WriterStopped):
            await self.store.tend()
        standing = self.store.standing
        changed = standing is not self._stood or self.day() != self._pruned_day
        if standing is not self._stood:
            self._stood = standing
            self._log_standing(standing)
        if standing is not Standing.FAILED:
            self._write_again()
            parted = self._guard.surely_answered(self.now_unix_s())
            if parted:
                self._submit(self._entries.part(parted))
            self._forget_old()
        if changed:
            self.on_freed(None)

    # --- what a reservation calls -------------------------------------------------------

    async def write_down(self, held: Held, askers: Sequence[Named]) -> None:
        payer = held.uid, held.request_id
        others = [each for each in askers if (each.uid, each.request_id) != payer]
        if others:
            self._guard.shares(held.attempt)
        job = self._entries.begin(held, self.time.note(), others)
        try:
            await self.store.write(job)
        except WriterFull:
            raise behind() from None
        except (*STORAGE_ERRORS, WriterStopped) as error:
            raise unavailable(self.store, str(error)) from None

    def write_askers(self, held: Held, askers: Sequence[Named]) -> None:
        self._guard.shares(held.attempt)
        self._submit(self._entries.share(held, askers))

    def void(self, held: Held, *, was_written: bool) -> None:
        self.book.void(held.name)
        self._guard.ended(held.attempt, 0.0)
        if was_written:
            self._submit(self._entries.void(held))
        self.on_freed(held.accounts)

    def end(self, ended: Ended, *, is_priced: bool) -> None:
        was_held, had_worst_case = bool(ended.held.attempt), is_priced
        if not was_held and ended.cost_nanousd:
            ended, is_priced = self._begun_late(ended), True
        held = ended.held
        also = self._tell(ended, is_priced)
        if not held.attempt:
            return
        over_nanousd = self.book.settle(held.name, ended.cost_nanousd)
        self._submit(self._entries.end(ended, also, was_held=was_held))
        self._guard.ended(held.attempt, ended.ended_unix_s)
        if over_nanousd and had_worst_case:
            self._overrun(ended, over_nanousd)
        self.on_freed(held.accounts)

    def _begin_from(self, kept: Kept) -> None:
        self._next_attempt = kept.next_attempt
        self._dearer = Dearer(kept.dearer)
        self.served_as = ServedAs(kept.served_as, changed=self._note_served_as)
        self.time.begin_from(kept.clock)
        self._unknown = {each.held.attempt: each for each in kept.unknown}
        holds = [_hold(each.held, State.UNKNOWN) for each in kept.unknown]
        holds += [_hold(held, State.RESERVED) for held in kept.open]
        self.book = Book(settled_nanousd=kept.balances, holds=holds)
        self._guard.doubt((*kept.unknown, *kept.late, *kept.doubted), kept.shared)

    async def _charge_what_was_open(self, kept: Kept) -> None:
        doubted = {each.held.attempt for each in (*kept.unknown, *kept.late, *kept.doubted)}
        parted = kept.shared.keys() - doubted - {held.attempt for held in kept.open}
        if not (kept.open or kept.late or parted):
            return
        now_unix_s = self.now_unix_s()
        lost = [charged_in_full(held, now_unix_s) for held in kept.open]
        self.book.recover()
        jobs = [(each, self._tell(each, True)) for each in lost]
        # Told in one transaction: a recovery that is killed has not happened, or has.
        try:
            crashes = with_crash(kept.crashes, [*kept.late, *lost], now_unix_s)
            await self.store.write(self._entries.lose(jobs, crashes=crashes, parted=parted))
        except (*STORAGE_ERRORS, WriterStopped) as error:
            raise unusable(self.store.folder, error) from error
        self._unknown |= {each.held.attempt: each for each in lost}
        self._guard.doubt(lost, kept.shared)
        if not lost:
            return
        charged = sum(each.cost_nanousd for each in lost)
        self._log.event(
            "warning",
            "unknown_outcomes",
            attempts=len(lost),
            charged_nanousd=charged,
            said=f"{len(lost)} attempts were under way when the daemon died: charged in full, "
            f"${usd_text(charged)}; 'sutler budget --unknown' lists them",
        )

    def _log_standing(self, standing: Standing) -> None:
        if standing is Standing.OPEN:
            self._log.event("info", "ledger", standing=standing.value)
        else:
            said = unavailable(self.store).message
            self._log.event("error", "ledger", standing=standing.value, said=said)

    def _touched(self, spend: Spend, now_unix_s: float) -> list[Touched]:
        spender = Spender(caller=spend.caller, labels=spend.labels, route=spend.route)
        return self.budgets.touched(spender, now_unix_s)

    def _begun_late(self, ended: Ended) -> Ended:
        """Begin an attempt at its end, that was to cost nothing and was billed all the same."""
        attempt, accounts = self._next_attempt, ended.held.accounts
        self._next_attempt += 1
        unlimited = [Touched(account=each, limit_nanousd=UNLIMITED_NANOUSD) for each in accounts]
        self.book.reserve(str(attempt), unlimited, 0)
        return replace(ended, held=replace(ended.held, attempt=attempt))

    def _refusal(self) -> CallError | None:
        if self.store.standing is not Standing.OPEN:
            return unavailable(self.store)
        if self.store.is_busy or self._open_count() >= MAX_OPEN:
            return behind()
        return None

    def _open_count(self) -> int:
        return self.book.open_count - len(self._unknown)

    def _overrun(self, ended: Ended, over_nanousd: int) -> None:
        """Tell of a bill above its worst case, and hold more for this model from now on."""
        held = ended.held
        model = f"{held.provider}/{held.model}"
        self._dearer.learn(
            model, held_nanousd=held.amount_nanousd, billed_nanousd=ended.cost_nanousd
        )
        self._submit(self._entries.note_dearer(self._dearer.factors()))
        self.overruns += 1
        self._log.event(
            "error",
            "overrun",
            request_id=held.request_id,
            route=model,
            held_nanousd=held.amount_nanousd,
            billed_nanousd=ended.cost_nanousd,
            over_nanousd=over_nanousd,
            said="a provider billed more than the worst case: booked in full, and more is held "
            "for this model from now on",
        )

    def _note_served_as(self) -> None:
        self._submit(self._entries.note_served_as(self.served_as))

    def _submit(self, job: Job[Any]) -> None:
        if not self.store.submit(job, done=partial(self._was_written, job)):
            self._unwritten.append(job)

    def _was_written(self, job: Job[Any], _: Any, error: BaseException | None) -> None:
        if error is not None and self.store.standing is not Standing.FAILED:
            self._unwritten.append(job)

    def _write_again(self) -> None:
        for _ in range(len(self._unwritten)):
            self._submit(self._unwritten.popleft())

    def _forget_old(self) -> None:
        """Once a day, drop what is older than the records that are kept, a part each second."""
        day = self.day()
        if day == self._pruned_day:
            return
        self._pruned_day = day
        now_unix_s = self.now_unix_s()
        self._guard.forget(now_unix_s)
        before_unix_s = now_unix_s - self._kept_s
        stands = [e for e in self._unknown.values() if e.ended_unix_s < before_unix_s]
        for ended in stands:
            # Nobody has said otherwise for so long: the charge stands.
            self.book.settle(ended.held.name, ended.cost_nanousd)
            del self._unknown[ended.held.attempt]
        current = self.budgets.current_spans(now_unix_s)
        self.book.forget({account.span for account in self.book.settled()} - current)
        known = set(self.book.settled())
        job = self._entries.prune(
            before_unix_s=before_unix_s,
            stands=[ended.held.key for ended in stands],
            keep=lambda account: account in known or account.span in current,
        )

        def pruned(has_more: object, error: BaseException | None) -> None:
            if error is not None or has_more:
                self._pruned_day = ""

        self.store.submit(job, done=pruned)


def _hold(held: Held, state: State) -> Hold:
    return Hold(
        attempt=held.name,
        accounts=held.accounts,
        amount_nanousd=held.amount_nanousd,
        state=state,
    )


def _tell_nobody(ended: Ended, is_priced: bool) -> None: ...


def _nothing(accounts: Collection[Account] | None) -> None: ...
