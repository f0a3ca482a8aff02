"""The spans of calls, as a collector that speaks the protocol by its own classes receives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes, server_attributes

from sutlerd.telemetry import conventions
from tests.contract import answers
from tests.integration.faults.rig import serving
from tests.integration.http.rig import http_rig, over_unix
from tests.support.collector import Collector, Seen, collecting

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
CALL = "chat test-model"


def traced(collector: Collector, **settings: Any) -> dict[str, Any]:
    tracing = {"enabled": True, "endpoint": collector.endpoint, "hit_sample_pct": 0, **settings}
    return {"monitoring": {"tracing": tracing}}


def own_of(collector: Collector, component: str, count: int = 1) -> Any:
    """Wait for the calls' own spans of a component: one, or a list of them."""

    def found() -> list[Seen]:
        ours = of_kind(collector.spans, "SERVER")
        return [span for span in ours if span.attributes.get("sutler.component") == component]

    collector.wait_until(lambda: len(found()) >= count)
    assert len(found()) == count
    return found()[0] if count == 1 else found()


def of_kind(spans: list[Seen], kind: str) -> list[Seen]:
    return [span for span in spans if span.kind == kind]


def test_an_uncached_call_has_a_span_and_each_of_its_attempts_one(folder: Path) -> None:
    with (
        collecting() as collector,
        serving(folder, llm=traced(collector, headers={"x-team": "physics-team-key"})) as rig,
    ):
        rig.provider.queue.append(answers.http_answer({}, status=503))
        before = len(rig.provider.requests)
        reply = rig.daemon.result(
            "complete", prompt="one span", max_tokens=7, labels={"component": "planner"}
        )
        call = own_of(collector, "planner")
        attempts = [s for s in of_kind(collector.spans, "CLIENT") if s.trace_id == call.trace_id]
        assert len(attempts) == 2 == len(rig.provider.requests) - before
        assert call.name == CALL and call.parent_id == "" and not call.is_error
        assert {attempt.trace_id for attempt in attempts} == {call.trace_id}
        assert {attempt.parent_id for attempt in attempts} == {call.span_id}
        said = call.attributes
        assert said["gen_ai.operation.name"] == "chat"
        assert said["gen_ai.request.model"] == "test-model" == said["gen_ai.response.model"]
        assert said["gen_ai.request.max_tokens"] == 7
        assert said["gen_ai.usage.input_tokens"] == reply["usage"]["prompt_tokens"]
        assert said["gen_ai.usage.output_tokens"] == reply["usage"]["completion_tokens"]
        assert said["gen_ai.response.finish_reasons"] == ["stop"]
        assert said["sutler.request_id"] == reply["request_id"]
        assert said["sutler.component"] == "planner" and said["sutler.attempts"] == 2
        failed, answered = sorted(attempts, key=lambda span: span.start_ns)
        assert failed.is_error and failed.attributes["error.type"] == "http_503"
        assert failed.attributes["http.response.status_code"] == 503
        assert not answered.is_error and answered.attributes["server.address"] == "127.0.0.1"
        assert answered.attributes["server.port"] == rig.provider.port
        assert call.start_ns <= failed.start_ns <= failed.end_ns <= answered.start_ns
        assert answered.end_ns <= call.end_ns
        assert collector.resources[0]["service.name"] == "sutlerd"
        assert set(collector.paths) == {"/v1/traces"}
        assert collector.headers[0]["x-team"] == "physics-team-key"
        assert f"trace={call.trace_id}" in rig.daemon.log()


def test_the_callers_own_trace_is_continued_over_the_socket_and_over_http(folder: Path) -> None:
    with collecting() as collector, http_rig(folder, llm=traced(collector)) as rig:
        rig.daemon.result("complete", prompt="by line", metadata={"traceparent": TRACEPARENT})
        rig.daemon.result("embed", texts=["by line"], metadata={"traceparent": TRACEPARENT})
        body = {"model": "test-model", "messages": [{"role": "user", "content": "by http"}]}
        headers = {"traceparent": TRACEPARENT}
        assert over_unix(rig.daemon, "POST", "/v1/chat/completions", body, headers).status == 200
        texts = {"model": "test-embed", "input": "by http"}
        assert over_unix(rig.daemon, "POST", "/v1/embeddings", texts, headers).status == 200
        ours = lambda: [s for s in collector.spans if s.trace_id == TRACE]  # noqa: E731
        collector.wait_until(lambda: len(ours()) >= 8)
        own = of_kind(ours(), "SERVER")
        assert [span.parent_id for span in own] == [PARENT] * 4
        assert sorted(span.name for span in own) == [CALL] * 2 + ["embeddings test-embed"] * 2


def test_a_caller_that_does_not_trace_is_not_traced_and_a_broken_parent_is_no_parent(
    folder: Path,
) -> None:
    with collecting() as collector, serving(folder, llm=traced(collector)) as rig:
        ours = {"component": "parentless"}
        never = TRACEPARENT[:-1] + "0"
        rig.daemon.result("complete", prompt="no", metadata={"traceparent": never}, labels=ours)
        for number, broken in enumerate(("ff" + TRACEPARENT[2:], "x", 7, TRACEPARENT.upper())):
            said = {"traceparent": broken}
            rig.daemon.result("complete", prompt=f"q{number}", metadata=said, labels=ours)
        own = own_of(collector, "parentless", 4)
        assert {span.parent_id for span in own} == {""}
        assert len({span.trace_id for span in own}) == 4


def test_one_hit_in_so_many_has_a_span_whatever_way_it_was_found(folder: Path) -> None:
    with (
        collecting() as collector,
        serving(folder, llm=traced(collector, hit_sample_pct=10)) as rig,
    ):
        cached_before = rig.status()["answers"]["cached"]
        for number in range(1 + 40):
            said = {"traceparent": f"00-{number + 1:032x}-{PARENT}-01"}
            rig.daemon.result("complete", prompt="again", metadata=said)

        def hits() -> list[Seen]:
            return [s for s in collector.spans if s.attributes.get("sutler.cached")]

        collector.wait_until(lambda: len(hits()) >= 4)
        assert rig.status()["answers"]["cached"] == cached_before + 40
        assert len(hits()) == 4 and len({span.trace_id for span in hits()}) == 4
        assert {span.parent_id for span in hits()} == {PARENT}
        assert {span.name for span in hits()} == {CALL}


@pytest.mark.parametrize("wanted", [False, True])
def test_nothing_of_what_was_said_is_sent_unless_the_operator_wants_it(
    folder: Path, wanted: bool
) -> None:
    with (
        collecting() as collector,
        serving(folder, llm=traced(collector, capture_content=wanted)) as rig,
    ):
        ours = {"component": "talker"}
        rig.daemon.result("complete", prompt="the-very-words", system="be-brief", labels=ours)
        call = own_of(collector, "talker")
        assert (b"the-very-words" in b"".join(collector.bodies)) is wanted
        if wanted:
            asked = json.loads(call.attributes["gen_ai.input.messages"])
            assert [message["role"] for message in asked] == ["system", "user"]
            assert asked[1]["parts"] == [{"type": "text", "content": "the-very-words"}]
            (answer,) = json.loads(call.attributes["gen_ai.output.messages"])
            assert answer["parts"] == [{"type": "text", "content": "to: the-very-words"}]


def test_a_call_that_fails_says_why_and_never_in_the_providers_own_words(folder: Path) -> None:
    with collecting() as collector, serving(folder, llm=traced(collector)) as rig:
        said = {"error": {"message": "the prompt was: fails"}}
        rig.provider.queue.append(answers.http_answer(said, status=400))
        refused = rig.daemon.ask("complete", prompt="fails", labels={"component": "luckless"})
        assert refused["error"]["data"]["type"] == "provider_error"
        call = own_of(collector, "luckless")
        assert call.is_error and call.said == "provider_error"
        assert call.attributes["error.type"] == "provider_error"
        assert b"the prompt was" not in b"".join(collector.bodies)


def test_a_header_whose_variable_is_not_set_is_left_out_and_said(folder: Path) -> None:
    headers = {"authorization": "Bearer ${SUTLER_TEST_NOT_SET}", "x-team": "some-team-key"}
    with collecting() as collector, serving(folder, llm=traced(collector, headers=headers)) as rig:
        collector.wait_for(2)
        assert "x-team" in collector.headers[0] and "authorization" not in collector.headers[0]
        assert "SUTLER_TEST_NOT_SET is not set" in rig.daemon.log()


def test_the_names_are_those_of_the_conventions() -> None:
    published = {
        value
        for module in (gen_ai_attributes, error_attributes, server_attributes)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    ours = {
        value
        for name, value in vars(conventions).items()
        if name.isupper() and isinstance(value, str) and value.startswith(("gen_ai.", "server."))
    }
    assert ours and ours <= published
    assert conventions.ERROR_TYPE in published
    vendors = {each.value for each in gen_ai_attributes.GenAiProviderNameValues}
    assert set(conventions.VENDORS.values()) <= vendors


def test_settings_of_traces_are_in_force(folder: Path) -> None:
    with collecting() as collector, serving(folder, llm=traced(collector)) as rig:
        assert "not in force" not in rig.daemon.log() and "no traces" not in rig.daemon.log()
