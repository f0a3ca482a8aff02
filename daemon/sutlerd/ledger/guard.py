"""Which requests may have been paid for when the daemon died: asking again under their ids is
refused for a day, however often the daemon is started in between. Pure.

What a crash left open, or found just paid, stands in the records. A note of each crash says
where among them, so that every later start finds it again. Requests that share an attempt of
somebody else's, under ids of their own, are written beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sutlerd.domain.record import record
from sutlerd.ledger.records import Ended, Held

#: How long a request's id answers that its outcome is unknown.
UNKNOWN_ID_S: Final = 24 * 3600.0
#: An attempt's end is on disk before its answer is, by less than this.
LATE_S: Final = 60.0
#: Notes that are kept; of more, the oldest are made one.
MAX_CRASHES: Final = 1000

#: The requests, by uid and id, that share an attempt, by its number.
Shared = Mapping[int, Sequence[tuple[int, str]]]


@record
class Crash:
    """The attempts from ``first`` to ``last`` that ended at ``since_unix_s`` or later."""

    first: int
    last: int
    since_unix_s: float
    unix_s: float

    def doubts(self, ended: Ended) -> bool:
        """Tell whether a record is of an attempt whose answer this crash may have lost."""
        in_range = self.first <= ended.held.attempt <= self.last
        return in_range and ended.ended_unix_s >= self.since_unix_s and may_be_lost(ended)

    def to_note(self) -> list[Any]:
        return [self.first, self.last, self.since_unix_s, self.unix_s]

    @staticmethod
    def from_note(note: Sequence[Any]) -> Crash:
        first, last, since_unix_s, unix_s = note
        return Crash(first=first, last=last, since_unix_s=since_unix_s, unix_s=unix_s)


def may_be_lost(ended: Ended) -> bool:
    """Tell whether an attempt was paid for, or may have been, and may have had an answer."""
    if ended.state == "settled":
        return ended.cost_nanousd > 0 and ended.why != "charged_in_full"
    return True


def charged_in_full(held: Held, unix_s: float) -> Ended:
    """Say of an attempt that was under way how it ended: nobody knows, and at its worst."""
    return Ended(
        held=held,
        state="unknown",
        cost_nanousd=held.amount_nanousd,
        ended_unix_s=unix_s,
        why="crash",
    )


def with_crash(known: Iterable[Crash], lost: Sequence[Ended], unix_s: float) -> list[Crash]:
    """Give the notes to be kept after a crash that may have lost the answers of ``lost``."""
    kept = [each for each in known if unix_s - each.unix_s < UNKNOWN_ID_S]
    if lost:
        attempts = [each.held.attempt for each in lost]
        since_unix_s = min(each.ended_unix_s for each in lost)
        new = Crash(
            first=min(attempts), last=max(attempts), since_unix_s=since_unix_s, unix_s=unix_s
        )
        kept = _merged([*kept, new])
    while len(kept) > MAX_CRASHES:
        kept[:2] = [_both(kept[0], kept[1])]
    return kept


def _merged(crashes: list[Crash]) -> list[Crash]:
    merged: list[Crash] = []
    for each in sorted(crashes, key=lambda crash: crash.first):
        if merged and each.first <= merged[-1].last:
            merged[-1] = _both(merged[-1], each)
        else:
            merged.append(each)
    return merged


def _both(one: Crash, other: Crash) -> Crash:
    return replace(
        one,
        last=max(one.last, other.last),
        since_unix_s=min(one.since_unix_s, other.since_unix_s),
        unix_s=max(one.unix_s, other.unix_s),
    )


class Guard:
    """The ids in memory, and which attempts are shared; mutable, one per ledger."""

    def __init__(self) -> None:
        self._ids: dict[tuple[int, str], float] = {}
        self._sharing: dict[int, float | None] = {}

    def doubt(self, lost: Iterable[Ended], shared: Shared) -> None:
        """Refuse from now on who asks again for what these attempts may have answered."""
        for ended in lost:
            held = ended.held
            if held.given_id:
                self._ids[held.uid, held.request_id] = ended.ended_unix_s
            for name in shared.get(held.attempt, ()):
                self._ids[name] = ended.ended_unix_s

    def is_in_doubt(self, uid: int, request_id: str, now_unix_s: float) -> bool:
        since_unix_s = self._ids.get((uid, request_id))
        return since_unix_s is not None and now_unix_s - since_unix_s < UNKNOWN_ID_S

    def forget(self, now_unix_s: float) -> None:
        """Drop the ids that are no longer refused."""
        for name in [n for n, since in self._ids.items() if now_unix_s - since >= UNKNOWN_ID_S]:
            del self._ids[name]

    def shares(self, attempt: int) -> None:
        """Note that requests beside the payer's stand with an attempt on the disk."""
        self._sharing[attempt] = None

    def ended(self, attempt: int, now_unix_s: float) -> None:
        if attempt in self._sharing:
            self._sharing[attempt] = now_unix_s

    def surely_answered(self, now_unix_s: float) -> list[int]:
        """Give, once, the attempts whose sharers need stand there no longer."""
        found = [
            attempt
            for attempt, ended in self._sharing.items()
            if ended is not None and now_unix_s - ended > LATE_S
        ]
        for attempt in found:
            del self._sharing[attempt]
        return found
