"""From rules to the accounts that a call touches."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from sutlerd.config.schema_llm import BudgetConfig
from sutlerd.domain.call import Labels, Route
from sutlerd.ledger.budgets import MAX_LABELS_PER_UID, UNLIMITED_NANOUSD, Budgets, Spender
from sutlerd.system.exits import CannotStart
from tests.support.ledgers import caller

NOW = 1_800_000_000.0
USD = 10**9


def budgets(*rules: dict[str, Any], **budget: Any) -> Budgets:
    return Budgets(BudgetConfig.model_validate({"rules": rules, **budget}))


def spender(labels: Labels | None = None, model: str = "m", **who: Any) -> Spender:
    return Spender(
        caller=caller(**who),
        labels=labels or Labels(),
        route=Route(provider="acme", model=model),
    )


def touched(made: Budgets, by: Spender) -> dict[str, int]:
    """Give the limits of what is limited, by subject."""
    found = made.touched(by, NOW)
    return {
        each.account.subject: each.limit_nanousd
        for each in found
        if each.limit_nanousd != UNLIMITED_NANOUSD
    }


def test_the_node_is_always_counted_by_day_month_and_in_all() -> None:
    found = budgets().touched(spender(), NOW)
    assert [each.account.span for each in found] == ["2027-01-15", "2027-01", "total"]
    assert {each.limit_nanousd for each in found} == {UNLIMITED_NANOUSD}


@pytest.mark.parametrize(
    ("rule", "by", "subject"),
    [
        ({"per": "node"}, spender(), "node"),
        ({"per": "provider"}, spender(), "provider:acme"),
        ({"per": "provider", "match": "other"}, spender(), None),
        ({"per": "model", "match": "vendor/m"}, spender(model="vendor/m"), "model:vendor/m"),
        ({"per": "model", "match": "m"}, spender(model="vendor/m"), None),
        ({"per": "uid"}, spender(uid=7), "uid:7"),
        ({"per": "uid", "match": 7}, spender(uid=7), "uid:7"),
        ({"per": "uid", "match": 7}, spender(uid=8), None),
        ({"per": "group"}, spender(gid=3, groups=frozenset({3, 4})), "gid:3"),
        ({"per": "group", "match": 4}, spender(gid=3, groups=frozenset({4})), "gid:4"),
        ({"per": "job"}, spender(job="12"), "job:12"),
        ({"per": "job"}, spender(), "uid:1000/no job"),
        ({"per": "project"}, spender(Labels(project="a/b")), "uid:1000/project:a/b"),
        ({"per": "project"}, spender(), "uid:1000/project:"),
        (
            {"per": "component", "match": "c"},
            spender(Labels(component="c")),
            "uid:1000/component:c",
        ),
        ({"per": "component", "match": "c"}, spender(Labels(component="x/component:c")), None),
    ],
)
def test_a_rule_is_for_whom_it_says(rule: dict[str, Any], by: Spender, subject: str | None) -> None:
    made = budgets({**rule, "limit_usd": Decimal(1)})
    assert touched(made, by) == ({} if subject is None else {subject: USD})
    for each in made.touched(by, NOW):
        if each.limit_nanousd == USD:
            named = made.named(each.account, each.limit_nanousd)
            assert named is not None
            assert named.per == rule["per"]


def test_of_several_limits_on_one_account_the_lowest_holds() -> None:
    made = budgets(
        {"per": "uid", "limit_usd": Decimal(3)},
        {"name": "low", "per": "uid", "match": 7, "limit_usd": Decimal(2)},
        daily_limit_usd=Decimal(10),
        share=Fraction(1, 3),
    )
    assert touched(made, spender(uid=7)) == {"node": 3_333_333_333, "uid:7": 666_666_666}
    assert touched(made, spender(uid=8)) == {"node": 3_333_333_333, "uid:8": USD}


def test_invented_labels_are_bounded() -> None:
    made = budgets({"per": "project", "limit_usd": Decimal(1)})
    names = {
        name
        for number in range(MAX_LABELS_PER_UID + 50)
        for name in touched(made, spender(Labels(project=f"p{number}")))
    }
    assert len(names) == MAX_LABELS_PER_UID + 1
    assert touched(made, spender(Labels(project="p0"))) == {"uid:1000/project:p0": USD}


def test_a_label_is_each_users_unless_a_rule_counts_it_across_all() -> None:
    rule = {"per": "project", "match": "apollo", "limit_usd": Decimal(1)}
    apollo = Labels(project="apollo")
    each = budgets(rule)
    assert touched(each, spender(apollo, uid=7)) == {"uid:7/project:apollo": USD}
    assert touched(each, spender(apollo, uid=8)) == {"uid:8/project:apollo": USD}
    both = budgets(rule, {**rule, "limit_usd": Decimal(3), "across_users": True, "name": "sum"})
    for uid in (7, 8):
        found = touched(both, spender(apollo, uid=uid))
        assert found == {f"uid:{uid}/project:apollo": USD, "project:apollo": 3 * USD}
    assert touched(both, spender(Labels(project="gemini"))) == {}
    (of_all,) = [t for t in both.touched(spender(apollo), NOW) if t.limit_nanousd == 3 * USD]
    named = both.named(of_all.account, of_all.limit_nanousd)
    assert named is not None
    assert named.name == "sum"
    for wrong in ({"match": None}, {"per": "uid", "match": 7}):
        with pytest.raises(CannotStart, match="across_users"):
            budgets({**rule, "across_users": True, **wrong})


def test_a_user_whom_nobody_knows_stops_the_start() -> None:
    with pytest.raises(CannotStart, match="nobody-at-all"):
        budgets({"per": "uid", "match": "nobody-at-all", "limit_usd": Decimal(1)})
