from __future__ import annotations

import json
from typing import Any

import pytest

from sutlerd.providers.contract import Outcome, Verdict
from sutlerd.providers.openai_chat import OpenAIChat
from sutlerd.providers.openai_switches import GEMINI
from sutlerd.providers.transport import Response


def answer(body: object) -> Response:
    return Response(status=429, headers={}, body=json.dumps(body).encode())


def gemini(*details: dict[str, Any]) -> Response:
    status = {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": details}
    return answer([{"error": status}])


def test_gemini_s_hint_is_in_its_details() -> None:
    dialect = OpenAIChat(provider="x", switches=GEMINI)
    hint = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
    failure = dialect.classify(gemini(hint))
    assert (failure.verdict, failure.retry_after_s) == (Verdict.RETRY, 34.0)
    assert dialect.classify(gemini({**hint, "retryDelay": 7})).retry_after_s is None
    assert dialect.classify(answer([{"error": {"details": "?"}}])).retry_after_s is None


@pytest.mark.fault("P4")
def test_a_day_s_quota_that_is_gone_is_not_asked_for_again_in_seconds() -> None:
    dialect = OpenAIChat(provider="x", switches=GEMINI)
    hint = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
    gone = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]}
    failure = dialect.classify(gemini(hint, gone))
    assert (failure.verdict, failure.retry_after_s) == (Verdict.CLOSED, None)
    assert failure.outcome is Outcome.NOT_BILLED
