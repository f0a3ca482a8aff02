"""What a caller is told when there is no money, or nowhere to write down that there is. Pure."""

from __future__ import annotations

from sutlerd.domain.errors import BudgetExceeded, LedgerUnavailable, Overloaded
from sutlerd.ledger.book import Short
from sutlerd.ledger.budgets import Budgets
from sutlerd.ledger.money import usd_text
from sutlerd.ledger.store import LedgerStore, Standing


def exceeded(short: Short, budgets: Budgets, now_unix_s: float) -> BudgetExceeded:
    """Say which budget is short, by how much, and when it starts anew."""
    budget = budgets.named(short.account, short.limit_nanousd)
    name = budget.name if budget is not None else short.account.budget
    resets_at = budgets.resets_at(short.account, now_unix_s)
    limit, settled = short.limit_nanousd, short.balance.settled_nanousd
    pending, needed = short.balance.pending_nanousd, short.needed_nanousd
    return BudgetExceeded(
        f"the budget {name} ({short.account.subject}) of ${usd_text(limit)} has "
        f"${usd_text(settled)} spent and ${usd_text(pending)} held for calls under way; "
        f"this call may need ${usd_text(needed)}. "
        + (f"It starts anew at {resets_at}" if resets_at else "It never starts anew"),
        budget=name,
        scope=short.account.subject,
        limit_nanousd=limit,
        settled_nanousd=settled,
        pending_nanousd=pending,
        needed_nanousd=needed,
        resets_at=resets_at,
    )


def unavailable(store: LedgerStore, why: str = "") -> LedgerUnavailable:
    """Say why nothing that costs money can be begun, and what to do."""
    if store.standing is Standing.FULL:
        return LedgerUnavailable(
            f"the disk under {store.folder} is full: calls that cost money wait for room "
            "there; cached answers and free models go on"
        )
    return LedgerUnavailable(
        f"the ledger in {store.folder} cannot be written ({store.why_failed or why}): calls "
        "that cost money wait for a restart of sutlerd; cached answers and free models go on"
    )


def behind() -> Overloaded:
    return Overloaded("the ledger's disk does not follow: ask again", retry_after_s=1.0)
