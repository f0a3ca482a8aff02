"""The table of all metrics: name, kind, labels, what it means, and where its values come from.

The exposition, the dashboard and the alert rules are built from this table, so that none of
them can name what is not there. Units and suffixes follow Prometheus' own conventions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from sutlerd.domain.record import record
from sutlerd.telemetry.meter import Histogram, Meter
from sutlerd.telemetry.readings import CIRCUIT_STATES, Readings

#: Label values in the metric's order, with a number or, of a histogram, its counts.
Samples = Iterable[tuple[tuple[str, ...], float | Histogram]]

_NANO: Final = 1_000_000_000


class Kind(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@record
class Metric:
    """``name`` is without the suffix that its kind brings (``_total``, ``_bucket``).

    ``read`` gives samples, or histograms of a histogram, with their label values in order.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    read: Callable[[Meter, Readings], Samples]

    @property
    def series(self) -> str:
        """The name that expressions use: a counter's ends in ``_total``."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name


def _usd(counts: Mapping[tuple[str, str], int]) -> Samples:
    return [(place, count / _NANO) for place, count in counts.items()]


def _one(value: float) -> Samples:
    return [((), value)]


_ROUTE: Final = ("provider", "model")
_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

_OF_CALLS: Final[tuple[tuple[str, Kind, tuple[str, ...], str, Callable[..., object]], ...]] = (
    (
        "llm_requests",
        _C,
        (*_ROUTE, "status"),
        "Calls answered, by how: ok, cached, coalesced, error.",
        lambda m, r: m.requests.items(),
    ),
    (
        "llm_tokens",
        _C,
        (*_ROUTE, "type"),
        "Tokens by the providers' count: input, output; of these cached, cache_write, reasoning.",
        lambda m, r: m.tokens.items(),
    ),
    (
        "llm_request_latency_seconds",
        _H,
        _ROUTE,
        "From a call's arrival to its whole answer, where a provider was asked.",
        lambda m, r: m.latencies.items(),
    ),
    (
        "llm_time_to_first_token_seconds",
        _H,
        _ROUTE,
        "From the sending of a streamed attempt to its first piece.",
        lambda m, r: m.first_tokens.items(),
    ),
    (
        "llm_output_tokens_per_second",
        _H,
        _ROUTE,
        "How fast streamed answers came after their first piece.",
        lambda m, r: m.speeds.items(),
    ),
    ("llm_cost_usd", _C, _ROUTE, "Money spent.", lambda m, r: _usd(m.cost_nanousd)),
    (
        "llm_saved_usd",
        _C,
        _ROUTE,
        "Money that cached and shared answers did not cost again.",
        lambda m, r: _usd(m.saved_nanousd),
    ),
    (
        "llm_cache_hits",
        _C,
        (),
        "Calls answered from the cache.",
        lambda m, r: _one(m.cache_hits),
    ),
    (
        "llm_cache_misses",
        _C,
        (),
        "Answered calls that a provider had to be asked for.",
        lambda m, r: _one(m.cache_misses),
    ),
    (
        "llm_coalesced",
        _C,
        (),
        "Calls that shared an equal call's answer while it was under way.",
        lambda m, r: _one(m.coalesced),
    ),
    (
        "llm_rate_limit_waits",
        _C,
        ("provider",),
        "Calls that waited for limits or money.",
        lambda m, r: [((name,), sum(waits.counts)) for name, waits in m.waits.items()],
    ),
    (
        "llm_rate_limit_wait_seconds",
        _H,
        ("provider",),
        "How long calls waited for limits or money.",
        lambda m, r: [((name,), waits) for name, waits in m.waits.items()],
    ),
    (
        "llm_errors",
        _C,
        ("provider", "error_type"),
        "Calls that ended in an error, by its type.",
        lambda m, r: m.errors.items(),
    ),
    (
        "sutler_reserved_usd",
        _C,
        _ROUTE,
        "Worst cases reserved for attempts that are settled; llm_cost_usd is what they cost.",
        lambda m, r: _usd(m.reserved_nanousd),
    ),
)

_OF_STATE: Final[tuple[tuple[str, Kind, tuple[str, ...], str, Callable[..., object]], ...]] = (
    (
        "llm_active_requests",
        _G,
        ("provider",),
        "Attempts under way.",
        lambda m, r: [((name,), count) for name, count in r.in_flight.items()],
    ),
    ("sutler_build_info", _G, ("version", "python"), "Always 1.",
     lambda m, r: [((r.version, r.python), 1)]),
    ("sutler_uptime_seconds", _G, (), "Since the start.", lambda m, r: _one(r.uptime_s)),
    ("sutler_draining", _G, (), "1 while the daemon stops.", lambda m, r: _one(r.draining)),
    ("sutler_connections", _G, (), "Clients connected.", lambda m, r: _one(r.connections)),
    ("sutler_calls_open", _G, (), "Calls not yet answered.", lambda m, r: _one(r.calls_open)),
    ("sutler_buffered_bytes", _G, (), "Held for or owed to clients.",
     lambda m, r: _one(r.buffered_bytes)),
    ("sutler_clients_cut", _C, (), "Clients cut because they took nothing.",
     lambda m, r: _one(r.clients_cut)),
    ("sutler_connections_refused", _C, (), "Connections over the limits.",
     lambda m, r: _one(r.connections_refused)),
    ("sutler_queue_calls", _G, ("lane",), "Calls waiting.",
     lambda m, r: [((lane.lane,), lane.waiting) for lane in r.lanes]),
    ("sutler_queue_oldest_seconds", _G, ("lane",), "How long the oldest has waited.",
     lambda m, r: [((lane.lane,), lane.oldest_s) for lane in r.lanes]),
    ("sutler_bucket_limit", _G, ("boundary", "bucket"), "What a full bucket holds.",
     lambda m, r: [((b.boundary, b.bucket), b.limit) for b in r.buckets]),
    ("sutler_bucket_level", _G, ("boundary", "bucket"), "What is left; below 0: owed.",
     lambda m, r: [((b.boundary, b.bucket), b.level) for b in r.buckets]),
    ("sutler_circuit_state", _G, ("route",), "0 closed, 1 half open, 2 open.",
     lambda m, r: [((route,), CIRCUIT_STATES.index(s)) for route, s in r.circuits.items()]),
    ("sutler_budget_limit_usd", _G, ("budget", "scope"), "A budget's limit.",
     lambda m, r: [((b.name, b.scope), b.limit_nanousd / _NANO) for b in r.money.budgets]),
    ("sutler_budget_settled_usd", _G, ("budget", "scope"), "Spent of it in this period.",
     lambda m, r: [((b.name, b.scope), b.settled_nanousd / _NANO) for b in r.money.budgets]),
    ("sutler_budget_pending_usd", _G, ("budget", "scope"), "Reserved of it now.",
     lambda m, r: [((b.name, b.scope), b.pending_nanousd / _NANO) for b in r.money.budgets]),
    ("sutler_reservations_open", _G, (), "Attempts whose cost is not settled.",
     lambda m, r: _one(r.money.reservations_open)),
    ("sutler_unknown_outcomes", _G, (), "Attempts lost in a crash, charged in full.",
     lambda m, r: _one(r.money.unknown_outcomes)),
    ("sutler_overruns", _C, (), "Attempts that were billed above their worst case.",
     lambda m, r: _one(r.money.overruns)),
    ("sutler_loop_lag_seconds", _G, (), "How late the event loop came to its last tick.",
     lambda m, r: _one(r.loop_lag_s)),
    ("sutler_loop_stalls", _C, (), "Times that the event loop stood still.",
     lambda m, r: _one(r.loop_stalls)),
    ("sutler_loop_longest_stall_seconds", _G, (), "The longest of them.",
     lambda m, r: _one(r.longest_stall_s)),
    ("sutler_spans", _C, ("outcome",), "Spans of traces that were sent, or dropped.",
     lambda m, r: [((how,), r.spans[how]) for how in ("sent", "dropped") if how in r.spans]),
    ("sutler_store_bytes", _G, ("store",), "What the files of cache and ledger hold.",
     lambda m, r: [((name,), size) for name, size in r.store_bytes.items()]),
)  # fmt: skip

METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        name: Metric(name=name, kind=kind, labels=labels, help=words, read=read)  # type: ignore[arg-type]
        for name, kind, labels, words, read in (*_OF_CALLS, *_OF_STATE)
    }
)
