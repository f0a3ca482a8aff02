"""Statuses, error shapes and headers: total, and the same words everywhere."""

from __future__ import annotations

import orjson
import pytest

from sutler.wire import ERRORS
from sutlerd.domain import errors
from sutlerd.domain.errors import CallError, InvalidParams, ProviderError, RateLimited
from sutlerd.http.anthropic_errors import ANTHROPIC
from sutlerd.http.door import Manners, Refusal
from sutlerd.http.headers import options
from sutlerd.http.limits import anthropic_limits, openai_limits
from sutlerd.http.openai_errors import OPENAI
from sutlerd.http.plain import PLAIN
from sutlerd.http.status import STATUS

ALL = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, CallError) and kind is not CallError
]


def test_every_error_of_the_wire_has_a_status() -> None:
    assert STATUS.keys() == ERRORS.keys()


@pytest.mark.parametrize("manners", [OPENAI, ANTHROPIC, PLAIN], ids=["openai", "anthropic", "own"])
@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.type)
def test_every_error_is_told_in_every_manner(kind: type[CallError], manners: Manners) -> None:
    page = manners.error(kind("what to do"), "request-1")
    assert page.status >= 400
    assert "what to do" in str(orjson.loads(page.body)["error"]["message"])
    assert page.headers["x-should-retry"] in ("true", "false")
    assert page.headers["x-sutler-error"] == kind.type


@pytest.mark.parametrize("manners", [OPENAI, ANTHROPIC, PLAIN], ids=["openai", "anthropic", "own"])
def test_a_refusal_is_told_with_its_headers(manners: Manners) -> None:
    refusal = Refusal(status=401, kind="unauthorised", message="no", headers={"A": "b"})
    page = manners.refusal(refusal)
    assert (page.status, page.headers["A"]) == (401, "b")


def test_only_what_nobody_has_tried_is_worth_trying_again() -> None:
    limited = OPENAI.error(RateLimited("wait", retry_after_s=1.2), None)
    assert (limited.status, limited.headers["retry-after"]) == (429, "2")
    assert limited.headers["x-should-retry"] == "true"
    never = OPENAI.error(RateLimited("too large", retryable=False), None)
    assert never.headers["x-should-retry"] == "false"
    assert OPENAI.error(errors.ProviderUnavailable("x"), None).headers["x-should-retry"] == "false"


def test_a_providers_refusal_has_its_status_where_the_caller_can_mend_it() -> None:
    assert OPENAI.error(ProviderError("x", status=400), None).status == 400
    assert OPENAI.error(ProviderError("x", status=401), None).status == 502


def test_headers_become_parameters() -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    found = options(
        {
            "X-Sutler-Labels": "component=planner, rank=3",
            "X-Sutler-Lane": "background",
            "X-Sutler-Cache": "off",
            "Idempotency-Key": "abc-1",
            "Traceparent": trace,
        }
    )
    assert found == {
        "labels": {"component": "planner", "rank": "3"},
        "metadata": {"traceparent": trace},
        "lane": "background",
        "cache": "off",
        "request_id": "abc-1",
    }
    assert options({"Traceparent": "rubbish"}) == {}
    for bad in ({"X-Sutler-Labels": "oops"}, {"Idempotency-Key": "a b"}):
        with pytest.raises(InvalidParams):
            options(bad)


def test_limits_are_told_in_each_apis_words() -> None:
    shares = {"requests": (30.0, 12.5, 4.0), "tokens": (1000.0, 0.0, 60.0)}
    assert openai_limits(shares) == {
        "x-ratelimit-limit-requests": "30",
        "x-ratelimit-remaining-requests": "12",
        "x-ratelimit-reset-requests": "4.000s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "60.000s",
    }
    told = anthropic_limits(shares, now_unix_s=0.0)
    assert told["anthropic-ratelimit-tokens-reset"] == "1970-01-01T00:01:00Z"
