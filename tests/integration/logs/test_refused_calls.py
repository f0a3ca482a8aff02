"""Calls that are refused before a provider could be asked: each has its line and its span."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sutlerd.pipeline.telling import MAX_REFUSALS_PER_S
from tests.integration.faults.rig import Rig
from tests.integration.http.rig import http_rig, over_unix
from tests.support.collector import Collector, Seen, collecting

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


@pytest.fixture(name="collector", scope="module")
def _collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(name="rig", scope="module")
def _rig(collector: Collector) -> Iterator[Rig]:
    tracing = {"enabled": True, "endpoint": collector.endpoint, "hit_sample_pct": 0}
    llm = {"monitoring": {"tracing": tracing}, "max_retries": 0}
    with (
        tempfile.TemporaryDirectory(prefix="sl-") as folder,
        http_rig(Path(folder), llm=llm, daemon={"log_format": "json"}) as rig,
    ):
        yield rig


def lines_of(rig: Rig, component: str) -> list[dict[str, Any]]:
    whole = [line for line in rig.daemon.log().splitlines(keepends=True) if line.endswith("\n")]
    events = [line for line in map(json.loads, whole) if line["event"] in ("call", "embed")]
    return [line for line in events if line.get("component") == component]


def told(rig: Rig, collector: Collector, component: str) -> tuple[dict[str, Any], Seen]:
    """Wait for the one line and the one span of a component's call."""

    def spans() -> list[Seen]:
        return [s for s in collector.spans if s.attributes.get("sutler.component") == component]

    collector.wait_until(lambda: bool(spans()))
    until_s = time.monotonic() + 20
    while not (lines := lines_of(rig, component)):
        assert time.monotonic() < until_s, rig.daemon.log()
        time.sleep(0.02)
    assert (len(lines), len(spans())) == (1, 1)
    return lines[0], spans()[0]


#: By a word: method, its parameters, and how it is refused.
REFUSALS: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown-route": ("chat", {"prompt": "x", "provider": "nobody"}, "invalid_params"),
    "no-prompt": ("complete", {}, "invalid_params"),
    "mistyped": ("complete", {"prompt": 7}, "invalid_params"),
    "not-stored": ("chat", {"prompt": "never asked", "cache": "only"}, "cache_miss"),
    "no-texts": ("embed", {"texts": 7}, "invalid_params"),
    "no-vectors": ("embed", {"texts": ["x"], "cache": "only"}, "cache_miss"),
    "odd-embedder": ("embed", {"texts": ["x"], "provider": "nobody"}, "invalid_params"),
}


#: By a word: path, body.
REFUSED_OVER_HTTP: dict[str, tuple[str, dict[str, Any]]] = {
    "http-no-messages": (CHAT, {"model": "test-model", "messages": 7}),
    "http-no-model": (CHAT, {"model": "nobody/x", "messages": [{"role": "user"}]}),
    "http-not-stored": (CHAT, {"messages": [{"role": "user", "content": "never"}]}),
    "http-anthropic": (MESSAGES, {"model": "test-model", "messages": 7}),
    "http-embed": ("/v1/embeddings", {"input": 7}),
    "http-embed-model": ("/v1/embeddings", {"input": "x", "model": "nobody/x"}),
    "http-response": ("/v1/responses", {"input": 7}),
}


@pytest.fixture(scope="module", autouse=True)
def all_refused(rig: Rig) -> None:
    """Have everything refused at once: spans are sent in batches, and waited for together."""
    for word, (method, params, kind) in REFUSALS.items():
        more = {"labels": {"component": word}, "metadata": {"traceparent": TRACEPARENT}}
        refused = rig.daemon.ask(method, **params, **more)["error"]
        assert refused["data"]["type"] == kind, refused
    errors = sum(rig.status()["answers"]["errors"].values())
    for word, (path, body) in REFUSED_OVER_HTTP.items():
        headers = {"X-Sutler-Labels": f"component={word}"}
        if "embed" not in word:
            headers["X-Sutler-Cache"] = "only"
        assert over_unix(rig.daemon, "POST", path, body, headers).status >= 400
    now = sum(rig.status()["answers"]["errors"].values())
    assert now == errors + len(REFUSED_OVER_HTTP), "each is counted once"


@pytest.mark.parametrize("word", REFUSALS)
def test_a_call_refused_over_the_socket_has_a_line_and_a_span(
    rig: Rig, collector: Collector, word: str
) -> None:
    method, _, kind = REFUSALS[word]
    line, span = told(rig, collector, word)
    assert (line["outcome"], line["attempts"], line["ms"] >= 0) == (kind, 0, True)
    assert line["uid"] >= 0 and line["error"] and line["trace"] == TRACE
    assert line["event"] == ("embed" if method == "embed" else "call")
    assert span.is_error and span.attributes["error.type"] == kind
    assert span.trace_id == TRACE and span.attributes["sutler.attempts"] == 0
    operation = "embeddings" if method == "embed" else "chat"
    assert span.attributes["gen_ai.operation.name"] == operation
    assert span.name.split()[0] == operation


@pytest.mark.parametrize("word", REFUSED_OVER_HTTP)
def test_a_call_refused_over_http_has_a_line_and_a_span(
    rig: Rig, collector: Collector, word: str
) -> None:
    line, span = told(rig, collector, word)
    assert line["outcome"] == span.attributes["error.type"]
    assert line["request_id"] == span.attributes.get("sutler.request_id")


def test_a_hail_of_refusals_is_counted_and_not_told_line_by_line(rig: Rig) -> None:
    labels = {"component": "hail"}
    count, begun_s = 20 * MAX_REFUSALS_PER_S, time.monotonic()
    with rig.client() as client:
        ids = [client.send("chat", prompt=7, labels=labels) for _ in range(count)]
        for each in ids:
            client.final(each)
    seconds = time.monotonic() - begun_s
    time.sleep(1.1)  # into a second with room
    rig.daemon.ask("chat", prompt=7, labels=labels)
    until_s = time.monotonic() + 20
    lines = lines_of(rig, "hail")
    while sum(1 + line.get("untold_before", 0) for line in lines) < count + 1:
        assert time.monotonic() < until_s, len(lines)
        time.sleep(0.02)
        lines = lines_of(rig, "hail")
    assert len(lines) <= MAX_REFUSALS_PER_S * (seconds + 2) + 1
