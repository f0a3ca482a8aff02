"""What callers may see of budgets: the node's money, and their own; operators see all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import InvalidParams
from sutlerd.ledger.balances import is_visible
from sutlerd.pipeline.budget_views import BudgetViews
from tests.support.kept_accounts import Kept, keep_accounts_in
from tests.support.ledgers import caller, reserved, spend
from tests.support.virtual_clock import VirtualClock

USD = 10**9
RULES = [
    {"name": "each", "per": "uid", "limit_usd": 1},
    {"name": "large", "per": "model", "match": "large", "limit_usd": 2},
]


async def spent(kept: Kept, uid: int, cost_nanousd: int) -> None:
    reservation = reserved(kept.ledger.try_reserve(spend(cost_nanousd, caller=caller(uid))))
    await reservation.on_disk()
    reservation.settle(cost_nanousd)


def scopes(views: BudgetViews, asker: Caller) -> dict[str, int]:
    rows: list[dict[str, Any]] = views.budgets(asker)["budgets"]
    return {row["scope"]: row["settled_nanousd"] for row in rows}


async def test_users_see_the_node_and_themselves_and_operators_everyone(tmp_path: Path) -> None:
    async with keep_accounts_in(tmp_path, VirtualClock(), daily_limit_usd=10, rules=RULES) as kept:
        await spent(kept, 1, USD // 10)
        await spent(kept, 2, USD // 5)
        views = BudgetViews(ledger=kept.ledger, alarm=kept.treasury.alarm)
        whole = 3 * USD // 10
        assert scopes(views, caller(1)) == {
            "node": whole,
            "uid:1": USD // 10,
            "model:large": whole,
        }
        assert scopes(views, caller(3)) == {"node": whole, "model:large": whole}
        assert {"uid:1", "uid:2"} <= scopes(views, caller(0, may_operate=True)).keys()
        with pytest.raises(InvalidParams, match="no attempt 9"):
            await views.amend(9, 0, "a guess")


@pytest.mark.parametrize(
    ("subject", "seen"),
    [
        ("node", True),
        ("provider:acme", True),
        ("uid:10", True),
        ("uid:10/project:x", True),
        ("uid:100", False),
        ("uid:1", False),
        ("uid:100/component:uid:10", False),
        ("gid:20", True),
        ("gid:21", True),
        ("gid:2", False),
        ("job:7", True),
        ("job:77", False),
    ],
)
def test_what_is_visible_is_judged_by_the_whole_subject(subject: str, seen: bool) -> None:
    asker = Caller(uid=10, gid=20, pid=1, groups=frozenset({21}), job="7")
    assert is_visible(subject, asker) is seen


async def test_the_end_of_the_money_is_foreseen_by_the_pace_of_the_last_hour(
    tmp_path: Path,
) -> None:
    clock = VirtualClock(unix_s=1_800_000_000 - 1_800_000_000 % 86_400)
    async with keep_accounts_in(tmp_path, clock, daily_limit_usd=1) as kept:
        views = BudgetViews(ledger=kept.ledger, alarm=kept.treasury.alarm)
        for _ in range(10):
            kept.treasury.alarm.look()
            clock.advance(60)
            await spent(kept, 1, USD // 100)
        (row,) = views.budgets(caller(1))["budgets"]
        # A hundredth a minute: what is left lasts 90 minutes from the tenth.
        assert row["ends_at"].endswith("T01:40:00+00:00")
        clock.advance(3 * 3600)
        (row,) = views.budgets(caller(1))["budgets"]
        assert row["ends_at"] is None
