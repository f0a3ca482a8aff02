"""What is read of the daemon's state at one moment, for whoever shows it: plain values."""

from __future__ import annotations

from dataclasses import field

from sutlerd.domain.record import record


@record
class BucketReading:
    """``level`` may be below 0: owed. Both in what the bucket counts: requests or tokens."""

    boundary: str
    bucket: str
    limit: float
    level: float


@record
class BudgetReading:
    """Integer nano-dollars; ``limit_nanousd`` of one period."""

    name: str
    scope: str
    limit_nanousd: int
    settled_nanousd: int
    pending_nanousd: int


@record
class MoneyReadings:
    reservations_open: int = 0
    unknown_outcomes: int = 0
    overruns: int = 0
    ledger_bytes: int = 0
    budgets: tuple[BudgetReading, ...] = ()


@record
class LaneReading:
    lane: str
    waiting: int
    oldest_s: float


@record
class Readings:
    """``circuits`` are ``{route: state}`` with the states of ``CIRCUIT_STATES``; ``store_bytes``
    is ``{name: bytes}``; ``in_flight`` are attempts under way by provider;
    ``spans`` counts those sent, dropped and waiting, if traces are sent."""

    version: str
    python: str
    uptime_s: float
    draining: bool
    connections: int
    calls_open: int
    buffered_bytes: int
    clients_cut: int
    connections_refused: int
    loop_stalls: int
    longest_stall_s: float
    loop_lag_s: float
    money: MoneyReadings
    in_flight: dict[str, int] = field(default_factory=dict)
    store_bytes: dict[str, int] = field(default_factory=dict)
    spans: dict[str, int] = field(default_factory=dict)
    circuits: dict[str, str] = field(default_factory=dict)
    lanes: tuple[LaneReading, ...] = ()
    buckets: tuple[BucketReading, ...] = ()


CIRCUIT_STATES = ("closed", "half_open", "open")
