from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.providers.contract import LimitView
from sutlerd.providers.hints import (
    LONGEST_HINT_S,
    SENSELESS_HINT_S,
    duration_s,
    exhausted_reset_s,
    read_limits,
    reset_s,
    retry_after_s,
)
from sutlerd.providers.openai_switches import GROQ_LIMITS, OPENROUTER_LIMITS, STANDARD_LIMITS

NOW_S = 1_795_000_000.0  # 2026-11-18T11:06:40Z


def hint(**headers: str) -> float | None:
    return retry_after_s({k.replace("_", "-"): v for k, v in headers.items()}, NOW_S)


@pytest.mark.fault("P3")
@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("2", 2.0),
        ("107", 107.0),
        ("0.5", 0.5),
        ("nan", SENSELESS_HINT_S),
        ("inf", SENSELESS_HINT_S),
        ("1e9", SENSELESS_HINT_S),
        ("86400", LONGEST_HINT_S),
        ("86401", SENSELESS_HINT_S),
        ("-1", None),
        ("0", None),
        ("-inf", SENSELESS_HINT_S),
        ("soon", None),
        ("", None),
        ("1_000", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", SENSELESS_HINT_S),
        ("Wed, 99 Nov 2026 11:07:10 GMT", None),
        ("Wed, 18 Nov 2026 11:07:10 GMT", 30.0),
        ("Wed, 18 Nov 2026 11:06:20 GMT", None),
    ],
)
def test_a_hint_is_honoured_in_full_unless_it_makes_no_sense(
    text: str, expected_s: float | None
) -> None:
    assert hint(retry_after=text) == expected_s


@pytest.mark.fault("P3")
def test_a_date_is_compared_with_the_clock_of_the_one_who_wrote_it() -> None:
    ten_minutes_ahead = "Wed, 18 Nov 2026 11:16:40 GMT"
    at = "Wed, 18 Nov 2026 11:17:10 GMT"
    assert hint(retry_after=at, date=ten_minutes_ahead) == 30.0
    assert hint(retry_after=at, date="no date") == 630.0


def test_milliseconds_come_before_seconds_if_they_can_be_read() -> None:
    assert hint(retry_after="2", retry_after_ms="1500") == 1.5
    assert hint(retry_after="2", retry_after_ms="soon") == 2.0
    assert hint(retry_after="2", retry_after_ms="-1") == 2.0


@given(st.text(), st.text())
def test_no_header_makes_a_crash_or_a_senseless_wait(after: str, date: str) -> None:
    waits = retry_after_s({"retry-after": after, "date": date}, NOW_S)
    assert waits is None or 0 < waits <= LONGEST_HINT_S


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("20ms", 0.02),
        ("1s", 1.0),
        ("7.66s", 7.66),
        ("6m0s", 360.0),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723.0),
        ("5", 5.0),
        ("5 s", None),
        ("6m0", None),
        ("m", None),
        ("", None),
        (None, None),
    ],
)
def test_durations_are_read_as_go_spells_them(text: str | None, expected_s: float | None) -> None:
    assert duration_s(text) == pytest.approx(expected_s)


@pytest.mark.fault("P3")
@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("6m0s", 360.0),
        ("1795000030", 30.0),
        ("1795000030000", 30.0),
        ("1794999970000", 0.0),
        ("2026-11-18T11:07:10Z", 30.0),
        ("2026-11-18T11:07:10+00:00", 30.0),
        ("-5", None),
        ("nan", None),
        ("9" * 400, None),
        ("1" + "0" * 30, None),
        ("garbage", None),
    ],
)
def test_resets_come_in_durations_and_moments(text: str, expected_s: float | None) -> None:
    assert reset_s(text, NOW_S) == pytest.approx(expected_s)


@given(st.text())
def test_no_reset_is_negative_or_endless(text: str) -> None:
    until = reset_s(text, NOW_S)
    assert until is None or 0 <= until < 366 * 86400


def test_openai_s_headers_are_read() -> None:
    view = read_limits(
        {
            "x-ratelimit-limit-requests": "500",
            "x-ratelimit-remaining-requests": "499",
            "x-ratelimit-reset-requests": "120ms",
            "x-ratelimit-limit-tokens": "30000",
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        STANDARD_LIMITS,
        NOW_S,
    )
    assert view is not None
    assert view.limits["requests"] == LimitView(limit=500, remaining=499, reset_s=0.12)
    assert view.limits["tokens"] == LimitView(limit=30000, remaining=0, reset_s=360)
    assert exhausted_reset_s(view) == 360


def test_groq_counts_requests_by_the_day_and_openrouter_in_epoch_milliseconds() -> None:
    headers = {"x-ratelimit-limit-requests": "14400", "x-ratelimit-remaining-requests": "14399"}
    view = read_limits(headers, GROQ_LIMITS, NOW_S)
    assert view is not None
    assert list(view.limits) == ["requests_per_day"]
    headers = {
        "x-ratelimit-limit": "20",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": "1795000030000",
    }
    assert exhausted_reset_s(read_limits(headers, OPENROUTER_LIMITS, NOW_S)) == 30.0


@pytest.mark.fault("P3")
def test_senseless_limits_are_as_unsaid() -> None:
    headers = {
        "x-ratelimit-limit-requests": "nan",
        "x-ratelimit-remaining-requests": "-1",
        "x-ratelimit-reset-requests": "6m0s",
    }
    assert read_limits(headers, STANDARD_LIMITS, NOW_S) is None
    assert read_limits({}, STANDARD_LIMITS, NOW_S) is None
    assert exhausted_reset_s(None) is None
