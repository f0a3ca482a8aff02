"""Prometheus' alert rules for a daemon, made from the table of metrics. Pure."""

from __future__ import annotations

from typing import Any, Final

from sutlerd.domain.record import record
from sutlerd.telemetry.expressions import increase, rate, series, share

_WINDOW: Final = "5m"


@record
class Rule:
    """``for_`` is how long it must hold; ``summary`` may name labels as ``{{ $labels.x }}``."""

    alert: str
    expr: str
    for_: str
    severity: str
    summary: str
    mend: str

    def to_rule(self) -> dict[str, Any]:
        return {
            "alert": self.alert,
            "expr": self.expr,
            "for": self.for_,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.mend},
        }


def alert_rules() -> dict[str, Any]:
    """Give the rule file's content."""
    rules = (*_of_money(), *_of_service())
    return {"groups": [{"name": "sutler", "rules": [rule.to_rule() for rule in rules]}]}


def _of_money() -> tuple[Rule, ...]:
    spent = f"{series('sutler_budget_settled_usd')} + {series('sutler_budget_pending_usd')}"
    refused = increase("llm_errors", _WINDOW, by="provider", where='error_type="budget_exceeded"')
    return (
        Rule(
            alert="SutlerBudgetNearlySpent",
            expr=f"({spent}) / {series('sutler_budget_limit_usd')} > 0.9",
            for_="1m",
            severity="warning",
            summary="Budget {{ $labels.budget }} is over 90 % spent",
            mend="See who spends it with: sutler usage --by project",
        ),
        Rule(
            alert="SutlerBudgetSpent",
            expr=f"{series('sutler_budget_settled_usd')} >= {series('sutler_budget_limit_usd')}",
            for_="0m",
            severity="critical",
            summary="Budget {{ $labels.budget }} is spent: paid calls are refused",
            mend="Wait for its next period, or raise the limit and run: sutler reload",
        ),
        # What is left of a budget may be too little for a call long before nothing is left.
        Rule(
            alert="SutlerRefusedForMoney",
            expr=f"{refused} > 0",
            for_="0m",
            severity="critical",
            summary="Calls for {{ $labels.provider }} are refused: a budget has no room for them",
            mend="See which with: sutler budget, and raise it with: sutler reload",
        ),
        Rule(
            alert="SutlerUnknownOutcomes",
            expr=f"{series('sutler_unknown_outcomes')} > 0",
            for_="5m",
            severity="warning",
            summary="Attempts were lost in a crash and are charged in full",
            mend="List them with: sutler budget --unknown",
        ),
        Rule(
            alert="SutlerOverrun",
            expr=f"{increase('sutler_overruns', _WINDOW)} > 0",
            for_="0m",
            severity="warning",
            summary="A provider billed more than the worst case of an attempt",
            mend="The log says which model and how much: overrun",
        ),
    )


def _of_service() -> tuple[Rule, ...]:
    failed = rate("llm_requests", _WINDOW, by="provider", where='status="error"')
    asked = rate("llm_requests", _WINDOW, by="provider")
    return (
        Rule(
            alert="SutlerGone",
            expr=f"absent({series('sutler_build_info')})",
            for_="2m",
            severity="critical",
            summary="No daemon tells how it is",
            mend="See whether it runs: systemctl status sutlerd, and whether its token is valid",
        ),
        Rule(
            alert="SutlerManyErrors",
            expr=f"{share(failed, asked)} > 0.2",
            for_="5m",
            severity="warning",
            summary="A fifth of the calls for {{ $labels.provider }} fail",
            mend="See why with: sutler status, and try: sutler providers check",
        ),
        Rule(
            alert="SutlerCircuitOpen",
            # Half open it is not closed either: a probe may be under way at every scrape.
            expr=f"{series('sutler_circuit_state')} > 0",
            for_="5m",
            severity="warning",
            summary="{{ $labels.route }} is not asked any more",
            mend="Try it with: sutler providers check",
        ),
        Rule(
            alert="SutlerLongQueue",
            expr=f"max by (lane) ({series('sutler_queue_oldest_seconds')}) > 300",
            for_="5m",
            severity="warning",
            summary="Calls in lane {{ $labels.lane }} wait for more than five minutes",
            mend="See who waits for what with: sutler queue",
        ),
        Rule(
            alert="SutlerLoopStalls",
            expr=f"{increase('sutler_loop_stalls', _WINDOW)} > 0",
            for_="0m",
            severity="warning",
            summary="The daemon stood still",
            mend="The log has the stack: loop_stalled",
        ),
    )
