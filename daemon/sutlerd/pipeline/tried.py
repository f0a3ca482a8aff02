"""What is noted of every attempt while a call is under way, for who tells of it at the end."""

from __future__ import annotations

from sutlerd.domain.call import Route
from sutlerd.domain.record import record
from sutlerd.domain.reply import Embedded, Reply

ANSWERED = "ok"


@record
class Tried:
    """One attempt, or a route that was passed over because it had no room or no money.

    Times are monotonic seconds. ``asked_s`` is when it came to the gate, ``sent_s`` when it
    went to the provider, ``None`` if it never did; ``heard_s`` is a stream's first piece.
    ``outcome`` is ``ok``, the kind of the failure, or why it was not sent.
    """

    route: Route
    outcome: str
    asked_s: float
    ended_s: float
    sent_s: float | None = None
    heard_s: float | None = None
    status: int | None = None
    brought: Reply | Embedded | None = None
    cost_nanousd: int | None = None

    @property
    def queued_s(self) -> float:
        """Give how long it waited for its turn."""
        return (self.ended_s if self.sent_s is None else self.sent_s) - self.asked_s
