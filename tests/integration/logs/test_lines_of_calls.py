"""What the log says of calls: a line for each uncached one, a sum for the others."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sutlerd.domain.errors import CallError
from tests.contract import answers
from tests.integration.faults.rig import Rig, held, serving


@pytest.fixture(name="rig", scope="module")
def _rig() -> Iterator[Rig]:
    with (
        tempfile.TemporaryDirectory(prefix="sl-") as folder,
        serving(Path(folder), llm={"max_retries": 0}, daemon={"log_format": "json"}) as rig,
    ):
        yield rig


def lines(rig: Rig, event: str) -> list[dict[str, Any]]:
    """Give the events of this name so far; every line of the log is JSON."""
    whole = [line for line in rig.daemon.log().splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in map(json.loads, whole) if line["event"] == event]


def line_of(rig: Rig, event: str, component: str) -> dict[str, Any]:
    until_s = time.monotonic() + 20
    while not (found := [x for x in lines(rig, event) if x.get("component") == component]):
        assert time.monotonic() < until_s, rig.daemon.log()
        time.sleep(0.02)
    assert len(found) == 1, "one line for one call"
    return found[0]


def test_an_uncached_call_is_told_in_one_line(rig: Rig) -> None:
    labels = {"component": "planner", "project": "apollo"}
    reply = rig.daemon.result("complete", prompt="the-words-of-a-user", labels=labels)
    line = line_of(rig, "call", "planner")
    assert line["level"] == "info" and line["outcome"] == "ok"
    assert line["request_id"] == reply["request_id"]
    assert line["uid"] >= 0 and line["project"] == "apollo"
    # The provider's name is masked here: it is a part of this test's key.
    assert line["route"] == "***/test-model" and line["attempts"] == 1
    assert 0 <= line["waited_ms"] <= line["ms"]
    assert line["tokens_in"] == reply["usage"]["prompt_tokens"]
    assert line["tokens_out"] == reply["usage"]["completion_tokens"]
    assert line["cost_nanousd"] == reply["cost_nanousd"]
    assert "the-words-of-a-user" not in rig.daemon.log()


def test_an_embedding_that_was_bought_is_told_in_one_line(rig: Rig) -> None:
    rig.daemon.result("embed", texts=["a-private-text", "b"], labels={"component": "memory"})
    line = line_of(rig, "embed", "memory")
    assert line["outcome"] == "ok" and line["texts"] == 2 and line["request_id"]
    assert "a-private-text" not in rig.daemon.log()


@pytest.mark.parametrize("method", ["complete", "embed"])
def test_a_call_whose_caller_had_no_more_time_is_told_as_timed_out(rig: Rig, method: str) -> None:
    levels = {each.type: each.log_level for each in CallError.__subclasses__()}
    rig.answers["too-late"] = held("late", answers.openai_chat("late"))
    asked: dict[str, Any] = {"complete": {"prompt": "too-late"}, "embed": {"texts": ["too-late"]}}
    claimed = {"timeout_s": 2.0, "labels": {"component": f"late-{method}"}}
    with rig.client() as client:
        refused = client.ask(method, **asked[method], **claimed)["error"]
    line = line_of(rig, method.replace("complete", "call"), f"late-{method}")
    assert line["outcome"] == refused["data"]["type"] == "timeout"
    assert line["level"] == levels["timeout"] and "timeout_s" in line["error"]
    assert line["attempts"] == 1


def test_who_has_no_more_time_is_told_also_when_others_wait_for_the_same_texts(rig: Rig) -> None:
    rig.answers["shared"] = held("shared", answers.openai_embeddings([[1.0]]))
    with rig.client() as client:
        patient = client.send("embed", texts=["shared"], labels={"component": "patient"})
        rig.wait_until_asked("shared")
        hasty = {"timeout_s": 0.3, "labels": {"component": "hasty"}}
        assert client.ask("embed", texts=["shared"], **hasty)["error"]["data"]["type"] == "timeout"
        assert line_of(rig, "embed", "hasty")["outcome"] == "timeout"
        rig.provider.open("shared")
        assert client.final(patient)[1]["result"]["embeddings"]
    assert line_of(rig, "embed", "patient")["outcome"] == "ok"


def test_a_call_that_its_caller_gave_up_is_told_as_cancelled(rig: Rig) -> None:
    rig.answers["given-up"] = held("given-up", answers.openai_chat("late"))
    with rig.client() as client:
        client.send("complete", prompt="given-up", labels={"component": "fickle"})
        rig.wait_until_asked("given-up")
    line = line_of(rig, "call", "fickle")
    assert (line["outcome"], line["level"]) == ("cancelled", "info") and "error" not in line


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, "provider_error"), (500, "provider_unavailable"), (429, "rate_limited")],
)
def test_a_failed_call_is_told_at_the_level_of_its_error(rig: Rig, status: int, error: str) -> None:
    levels = {each.type: each.log_level for each in CallError.__subclasses__()}
    rig.answers[f"fails-{status}"] = answers.http_answer({}, status=status)
    asked = {"prompt": f"fails-{status}", "timeout_s": 5, "labels": {"component": f"c{status}"}}
    refused = rig.daemon.ask("complete", **asked)["error"]
    line = line_of(rig, "call", f"c{status}")
    assert (line["outcome"], refused["data"]["type"]) == (error, error)
    assert line["level"] == levels[error]
    assert line["error"].split("/", 1)[1] == refused["message"].split("/", 1)[1]


def test_answers_from_the_cache_are_summed_up(rig: Rig) -> None:
    before = rig.status()["answers"]["cached"]
    told_before = sum(line["count"] for line in lines(rig, "hits"))
    with rig.client() as client:
        for _ in range(301):
            client.result("complete", prompt="asked again and again", temperature=0)
    assert rig.status()["answers"]["cached"] == before + 300
    until_s = time.monotonic() + 20
    while sum(line["count"] for line in lines(rig, "hits")) - told_before < 300:
        assert time.monotonic() < until_s, rig.daemon.log()
        time.sleep(0.05)
    assert len(lines(rig, "hits")) < 30, "a line for many, not for each"
