"""Expressions over the metrics, for the dashboard and the alert rules. Pure.

Every name goes through the table of metrics: what is not there cannot be asked for.
"""

from __future__ import annotations

from sutlerd.telemetry.metrics import METRICS, Kind

#: What a rate looks back over; Grafana's own variable follows its zoom.
GRAFANA_WINDOW = "$__rate_interval"


def series(name: str) -> str:
    """Give the name of a metric's series. Raises ``KeyError`` for one that is not there."""
    return METRICS[name].series


def rate(name: str, window: str, *, by: str = "", where: str = "") -> str:
    """How much a counter grows in a second, summed over all labels but ``by``."""
    assert METRICS[name].kind is Kind.COUNTER
    return f"sum{_by(by)}(rate({series(name)}{_where(where)}[{window}]))"


def increase(name: str, window: str, *, by: str = "", where: str = "") -> str:
    assert METRICS[name].kind is Kind.COUNTER
    return f"sum{_by(by)}(increase({series(name)}{_where(where)}[{window}]))"


def quantile(part: float, name: str, window: str, *, by: str = "") -> str:
    """Give the value that this part of a histogram's observations is at most."""
    assert METRICS[name].kind is Kind.HISTOGRAM
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({part}, sum by ({labels}) (rate({name}_bucket[{window}])))"


def share(part: str, whole: str) -> str:
    """Give one expression's part of another, 0 where there is nothing of either."""
    return f"({part}) / clamp_min({whole}, 1e-9)"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""


def _where(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""
