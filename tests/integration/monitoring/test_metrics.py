"""``/metrics`` of a real daemon, read by Prometheus' own tools."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.answers import http_answer
from tests.integration.faults.rig import Rig
from tests.integration.http.rig import http_rig, new_token, over_tcp, over_unix


def scraped(rig: Rig) -> dict[str, float]:
    """Give every sample of now that has labels of one provider or none, by name and values.

    The text may be a second old: it is asked for until it is not.
    """
    now_s, found = rig.status()["uptime_s"], {"sutler_uptime_seconds": 0.0}
    while found["sutler_uptime_seconds"] < now_s:
        found = scraped_once(rig)
        time.sleep(0.02)
    return found


def scraped_once(rig: Rig) -> dict[str, float]:
    reply = over_unix(rig.daemon, "GET", "/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        " ".join([sample.name, *(sample.labels[key] for key in sorted(sample.labels))]): (
            sample.value
        )
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


def test_calls_of_all_kinds_are_seen_at_the_next_scrape(folder: Path) -> None:
    with http_rig(folder) as rig:
        rig.answers["refused"] = http_answer({"error": {"message": "no"}}, status=400)
        before = scraped(rig)
        for _ in range(5):
            rig.daemon.result("chat", prompt="the same", temperature=0)
        rig.daemon.result("complete", prompt="streamed", temperature=0, stream=True)
        rig.daemon.ask("chat", prompt="refused")
        now = scraped(rig)
        seen = {name: now[name] - before.get(name, 0) for name in now}
        assert seen["llm_requests_total test-model scripted cached"] == 4
        assert seen["llm_requests_total test-model scripted ok"] == 2
        assert seen["llm_requests_total test-model scripted error"] == 1
        assert seen["llm_errors_total provider_error scripted"] == 1
        assert seen["llm_cache_hits_total"] == 4
        assert seen["llm_cache_misses_total"] == 2
        assert seen["llm_request_latency_seconds_count test-model scripted"] == 2
        assert seen["llm_time_to_first_token_seconds_count test-model scripted"] == 1
        assert seen["llm_tokens_total test-model scripted input"] > 0
        assert now["llm_active_requests scripted"] == 0
        assert now["sutler_calls_open"] == 0
        assert now["sutler_connections"] >= 1
        assert now["sutler_store_bytes cache"] > 0
        assert now["sutler_store_bytes ledger"] > 0


def test_a_model_that_a_caller_made_up_gets_no_line_of_its_own(folder: Path) -> None:
    with http_rig(folder) as rig:
        for number in range(20):
            rig.daemon.ask("chat", prompt="x", model=f"scripted/invented-{number}")
        names = "\n".join(scraped(rig))
        assert "invented" not in names


def test_a_scrape_over_tcp_needs_a_token(rig: Rig) -> None:
    assert over_tcp(rig.daemon, "GET", "/metrics").status == 401
    token = {"Authorization": f"Bearer {new_token(rig.daemon)}"}
    assert over_tcp(rig.daemon, "GET", "/metrics", headers=token).status == 200


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_to_say_about_the_metrics(rig: Rig) -> None:
    rig.daemon.result("chat", prompt="for promtool", temperature=0)
    text = over_unix(rig.daemon, "GET", "/metrics").body
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60
    )
    assert (checked.returncode, checked.stderr.decode()) == (0, "")
