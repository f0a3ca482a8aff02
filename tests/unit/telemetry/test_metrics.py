"""What is counted is what is exposed, and nothing that callers choose becomes a label."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sutlerd.telemetry.exposition import collect, render
from sutlerd.telemetry.meter import OTHER, Histogram, Meter
from sutlerd.telemetry.metrics import METRICS, Kind
from sutlerd.telemetry.readings import (
    BucketReading,
    BudgetReading,
    LaneReading,
    MoneyReadings,
    Readings,
)

KNOWN = {"openai": {"gpt-5.4", "gpt-5.4-mini"}, "local": {"m"}}


def readings(**changed: Any) -> Readings:
    quiet: dict[str, Any] = {
        "version": "1.2.3",
        "python": "3.11",
        "uptime_s": 5.0,
        "draining": False,
        "connections": 2,
        "calls_open": 1,
        "buffered_bytes": 0,
        "clients_cut": 0,
        "connections_refused": 0,
        "loop_stalls": 0,
        "longest_stall_s": 0.0,
        "loop_lag_s": 0.0,
        "money": MoneyReadings(),
    }
    return Readings(**{**quiet, **changed})


def exposed(meter: Meter, now: Readings | None = None) -> dict[tuple[str, str], float]:
    """Scrape, and read back with the official parser: ``{(name, labels): value}``."""
    text = render(collect(meter, now or readings())).decode()
    return {
        (
            sample.name,
            ",".join(sample.labels[label] for label in METRICS[family.name].labels),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def meter() -> Meter:
    made = Meter()
    made.know(KNOWN)
    return made


def test_calls_are_counted_by_how_they_ended() -> None:
    counted = meter()
    counted.called("openai", "gpt-5.4", calls=10, cached=6, coalesced=1, saved_nanousd=3)
    counted.called("openai", "gpt-5.4", calls=2, error="timeout")
    seen = exposed(counted)
    assert seen["llm_requests_total", "openai,gpt-5.4,ok"] == 3
    assert seen["llm_requests_total", "openai,gpt-5.4,cached"] == 6
    assert seen["llm_requests_total", "openai,gpt-5.4,coalesced"] == 1
    assert seen["llm_requests_total", "openai,gpt-5.4,error"] == 2
    assert seen["llm_errors_total", "openai,timeout"] == 2
    assert seen["llm_cache_hits_total", ""] == 6
    assert seen["llm_cache_misses_total", ""] == 3
    assert seen["llm_saved_usd_total", "openai,gpt-5.4"] == 3e-9


def test_money_and_tokens_of_attempts_are_counted() -> None:
    counted = meter()
    tokens = {"input": 5, "output": 7, "cached": 0}
    counted.spent("local", "m", tokens=tokens, cost_nanousd=2_000_000_000)
    seen = exposed(counted)
    assert seen["llm_cost_usd_total", "local,m"] == 2
    assert seen["llm_tokens_total", "local,m,input"] == 5
    assert ("llm_tokens_total", "local,m,cached") not in seen


def test_a_longer_name_that_answered_is_the_configured_one_it_begins_with() -> None:
    counted = meter()
    assert counted.place("openai", "gpt-5.4-mini-2026-03-17") == ("openai", "gpt-5.4-mini")
    assert counted.place("openai", "gpt-5.4-2026-03-05") == ("openai", "gpt-5.4")


def test_names_that_nobody_configured_are_one_line_however_many_there_are() -> None:
    counted = meter()
    for number in range(20_000):
        counted.called("openai", f"made-up-{number}", calls=1)
        counted.called(f"nobody-{number}", "m", calls=1, error="invalid_params")
    seen = exposed(counted)
    assert seen["llm_requests_total", f"openai,{OTHER},ok"] == 20_000
    assert seen["llm_requests_total", f"{OTHER},{OTHER},error"] == 20_000
    assert len(counted.requests) == 2


def test_a_reload_changes_which_names_are_known() -> None:
    counted = meter()
    assert counted.place("openai", "new") == ("openai", OTHER)
    counted.know({"openai": {"new"}})
    assert counted.place("openai", "new") == ("openai", "new")


def test_a_stream_tells_its_first_piece_and_its_speed() -> None:
    counted = meter()
    counted.took("local", "m", passed_s=3.0, first_s=0.5, attempt_s=2.5, tokens_out=100)
    counted.took("local", "m", passed_s=0.2)
    seen = exposed(counted)
    assert seen["llm_request_latency_seconds_count", "local,m"] == 2
    assert seen["llm_time_to_first_token_seconds_sum", "local,m"] == 0.5
    assert seen["llm_output_tokens_per_second_sum", "local,m"] == 50


def test_a_histogram_counts_each_value_under_every_bound_it_fits() -> None:
    histogram = Histogram((1, 2))
    for value in (0.5, 1, 1.5, 99):
        histogram.observe(value)
    assert histogram.cumulative() == [(1, 2), (2, 3), (float("inf"), 4)]
    assert histogram.sum == 102


def test_the_state_is_read_into_gauges() -> None:
    now = readings(
        draining=True,
        in_flight={"openai": 3},
        store_bytes={"cache": 4096},
        circuits={"openai/gpt-5.4": "open"},
        lanes=(LaneReading(lane="normal", waiting=4, oldest_s=1.5),),
        buckets=(BucketReading(boundary="openai", bucket="tokens", limit=90.0, level=-3.0),),
        money=MoneyReadings(
            budgets=(
                BudgetReading(
                    name="daily",
                    scope="node",
                    limit_nanousd=5_000_000_000,
                    settled_nanousd=1_000_000_000,
                    pending_nanousd=500_000_000,
                ),
            )
        ),
    )
    seen = exposed(meter(), now)
    assert seen["sutler_build_info", "1.2.3,3.11"] == 1
    assert seen["sutler_draining", ""] == 1
    assert seen["llm_active_requests", "openai"] == 3
    assert seen["sutler_store_bytes", "cache"] == 4096
    assert seen["sutler_circuit_state", "openai/gpt-5.4"] == 2
    assert seen["sutler_queue_calls", "normal"] == 4
    assert seen["sutler_bucket_level", "openai,tokens"] == -3
    assert seen["sutler_budget_settled_usd", "daily,node"] == 1


def test_every_metric_has_its_kind_its_help_and_a_name_of_its_own() -> None:
    for name, metric in METRICS.items():
        assert name == metric.name
        assert metric.help.endswith(".")
        assert not name.endswith(("_total", "_bucket", "_count", "_sum"))
        assert name.startswith(("llm_", "sutler_"))
        if metric.kind is Kind.HISTOGRAM:
            assert name.endswith(("_seconds", "_per_second"))
