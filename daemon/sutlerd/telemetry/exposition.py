"""From counts and readings to the text that Prometheus reads.

In two steps: ``collect`` copies all values at one moment, on the event loop whose they are;
``render`` writes them, in a thread, because a large text takes milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sutlerd.domain.record import record
from sutlerd.telemetry.meter import Histogram, Meter
from sutlerd.telemetry.metrics import METRICS, Kind, Metric
from sutlerd.telemetry.readings import Readings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client.metrics_core import Metric as Family

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@record
class Sample:
    """``buckets`` are a histogram's cumulative counts, whose sum ``value`` then is."""

    labels: tuple[str, ...]
    value: float
    buckets: list[tuple[float, int]] | None = None


Collected = list[tuple[Metric, list[Sample]]]


def collect(meter: Meter, readings: Readings) -> Collected:
    """Copy the value of every metric."""
    return [
        (metric, [_sample(labels, value) for labels, value in metric.read(meter, readings)])
        for metric in METRICS.values()
    ]


def render(collected: Collected) -> bytes:
    """Write Prometheus' text format. The first call imports its library."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Now:
        def collect(self) -> Iterator[Family]:
            return (_family(metric, samples) for metric, samples in collected)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(cast("Any", Now()))
    return generate_latest(registry)


def _sample(labels: tuple[str, ...], value: float | Histogram) -> Sample:
    if isinstance(value, Histogram):
        return Sample(labels=labels, value=value.sum, buckets=value.cumulative())
    return Sample(labels=labels, value=float(value))


def _family(metric: Metric, samples: Sequence[Sample]) -> Family:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    families = {
        Kind.COUNTER: CounterMetricFamily,
        Kind.GAUGE: GaugeMetricFamily,
        Kind.HISTOGRAM: HistogramMetricFamily,
    }
    family: Any = families[metric.kind](metric.name, metric.help, labels=metric.labels)
    for sample in samples:
        if sample.buckets is None:
            family.add_metric(sample.labels, sample.value)
        else:
            buckets = [(_bound(bound), count) for bound, count in sample.buckets]
            family.add_metric(sample.labels, buckets=buckets, sum_value=sample.value)
    return cast("Family", family)


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(float(bound))
