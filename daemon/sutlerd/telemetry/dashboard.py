"""A Grafana dashboard, made from the table of metrics. Pure."""

from __future__ import annotations

from typing import Any, Final

from sutlerd.domain.record import record
from sutlerd.telemetry.expressions import GRAFANA_WINDOW as _W
from sutlerd.telemetry.expressions import quantile, rate, series, share

_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_WIDTH, _HEIGHT, _ACROSS = 8, 8, 24


@record
class Panel:
    """``lines`` are ``(expression, legend)``; ``unit`` is Grafana's name of it."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


def dashboard() -> dict[str, Any]:
    """Give the dashboard as Grafana imports it."""
    return {
        "title": "sutler",
        "uid": "sutler",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "label": "Prometheus", "type": "datasource",
                 "query": "prometheus"}
            ]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(_panels())],
    }  # fmt: skip


def expressions() -> list[str]:
    """Give every expression of the dashboard."""
    return [expression for panel in _panels() for expression, _ in panel.lines]


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    across = _ACROSS // _WIDTH
    return {
        "id": number + 1,
        "title": panel.title,
        "type": panel.kind,
        "datasource": _SOURCE,
        "gridPos": {
            "x": number % across * _WIDTH,
            "y": number // across * _HEIGHT,
            "w": _WIDTH,
            "h": _HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend}
            for place, (expression, legend) in enumerate(panel.lines)
        ],
    }


def _panels() -> tuple[Panel, ...]:
    budget = series("sutler_budget_limit_usd")
    spent = f"{series('sutler_budget_settled_usd')} + {series('sutler_budget_pending_usd')}"
    answered = rate("llm_requests", _W, where='status!="error"')
    free = rate("llm_requests", _W, where='status=~"cached|coalesced"')
    return (
        Panel(title="Budget spent", unit="percentunit", kind="gauge",
              lines=((f"({spent}) / {budget}", "{{budget}}"),)),
        Panel(title="Spending", unit="currencyUSD",
              lines=((f"{rate('llm_cost_usd', _W, by='provider, model')} * 3600",
                      "{{provider}}/{{model}} an hour"),)),
        Panel(title="Saved by the cache", unit="currencyUSD",
              lines=((f"{rate('llm_saved_usd', _W)} * 3600", "an hour"),)),
        Panel(title="Calls", unit="reqps",
              lines=((rate("llm_requests", _W, by="status"), "{{status}}"),)),
        Panel(title="Answered for free", unit="percentunit",
              lines=((share(free, answered), "cached or shared"),)),
        Panel(title="Errors", unit="reqps",
              lines=((rate("llm_errors", _W, by="provider, error_type"),
                      "{{provider}} {{error_type}}"),)),
        Panel(title="Time to an answer", unit="s",
              lines=((quantile(0.5, "llm_request_latency_seconds", _W, by="provider"),
                      "{{provider}} half"),
                     (quantile(0.99, "llm_request_latency_seconds", _W, by="provider"),
                      "{{provider}} 99 %"))),
        Panel(title="Time to the first token", unit="s",
              lines=((quantile(0.5, "llm_time_to_first_token_seconds", _W, by="provider"),
                      "{{provider}} half"),)),
        Panel(title="Tokens", unit="short",
              lines=((rate("llm_tokens", _W, by="type"), "{{type}} a second"),)),
        Panel(title="Waiting", unit="short",
              lines=((series("sutler_queue_calls"), "{{lane}}"),)),
        Panel(title="Longest wait", unit="s",
              lines=((series("sutler_queue_oldest_seconds"), "{{lane}}"),
                     (quantile(0.9, "llm_rate_limit_wait_seconds", _W), "90 % of the waits"))),
        Panel(title="Rate limits left", unit="percentunit",
              lines=((f"{series('sutler_bucket_level')} / {series('sutler_bucket_limit')}",
                      "{{boundary}} {{bucket}}"),)),
        Panel(title="Attempts under way", unit="short",
              lines=((series("llm_active_requests"), "{{provider}}"),
                     (series("sutler_reservations_open"), "reservations"))),
        Panel(title="Circuits", unit="short",
              lines=((series("sutler_circuit_state"), "{{route}}: 0 closed, 2 open"),)),
        Panel(title="The daemon", unit="s",
              lines=((series("sutler_loop_lag_seconds"), "loop lag"),
                     (series("sutler_loop_longest_stall_seconds"), "longest stall"))),
    )  # fmt: skip
