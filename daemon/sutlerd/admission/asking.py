"""What is asked of the gate, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from sutlerd.admission.fair_queue import Step
from sutlerd.admission.own_limits import Owner
from sutlerd.admission.quota import Sent, Shortage
from sutlerd.domain.errors import CallError, RateLimited
from sutlerd.domain.record import record

MONEY = "budget"


class WaitForMoney(Exception):
    """Raised by ``also``: open reservations may settle to less; look again when one has.

    ``account`` is whose money is short, as ``Gate.wake`` names it; ``need`` how much, in any unit:
    calls that need far less are asked by themselves. ``refusal`` is what the caller is told when
    its patience ends.
    """

    def __init__(
        self, account: Hashable = MONEY, *, need: int = 0, refusal: CallError | None = None
    ) -> None:
        super().__init__(str(account))
        self.account = account
        self.need = need
        self.refusal = refusal


Also = Callable[[], Any]


@record
class Ask:
    """What one attempt wants. ``need`` is by bucket name; ``path`` is its place among callers,
    ``lane`` is shown to who asks who waits.

    ``wait_until_s`` (monotonic) is the end of its patience; ``check`` raises a ``CallError`` for
    what it cannot go for any more, however long it waits.
    """

    boundary: str
    need: Mapping[str, float]
    path: tuple[Step, ...]
    uid: int
    wait_until_s: float
    check: Callable[[], None] = lambda: None
    job: str | None = None
    lane: str | None = None


@dataclass(slots=True, kw_only=True)
class Permit:
    """Leave to make one attempt. Ends exactly once, by ``Gate.end``.

    ``token`` is what ``also`` gave. ``bucket`` names what was waited for, if anything was;
    ``owners`` are those whose own limits it counts for; ``sent`` is how the boundary stood
    when it was given.
    """

    ask: Ask
    sent: Sent
    token: Any
    queued_s: float
    bucket: str | None
    owners: tuple[Owner, ...] = ()
    ended: bool = False


def too_long(ask: Ask, shortage: Shortage) -> RateLimited:
    """Say that the wait would be, or was, longer than a call may wait."""
    return RateLimited(
        f"{ask.boundary}: the wait for {shortage.bucket} takes {shortage.wait_s:.1f} s, "
        "longer than this call may wait",
        retry_after_s=round(shortage.wait_s, 3),
        bucket=shortage.bucket,
    )


def never_fits(shortage: Shortage) -> RateLimited:
    """Say that no wait is long enough for a call."""
    return RateLimited(
        f"the call needs {shortage.need:g} of {shortage.bucket}, more than the limit of "
        f"{shortage.capacity:g} can ever give: make it smaller",
        retryable=False,
        bucket=shortage.bucket,
        need=shortage.need,
        capacity=shortage.capacity,
    )
