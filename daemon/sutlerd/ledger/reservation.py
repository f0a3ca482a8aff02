"""One attempt's money, from its reservation to its one end.

    held -> written -> ended

A reservation is held in memory from the step that grants it. ``on_disk`` is awaited before
the provider may be contacted. Then comes exactly one of ``release`` (the provider was surely
not contacted), ``settle_zero`` (it surely did not bill), ``settle``, ``charge_in_full``.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from sutlerd.domain.call import Labels, Route
from sutlerd.domain.caller import Caller
from sutlerd.domain.record import quick, record
from sutlerd.domain.usage import Usage
from sutlerd.ledger.book import Account
from sutlerd.ledger.records import Ended, Held

_new_held = quick(Held)
_new_ended = quick(Ended)


class Named(Protocol):
    """A request under an id of its caller's own."""

    @property
    def uid(self) -> int: ...

    @property
    def request_id(self) -> str: ...


@record
class Spend:
    """What an attempt may cost. ``worst_case_nanousd`` is 0 for what is free, and ``None``
    where nobody knows and that is allowed: then nothing is held and nothing known is booked.

    ``given_id`` says that the caller chose ``request_id``. ``kind`` is ``chat`` or ``embed``.
    ``prices`` names the price table that the worst case was computed by. ``askers`` grows with
    the requests that share the attempt under ids of their own. ``may_cost`` is false only of
    what is free whatever serves it; else a bill is booked where it would have been held, also
    when nothing was, because a model has no price or one of 0.
    """

    request_id: str
    given_id: bool
    caller: Caller
    labels: Labels
    route: Route
    kind: str
    worst_case_nanousd: int | None
    prices: str = ""
    askers: Sequence[Named] = ()
    may_cost: bool = False

    def held(
        self,
        attempt: int,
        amount_nanousd: int,
        accounts: tuple[Account, ...],
        day: str,
        unix_s: float,
    ) -> Held:
        """Say what is held for it, in which accounts, from when on."""
        caller, labels = self.caller, self.labels
        return _new_held(
            attempt=attempt,
            request_id=self.request_id,
            given_id=self.given_id,
            uid=caller.uid,
            gid=caller.gid,
            job=caller.job,
            component=labels.component,
            project=labels.project,
            provider=self.route.provider,
            model=self.route.model,
            kind=self.kind,
            day=day,
            unix_s=unix_s,
            amount_nanousd=amount_nanousd,
            prices=self.prices,
            accounts=accounts,
        )


class Stage(Enum):
    HELD = "held"
    WRITTEN = "written"
    ENDED = "ended"


class Books(Protocol):
    """What a reservation is ended in: the ledger."""

    async def write_down(self, held: Held, askers: Sequence[Named]) -> None:
        """Have a reservation on the disk, and who shares it. Raises ``CallError``; it is then
        void."""

    def write_askers(self, held: Held, askers: Sequence[Named]) -> None:
        """Write soon who shares a reservation that is on the disk."""

    def void(self, held: Held, *, was_written: bool) -> None: ...

    def end(self, ended: Ended, *, is_priced: bool) -> None: ...

    def now_unix_s(self) -> float: ...


class Reservation:
    """Money held for one attempt; nothing is held, and nothing written, for a free one."""

    __slots__ = ("_askers", "_asking", "_books", "_is_priced", "held", "stage")

    def __init__(
        self, books: Books, held: Held, *, is_priced: bool, askers: Sequence[Named] = ()
    ) -> None:
        self._books = books
        self._is_priced = is_priced
        self._askers = askers
        self._asking = 0
        self.held = held
        self.stage = Stage.HELD

    @property
    def is_free(self) -> bool:
        """Whether it needs no disk: it costs nothing, or nobody knows what."""
        return not self.held.attempt

    @property
    def amount_nanousd(self) -> int:
        return self.held.amount_nanousd

    async def on_disk(self) -> None:
        """Wait until a crash cannot lose it. Raises ``CallError``, and is then released."""
        if self.is_free:
            return
        self.stage = Stage.WRITTEN
        self._asking = len(self._askers)
        try:
            await self._books.write_down(self.held, self._askers)
        except BaseException:
            if self.stage is not Stage.ENDED:
                self.release()
            raise
        self.write_askers()

    def write_askers(self) -> None:
        """Have it written, soon, who has come to share it since the last time."""
        if self.stage is Stage.WRITTEN and len(self._askers) > self._asking:
            came, self._asking = self._askers[self._asking :], len(self._askers)
            self._books.write_askers(self.held, came)

    def release(self) -> None:
        """End it at nothing: the provider was surely not contacted."""
        was_written = self.stage is Stage.WRITTEN
        self._leave()
        if not self.is_free:
            self._books.void(self.held, was_written=was_written)

    def settle_zero(self) -> None:
        """End it at nothing: the provider was contacted, and surely did not bill."""
        self.settle(0, why="not_billed")

    def settle(
        self,
        cost_nanousd: int,
        *,
        usage: Usage | None = None,
        served: str | None = None,
        why: str | None = None,
    ) -> None:
        """End it at its true cost, whatever was held."""
        self._leave()
        ended = _new_ended(
            held=self.held,
            state="settled",
            cost_nanousd=cost_nanousd,
            ended_unix_s=self._books.now_unix_s(),
            served=served,
            usage=usage,
            why=why,
        )
        self._books.end(ended, is_priced=self._is_priced)

    def charge_in_full(self, *, usage: Usage | None = None, served: str | None = None) -> int:
        """End it at all that was held, since nobody knows what it cost; give that."""
        self.settle(self.amount_nanousd, usage=usage, served=served, why="charged_in_full")
        return self.amount_nanousd

    def _leave(self) -> None:
        if self.stage is Stage.ENDED:
            raise ValueError(f"attempt {self.held.attempt} has ended already")
        self.stage = Stage.ENDED
