"""When a budget's money passes a mark, somebody is told: once for each mark, limit and period.

What was told is remembered on the disk, so a restart tells nothing twice; what could not be
delivered before the stop is tried again after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import orjson

from sutlerd.domain.record import record
from sutlerd.ledger.balances import Standing
from sutlerd.ledger.book import Account
from sutlerd.ledger.money import usd_text

ALL_PCT: Final = 100.0
_DIGEST_BYTES: Final = 16


@record
class Alert:
    """A budget of this limit that has passed a mark. ``is_out`` says that calls are refused
    for want of its money."""

    name: str
    account: Account
    limit_nanousd: int
    settled_nanousd: int
    pending_nanousd: int
    mark_pct: float
    is_out: bool
    resets_at: str | None

    @property
    def key(self) -> bytes:
        """Name the crossing: the same mark of a limit that was raised is another."""
        account = self.account
        spelled = orjson.dumps(
            [account.budget, account.subject, account.span, str(self.limit_nanousd), self.mark_pct]
        )
        return hashlib.blake2b(spelled, digest_size=_DIGEST_BYTES).digest()

    @property
    def text(self) -> str:
        what = f"the budget {self.name} ({self.account.subject}, {self.account.span})"
        spent = f"${usd_text(self.settled_nanousd)} of ${usd_text(self.limit_nanousd)}"
        passed = "has no money left for calls" if self.is_out else f"has passed {self.mark_pct:g} %"
        anew = f"It starts anew at {self.resets_at}." if self.resets_at else "It never starts anew."
        held = f", ${usd_text(self.pending_nanousd)} held" if self.pending_nanousd else ""
        return f"{what} {passed}: {spent} spent{held}. {anew}"

    def to_fields(self) -> dict[str, Any]:
        """Give the alert as a log's fields."""
        return {
            "budget": self.name,
            "scope": self.account.subject,
            "span": self.account.span,
            "mark_pct": self.mark_pct,
            "limit_nanousd": self.limit_nanousd,
            "settled_nanousd": self.settled_nanousd,
            "pending_nanousd": self.pending_nanousd,
        }


class Crossings:
    """Which marks have been passed and told; mutable, one per daemon."""

    def __init__(self, told: Iterable[bytes] = ()) -> None:
        self._told = set(told)

    def look(
        self,
        standing: Standing,
        *,
        threshold_pct: float,
        is_short: bool,
        resets_at: str | None,
    ) -> list[Alert]:
        """Give what is to be told of a budget now, and take it for told.

        ``is_short`` says that a call was refused for want of this very money. A budget seldom
        comes out even: one that refuses calls beyond its threshold has as good as ended.
        """
        limit, settled = standing.budget.limit_nanousd, standing.balance.settled_nanousd
        if not settled or settled * 100 < limit * threshold_pct:
            return []
        last = self._alert(standing, ALL_PCT, resets_at)
        if last.key in self._told:
            return []
        is_out = settled >= limit or is_short
        alert = last if is_out else self._alert(standing, threshold_pct, resets_at)
        if alert.key in self._told:
            return []
        self._told.add(alert.key)
        return [alert]

    def _alert(self, standing: Standing, mark_pct: float, resets_at: str | None) -> Alert:
        return Alert(
            name=standing.budget.name,
            account=standing.account,
            limit_nanousd=standing.budget.limit_nanousd,
            settled_nanousd=standing.balance.settled_nanousd,
            pending_nanousd=standing.balance.pending_nanousd,
            mark_pct=mark_pct,
            is_out=mark_pct >= ALL_PCT,
            resets_at=resets_at,
        )


def encode_alert(alert: Alert) -> bytes:
    account = alert.account
    spelled = [account.budget, account.subject, account.span]
    figures = [str(alert.limit_nanousd), str(alert.settled_nanousd), str(alert.pending_nanousd)]
    return orjson.dumps(
        [alert.name, spelled, figures, alert.mark_pct, alert.is_out, alert.resets_at]
    )


def decode_alert(stored: bytes) -> Alert:
    name, (budget, subject, span), figures, mark_pct, is_out, resets_at = orjson.loads(stored)
    limit, settled, pending = (int(figure) for figure in figures)
    return Alert(
        name=name,
        account=Account(budget=budget, subject=subject, span=span),
        limit_nanousd=limit,
        settled_nanousd=settled,
        pending_nanousd=pending,
        mark_pct=mark_pct,
        is_out=is_out,
        resets_at=resets_at,
    )
