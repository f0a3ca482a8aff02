"""One entry of the account, and for whom it is entered. Pure.

A call is entered when its caller is given an answer or an error (``calls`` is 1), and what it
cost when an attempt is settled (``attempts`` is 1): the two meet under the request's id. So a
call that failed after a paid attempt, or whose caller left, is accounted like any other, and
money is entered exactly where the ledger settles it.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from sutlerd.domain.call import NO_LABELS, Labels
from sutlerd.domain.caller import Caller
from sutlerd.domain.record import quick, record
from sutlerd.domain.usage import UNKNOWN_USAGE
from sutlerd.ledger.records import Ended

#: Names that callers choose are kept so far; what is longer ends in an ellipsis.
MAX_NAME_CHARS: Final = 64

#: What is added up, all of it integers.
FIGURES: Final = (
    "calls",
    "cached",
    "coalesced",
    "attempts",
    "tokens_in",
    "tokens_out",
    "cached_tokens_in",
    "cache_write_tokens_in",
    "reasoning_tokens_out",
    "cost_nanousd",
    "saved_nanousd",
    "unpriced",
    "unknown",
    "waited_ms",
)


class Payer(NamedTuple):
    """Whose account an entry goes to. Only ``uid`` and ``job`` are the kernel's word."""

    uid: int
    job: str | None = None
    component: str | None = None
    project: str | None = None


@record
class UsageRow:
    """What one caller was given, or what one attempt used.

    ``day`` is the budgets' day that it belongs to, as ``YYYY-MM-DD``. ``provider`` and
    ``model`` are those that served, else those that were asked for, and empty for a request
    that was refused before it had a route. ``error`` is the wire's type. ``unpriced`` counts
    attempts whose cost nobody knows, ``unknown`` those whose outcome nobody knows, which were
    charged at their worst case. ``cached`` and ``coalesced`` never hold for one call.
    ``prompt`` is the template it was made from, as ``name@version hash``.
    """

    request_id: str
    unix_s: float
    day: str
    payer: Payer
    provider: str
    model: str
    kind: str
    calls: int = 0
    attempts: int = 0
    cached: int = 0
    coalesced: int = 0
    error: str | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    cached_tokens_in: int = 0
    cache_write_tokens_in: int = 0
    reasoning_tokens_out: int = 0
    cost_nanousd: int = 0
    saved_nanousd: int = 0
    unpriced: int = 0
    unknown: int = 0
    waited_ms: int = 0
    prompt: str | None = None

    def encode(self) -> bytes:
        """Write the row as it is stored; integers of any size."""
        values: list[Any] = [getattr(self, name) for name in _FIELDS]
        return json.dumps([*values, *self.payer, self.prompt], separators=(",", ":")).encode()

    @classmethod
    def decode(cls, stored: bytes) -> UsageRow:
        values = json.loads(stored)
        end = len(_FIELDS) + len(Payer._fields)
        payer = Payer(*values[len(_FIELDS) : end])
        prompt = values[end] if len(values) > end else None
        return cls(payer=payer, prompt=prompt, **dict(zip(_FIELDS, values, strict=False)))


_new_usage_row = quick(UsageRow)


_FIELDS: Final = ("request_id", "unix_s", "day", "provider", "model", "kind", "error", *FIGURES)


def payer_of(caller: Caller, labels: Labels) -> Payer:
    """Tell for whom a call is entered."""
    if labels is NO_LABELS and not caller.job:
        return Payer(caller.uid)
    return Payer(
        caller.uid, bounded(caller.job), bounded(labels.component), bounded(labels.project)
    )


def bounded(name: str | None) -> str | None:
    """Cut a name that somebody chose to what an account keeps of it; empty is none."""
    if not name:
        return None
    if len(name) <= MAX_NAME_CHARS:
        return name
    return name[: MAX_NAME_CHARS - 1] + "…"


def attempt_row(ended: Ended, *, is_priced: bool) -> UsageRow:
    """Tell what an attempt's end means for the accounts, on the day of its reservation.

    What was amended was entered before, at all that was held: only the difference is new.
    """
    held, usage = ended.held, ended.usage or UNKNOWN_USAGE
    was_entered = ended.state == "amended"
    is_unknown = ended.state == "unknown" or ended.why == "charged_in_full"
    return _new_usage_row(
        request_id=held.request_id,
        unix_s=ended.ended_unix_s,
        day=held.day,
        payer=Payer(held.uid, bounded(held.job), bounded(held.component), bounded(held.project)),
        provider=held.provider,
        model=ended.served or held.model,
        kind=held.kind,
        attempts=int(not was_entered),
        # What nobody said counts nothing.
        tokens_in=usage.tokens_in or 0,
        tokens_out=usage.tokens_out or 0,
        cached_tokens_in=usage.cached_tokens_in or 0,
        cache_write_tokens_in=usage.cache_write_tokens_in or 0,
        reasoning_tokens_out=usage.reasoning_tokens_out or 0,
        cost_nanousd=ended.cost_nanousd - (held.amount_nanousd if was_entered else 0),
        unpriced=int(not is_priced),
        unknown=-1 if was_entered else int(is_unknown),
    )
