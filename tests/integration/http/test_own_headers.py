"""The daemon's own headers, and the caller's own share of a quota."""

from __future__ import annotations

from pathlib import Path

from tests.contract import answers
from tests.contract.scripted import ScriptedProvider
from tests.integration.faults.rig import Rig
from tests.integration.http.rig import HTTP, over_unix
from tests.integration.http.test_http_faults import CHAT, body_of


def test_an_idempotency_key_makes_a_request_one_across_both_doors(rig: Rig) -> None:
    key = {"Idempotency-Key": "one-and-the-same"}
    hot = body_of("only once", temperature=1.0)
    first = over_unix(rig.daemon, "POST", CHAT, hot, key)
    again = over_unix(rig.daemon, "POST", CHAT, hot, key)
    assert first.headers["x-sutler-request-id"] == "one-and-the-same"
    assert first.json["choices"] == again.json["choices"]
    by_line = rig.daemon.result("complete", request_id="one-and-the-same", **hot)
    assert by_line["content"] == "to: only once"
    assert rig.asked("only once") == 1
    other = over_unix(rig.daemon, "POST", CHAT, body_of("something else"), key)
    assert other.status == 400
    assert "another request" in other.json["error"]["message"]


def test_labels_lane_and_cache_are_the_wires(rig: Rig) -> None:
    headers = {"X-Sutler-Labels": "component=planner", "X-Sutler-Cache": "off"}
    for _ in range(2):
        reply = over_unix(rig.daemon, "POST", CHAT, body_of("not kept"), headers)
        assert reply.headers["x-sutler-cached"] == "false"
    assert rig.asked("not kept") == 2
    bad = over_unix(rig.daemon, "POST", CHAT, body_of("x"), {"X-Sutler-Lane": "fast"})
    assert bad.status == 400


def test_headers_that_are_no_text_are_told_so(rig: Rig) -> None:
    for name in ("X-Sutler-Labels", "X-Sutler-Lane", "X-Sutler-Cache", "Idempotency-Key"):
        reply = over_unix(rig.daemon, "POST", CHAT, body_of("x"), {name: b"component=\xff"})
        assert reply.status == 400, name
        assert name.lower() in reply.json["error"]["message"]
    named = {"X-Sutler-Labels": "component=bücher".encode()}
    assert over_unix(rig.daemon, "POST", CHAT, body_of("x"), named).status == 200


def test_limits_shown_are_the_callers_own_and_429_says_when(folder: Path) -> None:
    # Nobody waits 33 s here; with more time the daemon would, and the caller would get an answer.
    llm = {
        "rate_limits": {"scripted": {"requests_per_minute": 60}},
        "max_timeout_s": 20,
        "timeout_seconds": 15,
    }
    with ScriptedProvider.in_thread() as provider:
        rig = Rig(folder, provider, http=HTTP, llm=llm)
        with rig.daemon as daemon:
            reply = over_unix(daemon, "POST", CHAT, body_of("within"))
            limit = int(reply.headers["x-ratelimit-limit-requests"])
            assert 0 <= int(reply.headers["x-ratelimit-remaining-requests"]) < limit
            said = over_unix(daemon, "POST", "/v1/messages", body_of("within 2", max_tokens=5))
            assert said.headers["anthropic-ratelimit-requests-limit"] == str(limit)
            rig.answers["slow down"] = answers.openai_error(429, headers={"retry-after": "33"})
            for path in (CHAT, "/v1/messages"):
                limited = over_unix(daemon, "POST", path, body_of("slow down", max_tokens=5))
                assert limited.status == 429
                assert 20 <= int(limited.headers["retry-after"]) <= 34
