"""Each alert fires when it should, and only then: promtool runs the rules over made up series."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml

from sutlerd.telemetry.alert_rules import alert_rules
from sutlerd.telemetry.expressions import series

MINUTES: Final = 20
_BUDGET: Final = '{budget="daily",scope="all"}'


class Case(NamedTuple):
    """Values a minute, by the metric and its labels, as promtool writes them (``start+stepxN``);
    ``at`` is the minute that is looked at, ``labels`` are those of the alert, ``None`` if it
    is silent."""

    alert: str
    values: dict[tuple[str, str], str]
    labels: dict[str, str] | None
    at: int = MINUTES


def budget(*, settled: float, pending: float) -> dict[tuple[str, str], str]:
    return {
        ("sutler_budget_limit_usd", _BUDGET): "10x20",
        ("sutler_budget_settled_usd", _BUDGET): f"{settled}x20",
        ("sutler_budget_pending_usd", _BUDGET): f"{pending}x20",
    }


def calls(*, failing: int) -> dict[tuple[str, str], str]:
    return {
        ("llm_requests", '{provider="p",model="m",status="ok"}'): f"0+{100 - failing}x20",
        ("llm_requests", '{provider="p",model="m",status="error"}'): f"0+{failing}x20",
        ("llm_requests", '{provider="q",model="m",status="ok"}'): "0+10x20",
    }


def money_refused(values: str) -> dict[tuple[str, str], str]:
    return {
        ("llm_errors", '{provider="p",error_type="budget_exceeded"}'): values,
        ("llm_errors", '{provider="p",error_type="timeout"}'): "0+1x20",
    }


def alone(metric: str, values: str, labels: str = "") -> dict[tuple[str, str], str]:
    return {(metric, labels): values}


_OF_BUDGET: Final = {"budget": "daily", "scope": "all"}
_OF_ROUTE: Final = {"route": "p/m"}
_CIRCUIT: Final = ("sutler_circuit_state", '{route="p/m"}')
_INTERACTIVE: Final = ("sutler_queue_oldest_seconds", '{lane="interactive"}')
_NORMAL: Final = ("sutler_queue_oldest_seconds", '{lane="normal"}')

CASES: Final = (
    Case("SutlerBudgetNearlySpent", budget(settled=8, pending=1.5), _OF_BUDGET),
    Case("SutlerBudgetNearlySpent", budget(settled=8, pending=0.5), None),
    Case("SutlerBudgetSpent", budget(settled=10, pending=0), _OF_BUDGET, at=0),
    Case("SutlerBudgetSpent", budget(settled=9, pending=1), None),
    Case("SutlerRefusedForMoney", money_refused("0x10 1x10"), {"provider": "p"}, at=12),
    Case("SutlerRefusedForMoney", money_refused("0x10 1x10"), None, at=18),
    Case("SutlerUnknownOutcomes", alone("sutler_unknown_outcomes", "1x20"), {}),
    Case("SutlerUnknownOutcomes", alone("sutler_unknown_outcomes", "1x20"), None, at=4),
    Case("SutlerUnknownOutcomes", alone("sutler_unknown_outcomes", "0x20"), None),
    Case("SutlerOverrun", alone("sutler_overruns", "0x15 1x5"), {}, at=17),
    Case("SutlerOverrun", alone("sutler_overruns", "2x20"), None),
    Case("SutlerGone", alone("sutler_build_info", "1x5 stale", '{version="1"}'), {}),
    Case("SutlerGone", alone("sutler_build_info", "1x20", '{version="1"}'), None),
    Case("SutlerManyErrors", calls(failing=30), {"provider": "p"}),
    Case("SutlerManyErrors", calls(failing=30), None, at=4),
    Case("SutlerManyErrors", calls(failing=10), None),
    Case("SutlerCircuitOpen", {_CIRCUIT: "0x3 2x17"}, _OF_ROUTE),
    # At some scrapes a probe is under way.
    Case("SutlerCircuitOpen", {_CIRCUIT: "2 2 1 2 1 1 2 2 1 2 2 1 2 1 1 2 2 1 2 2 1"}, _OF_ROUTE),
    Case("SutlerCircuitOpen", {_CIRCUIT: "2 2 1 2 0 2 2 2 2 0 2 2 2 2 0 2 2 2 2 0 2"}, None),
    Case("SutlerLongQueue", {_INTERACTIVE: "5x20", _NORMAL: "0+60x20"}, {"lane": "normal"}),
    Case("SutlerLongQueue", {_INTERACTIVE: "5x20", _NORMAL: "299x20"}, None),
    Case("SutlerLoopStalls", alone("sutler_loop_stalls", "0x18 1x2"), {}),
    Case("SutlerLoopStalls", alone("sutler_loop_stalls", "3x20"), None),
)


def as_test(case: Case, rules: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Give promtool's test of a case."""
    firing = []
    if case.labels is not None:
        rule = rules[case.alert]
        summary = rule["annotations"]["summary"]
        for name, value in case.labels.items():
            summary = summary.replace(f"{{{{ $labels.{name} }}}}", value)
        firing.append(
            {
                "exp_labels": {**case.labels, **rule["labels"]},
                "exp_annotations": {**rule["annotations"], "summary": summary},
            }
        )
    return {
        "name": f"{case.alert} at {case.at}",
        "interval": "1m",
        "input_series": [
            {"series": series(metric) + labels, "values": values}
            for (metric, labels), values in case.values.items()
        ],
        "alert_rule_test": [
            {"eval_time": f"{case.at}m", "alertname": case.alert, "exp_alerts": firing}
        ],
    }


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    names = {rule["alert"] for rule in alert_rules()["groups"][0]["rules"]}
    assert {case.alert for case in CASES if case.labels is not None} == names
    assert {case.alert for case in CASES if case.labels is None} == names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    made = alert_rules()
    rules = {rule["alert"]: rule for rule in made["groups"][0]["rules"]}
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(made))
    tests = {
        "rule_files": ["alerts.yaml"],
        "evaluation_interval": "1m",
        "tests": [as_test(case, rules) for case in CASES],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests))
    ran = subprocess.run(
        ["promtool", "test", "rules", "tests.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
