"""How far a run has come, on a clock that the test turns."""

from __future__ import annotations

from sutler.cli_progress import WINDOW_S, Progress


def test_nothing_is_claimed_before_anything_is_known() -> None:
    assert Progress(10, 0, 0.0).line(0.0) == "0/10 rows (0%) · - rows/s · cached 0% · $0"


def test_the_line_has_rate_time_left_cached_share_and_cost() -> None:
    progress = Progress(1000, 100, 0.0)
    for at in range(100):
        progress.add_reply({"cached": at % 4 == 0, "cost_nanousd": 1_000_000})
    progress.add_failure()
    line = progress.line(10.1)
    assert line == ("201/1,000 rows (20%) · 10 rows/s · ETA 1:20 · cached 25% · $0.10 · 1 failed")


def test_the_rate_is_that_of_the_last_while() -> None:
    progress = Progress(None, 0, 0.0)
    for second in range(1, 61):
        for _ in range(100 if second <= 30 else 1):
            progress.add_reply({})
        progress.rate(float(second))
    rate = progress.rate(60.0)
    assert rate is not None
    assert rate <= 100 / WINDOW_S + 1
    assert progress.line(60.0).startswith("3,030 rows · ")


def test_an_empty_input_is_all_done() -> None:
    assert Progress(0, 0, 0.0).line(1.0).startswith("0/0 rows (100%)")


def test_the_summary_says_what_this_run_did() -> None:
    progress = Progress(3, 1, 0.0)
    progress.add_reply({"cached": True, "cost_nanousd": 0})
    progress.add_failure()
    assert progress.summary(65.0) == (
        "2 rows asked · 1 were there already · cached 100% · $0 · 1 failed · 1:05"
    )


def test_what_nobody_knows_the_price_of_is_not_counted_as_free() -> None:
    progress = Progress(3, 0, 0.0)
    progress.add_reply({"cost_nanousd": None})
    assert "1 of unknown price" in progress.line(1.0)
    progress.add_reply({"cost_nanousd": 2_000_000_000})
    assert "$2.00 + 1 of unknown price" in progress.line(1.0)
