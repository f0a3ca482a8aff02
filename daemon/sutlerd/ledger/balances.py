"""How every budget stands: what is spent and held, and when it ends at the pace of now. Pure
but for the ledger that is asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from sutlerd.domain.caller import Caller
from sutlerd.domain.record import record
from sutlerd.ledger.book import Account, Balance
from sutlerd.ledger.budgets import Budget
from sutlerd.ledger.ledger import Ledger

#: The pace is that of the last hour, or of the budget's period so far where that is shorter.
_PACE_S: Final = 3600.0
_SAMPLED_EVERY_S: Final = 60.0
_SAMPLES: Final = 60


@record
class Standing:
    """One budget's money of one subject now."""

    budget: Budget
    account: Account
    balance: Balance

    @property
    def taken_nanousd(self) -> int:
        return self.balance.settled_nanousd + self.balance.pending_nanousd


def standings(ledger: Ledger) -> Iterator[Standing]:
    """Give every budget's accounts of now; one that nobody has touched yet stands at nothing."""
    now_unix_s = ledger.now_unix_s()
    by_kind: dict[tuple[str, str], list[Account]] = {}
    for account in ledger.book.accounts():
        by_kind.setdefault((account.budget, account.span), []).append(account)
    for budget in ledger.budgets.listed:
        span = ledger.budgets.span(budget.period, now_unix_s).key
        known = by_kind.get((budget.kind, span), [])
        accounts = [each for each in known if is_for(budget, each.subject)]
        subject = "node" if budget.per == "node" else budget.match
        if not accounts and subject is not None:
            accounts = [Account(budget=budget.kind, subject=subject, span=span)]
        for account in accounts:
            yield Standing(budget=budget, account=account, balance=ledger.book.balance(account))


def is_for(budget: Budget, subject: str) -> bool:
    """Tell whether an account of this subject is a budget's: its own, or each one's."""
    return budget.match is None or subject in (budget.match, _label_of(subject, budget.match))


def is_of_all(subject: str) -> bool:
    """Tell whether a subject is nobody's in particular, and one of few."""
    return subject.startswith(("node", "provider:", "model:", "component:", "project:"))


def is_visible(subject: str, caller: Caller) -> bool:
    """Tell whether a caller may see how a subject stands: the node's and the models' money is
    everybody's to know, another user's is not."""
    if caller.may_operate or is_of_all(subject):
        return True
    mine = f"uid:{caller.uid}"
    if subject == mine or subject.startswith(f"{mine}/"):
        return True
    if subject.startswith("gid:"):
        return subject in {f"gid:{gid}" for gid in caller.groups | {caller.gid}}
    return caller.job is not None and subject == f"job:{caller.job}"


class Paces:
    """How fast each account's money goes, from looks at it about every minute."""

    def __init__(self) -> None:
        self._seen: dict[Account, deque[tuple[float, int]]] = {}

    def look(self, account: Account, now_unix_s: float, settled_nanousd: int) -> None:
        seen = self._seen.setdefault(account, deque(maxlen=_SAMPLES))
        if not seen or now_unix_s - seen[-1][0] >= _SAMPLED_EVERY_S:
            seen.append((now_unix_s, settled_nanousd))

    def keep_only(self, accounts: set[Account]) -> None:
        for account in self._seen.keys() - accounts:
            del self._seen[account]

    def nanousd_per_s(self, account: Account, now_unix_s: float, settled_nanousd: int) -> float:
        """Give the pace since the oldest look of the last hour, 0 where there was none."""
        for seen_unix_s, then_nanousd in self._seen.get(account, ()):
            passed_s = now_unix_s - seen_unix_s
            if _SAMPLED_EVERY_S <= passed_s <= _PACE_S + _SAMPLED_EVERY_S:
                return max(0, settled_nanousd - then_nanousd) / passed_s
        return 0.0


def shown(standing: Standing, ledger: Ledger, paces: Paces) -> dict[str, Any]:
    """Give a standing as callers see it. ``ends_at`` is when its money ends at this pace, if
    that is before it starts anew."""
    now_unix_s = ledger.now_unix_s()
    budget, account, balance = standing.budget, standing.account, standing.balance
    return {
        "name": budget.name,
        "scope": account.subject,
        "period": budget.period.value,
        "limit_nanousd": budget.limit_nanousd,
        "settled_nanousd": balance.settled_nanousd,
        "pending_nanousd": balance.pending_nanousd,
        "resets_at": ledger.budgets.resets_at(account, now_unix_s),
        "ends_at": _ends_at(standing, ledger, paces, now_unix_s),
    }


def _ends_at(standing: Standing, ledger: Ledger, paces: Paces, now_unix_s: float) -> str | None:
    budget, settled = standing.budget, standing.balance.settled_nanousd
    left = budget.limit_nanousd - settled
    pace = paces.nanousd_per_s(standing.account, now_unix_s, settled)
    if not pace or left <= 0:
        return None
    ends_unix_s = now_unix_s + left / pace
    span = ledger.budgets.span(budget.period, now_unix_s)
    if ends_unix_s >= (span.ends_unix_s or now_unix_s + 366 * 86_400):
        return None
    return datetime.fromtimestamp(ends_unix_s, ledger.budgets.zone).isoformat(timespec="seconds")


def _label_of(subject: str, match: str) -> str:
    """Spell a label's account of the same user: labels are counted for each user apart."""
    return subject.partition("/")[0] + "/" + match
