"""What callers see of what they used: every answer, error, hit and attempt is there once."""

from __future__ import annotations

from typing import Any

import pytest

import sutler
from tests.contract.answers import Answer, openai_error
from tests.contract.scripted import Received, ScriptedProvider
from tests.integration.main_job.conftest import StartDaemon, answer
from tests.integration.main_job.test_prices import PRICES

COST = 9 * 3000 + 3 * 15_000


def figures(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is zero."""
    return {name: value for name, value in row.items() if value}


def test_usage_has_what_each_component_was_given(
    start: StartDaemon, provider: ScriptedProvider
) -> None:
    daemon = start(llm=PRICES)
    labels = {"component": "planner", "project": "apollo", "rank": "3"}
    with (
        sutler.Client(str(daemon.socket), labels=labels) as planner,
        sutler.Client(str(daemon.socket)) as other,
    ):
        for _ in range(4):
            planner.complete("one")
        other.complete("one")
        other.complete("two", cache="off")
        with pytest.raises(sutler.InvalidParams):
            other.complete("three", temperature=9)
        with pytest.raises(sutler.SutlerError, match="nothing is stored"):
            other.complete("four", cache="only")
        result = other.call("usage", {"by": ["component", "project", "model"]})
        by_day = other.call("usage")
    rows = {
        (row.pop("component"), row.pop("project"), row.pop("model")): row for row in result["rows"]
    }
    assert figures(rows["planner", "apollo", "test-model"]) == {
        "calls": 4,
        "attempts": 1,
        "cached": 3,
        "tokens_in": 9,
        "tokens_out": 3,
        "cost_nanousd": COST,
        "saved_nanousd": 3 * COST,
    }
    assert figures(rows[None, None, "test-model"]) == {
        "calls": 3,
        "attempts": 1,
        "cached": 1,
        "tokens_in": 9,
        "tokens_out": 3,
        "cost_nanousd": COST,
        "saved_nanousd": COST,
        "errors": 1,
        "error_types": {"cache_miss": 1},
    }
    assert rows[None, None, ""]["error_types"] == {"invalid_params": 1}
    assert result["total"]["calls"] == 8
    assert result["total"]["cost_nanousd"] == 2 * COST
    assert [row["calls"] for row in by_day["rows"]] == [8]
    assert by_day["rows"][0]["day"] == by_day["until"]


def test_embeddings_and_errors_of_providers_are_in_it(
    start: StartDaemon, provider: ScriptedProvider
) -> None:
    def fails_once_asked_to(request: Received) -> Answer:
        if "fail" in str(request.json):
            return openai_error(400, "no")
        return answer(request)

    provider.always, before = fails_once_asked_to, provider.always
    try:
        daemon = start(llm=PRICES)
        with sutler.Client(str(daemon.socket)) as client:
            client.embed(["a", "b"], model="test-embed")
            client.embed(["b", "a"], model="test-embed")
            with pytest.raises(sutler.ProviderError):
                client.complete("fail")
            rows = client.call("usage", {"by": "model"})["rows"]
    finally:
        provider.always = before
    by_model = {row["model"]: row for row in rows}
    embedded = by_model["test-embed"]
    assert (embedded["calls"], embedded["cached"], embedded["cost_nanousd"]) == (2, 1, 40)
    assert by_model["test-model"]["error_types"] == {"provider_error": 1}


def test_a_report_needs_a_job_and_tells_what_is_asked_for(start: StartDaemon) -> None:
    daemon = start()
    with sutler.Client(str(daemon.socket)) as client:
        with pytest.raises(sutler.InvalidParams, match=r"params\.job"):
            client.call("report")
        report = client.call("report", {"job": "4711"})
        assert (report["job"], report["total"]["calls"], report["models"]) == ("4711", 0, [])
        with pytest.raises(sutler.InvalidParams, match=r"params\.since: .*YYYY-MM-DD"):
            client.call("usage", {"since": "yesterday"})
