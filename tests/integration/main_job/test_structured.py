"""Answers of an agreed shape: checked, asked for again, stored only when they fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.contract.answers import Answer, Gate, openai_chat, openai_error, openai_stream
from tests.contract.scripted import ScriptedProvider
from tests.integration.main_job.conftest import configured
from tests.support.daemon_process import DaemonProcess
from tests.support.wire_client import WireClient

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "size": {"type": "integer", "minimum": 1}},
    "required": ["city", "size"],
}
GOOD = '{"city": "Rome", "size": 3}'
BAD = '{"city": "Rome", "size": 0}'
LOOK: list[dict[str, Any]] = [{"role": "user", "content": "look"}]
LOOKS = {"name": "look", "parameters": CITY}
PRICED = "prices: {test-model: {input_usd: 1, output_usd: 2}}\n"


@pytest.fixture
def scripted() -> Iterator[ScriptedProvider]:
    with ScriptedProvider.in_thread() as provider:
        yield provider


@pytest.fixture
def daemon(scripted: ScriptedProvider, folder: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(folder, config=configured(scripted, PRICED)) as running:
        yield running


def says(scripted: ScriptedProvider, *answers: str | Answer) -> None:
    scripted.queue.extend(openai_chat(one) if isinstance(one, str) else one for one in answers)


def streamed(client: WireClient) -> list[dict[str, Any]]:
    """Ask for a stream; give its chunks and the final line."""
    client.send("complete", prompt="x", schema=CITY, stream=True)
    lines = [client.line()]
    while "id" not in lines[-1]:
        lines.append(client.line())
    return lines


def calls(arguments: str, name: str = "look") -> Answer:
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return openai_chat(None, finish_reason="tool_calls", tool_calls=[call])


def error_of(reply: dict[str, Any], type: str) -> dict[str, Any]:
    assert "error" in reply, reply
    error: dict[str, Any] = reply["error"]
    assert error["data"]["type"] == type, error
    return error


@pytest.mark.fault("P30")
@pytest.mark.parametrize(
    "content",
    [GOOD, f"Of course!\n```json\n{GOOD}\n```", f"As [1] says, it is {GOOD}. Anything else?"],
)
def test_prose_around_good_json_is_no_error(
    scripted: ScriptedProvider, daemon: DaemonProcess, content: str
) -> None:
    says(scripted, content)
    reply = daemon.result("json", prompt="a city", schema=CITY)
    assert reply["parsed"] == {"city": "Rome", "size": 3}
    assert reply["content"] == content
    assert len(scripted.requests) == 1
    sent = scripted.requests[0].json
    assert sent["response_format"]["json_schema"]["schema"] == CITY


@pytest.mark.fault("P30")
def test_an_answer_that_misses_is_asked_for_again_with_its_errors_and_paid_for(
    scripted: ScriptedProvider, daemon: DaemonProcess
) -> None:
    says(scripted, "I would rather not.", BAD, GOOD)
    reply = daemon.result("complete", prompt="a city", schema=CITY)
    assert reply["parsed"] == {"city": "Rome", "size": 3}
    outcomes = [one["outcome"] for one in reply["trace"]["attempts"]]
    assert outcomes == ["invalid_output", "invalid_output", "ok"]
    assert reply["usage"]["prompt_tokens"] == 27
    assert reply["cost_nanousd"] == 3 * (9 * 1000 + 3 * 2000)
    (row,) = daemon.result("usage", by="uid")["rows"]
    assert (row["calls"], row["attempts"], row["cost_nanousd"]) == (1, 3, reply["cost_nanousd"])
    first, second, third = (request.json["messages"] for request in scripted.requests)
    assert second[:1] == first
    assert second[1] == {"role": "assistant", "content": "I would rather not."}
    assert "no JSON in the answer" in second[2]["content"]
    assert third[1] == {"role": "assistant", "content": BAD}
    assert "$.size: 0 is less than the minimum of 1" in third[2]["content"]


def test_a_repaired_answer_is_stored_under_the_question_as_it_was_first_asked(
    scripted: ScriptedProvider, daemon: DaemonProcess
) -> None:
    says(scripted, BAD, GOOD)
    fresh = daemon.result("json", prompt="a city", schema=CITY)
    again = daemon.result("json", prompt="a city", schema=CITY)
    assert (fresh["cached"], again["cached"]) == (False, True)
    assert again["parsed"] == fresh["parsed"] == {"city": "Rome", "size": 3}
    assert again["saved_nanousd"] == fresh["cost_nanousd"] == 2 * (9 * 1000 + 3 * 2000)
    assert len(scripted.requests) == 2


@pytest.mark.fault("P30")
@pytest.mark.parametrize(
    ("content", "finish", "error"),
    [
        (BAD, "stop", "$.size: 0 is less than the minimum of 1"),
        ('{"city": "Ro', "length", "$: no JSON in the answer"),
        ("{" * (1024 * 1024), "stop", "$: no JSON in the answer"),
    ],
)
def test_after_the_repairs_the_caller_gets_the_text_and_the_errors_and_nothing_is_stored(
    scripted: ScriptedProvider, daemon: DaemonProcess, content: str, finish: str, error: str
) -> None:
    scripted.always = openai_chat(content, finish_reason=finish)
    for asked in (1, 2):
        data = error_of(daemon.ask("json", prompt="a city", schema=CITY), "invalid_output")["data"]
        assert data["errors"] == [error]
        assert content.startswith(data["content"]) and data["content"]
        assert data["repairs"] == 2
        assert data["cost_nanousd"] == 3 * (9 * 1000 + 3 * 2000)
        assert [one["outcome"] for one in data["attempts"]] == ["invalid_output"] * 3
        assert len(scripted.requests) == 3 * asked  # asked again: nothing bad was stored
    if finish == "length":
        assert "too long" in scripted.requests[1].json["messages"][-1]["content"]
    assert all(len(request.body) < 64 * 1024 for request in scripted.requests)
    assert "city" not in daemon.log()  # no reply is logged


def test_json_without_a_schema_is_checked_to_be_json(
    scripted: ScriptedProvider, daemon: DaemonProcess
) -> None:
    says(scripted, "Certainly.", '[1, "two"]')
    reply = daemon.result("json", prompt="a list")
    assert reply["parsed"] == [1, "two"]
    assert scripted.requests[0].json["response_format"] == {"type": "json_object"}
    says(scripted, '{"a": null}')
    assert daemon.result("complete", prompt="x", json_mode=True)["parsed"] == {"a": None}


def test_a_repair_that_cannot_be_made_is_told_with_the_answer_at_hand(
    scripted: ScriptedProvider, daemon: DaemonProcess
) -> None:
    says(scripted, BAD, openai_error(401, "no"))
    data = error_of(daemon.ask("json", prompt="a city", schema=CITY), "invalid_output")["data"]
    assert data["content"] == BAD
    assert data["repair_failed"]["type"] == "provider_error"
    assert data["attempts"][0]["outcome"] == "invalid_output"


def test_failures_on_the_way_to_an_answer_and_to_its_repairs_are_counted_together(
    scripted: ScriptedProvider, folder: Path
) -> None:
    says(scripted, openai_error(500, "no"), BAD, openai_error(500, "no"), GOOD)
    with DaemonProcess(folder, config=configured(scripted, "max_retries: 1")) as daemon:
        data = error_of(daemon.ask("json", prompt="a city", schema=CITY), "invalid_output")["data"]
    assert data["content"] == BAD
    assert data["repair_failed"]["type"] == "provider_unavailable"
    assert [one["outcome"] for one in data["attempts"]] == [
        "http_500",
        "invalid_output",
        "http_500",
    ]
    assert len(scripted.requests) == 3


def test_a_stream_that_was_heard_and_misses_is_an_error_not_a_repair(
    scripted: ScriptedProvider, daemon: DaemonProcess
) -> None:
    says(scripted, openai_stream(['{"city": "Ro', 'me", "size": 0}']))
    with WireClient(daemon.socket) as client:
        lines = streamed(client)
    pieces = "".join(line["params"]["delta"] for line in lines if "params" in line)
    assert pieces == '{"city": "Rome", "size": 0}'
    assert error_of(lines[-1], "invalid_output")["data"]["content"] == pieces
    assert len(scripted.requests) == 1


def test_a_stream_that_fits_ends_in_a_reply_with_its_value_and_is_stored(
    scripted: ScriptedProvider, daemon: DaemonProcess
) -> None:
    says(scripted, openai_stream(['{"city": "Ro', 'me", "size": 3}']))
    for cached in (False, True):
        with WireClient(daemon.socket) as client:
            lines = streamed(client)
        final = lines[-1]["result"]
        assert (final["parsed"], final["cached"]) == ({"city": "Rome", "size": 3}, cached)
        pieces = "".join(line["params"]["delta"] for line in lines if "params" in line)
        assert pieces == final["content"]
    assert len(scripted.requests) == 1


def test_identical_calls_share_the_answer_and_its_repairs(
    scripted: ScriptedProvider, daemon: DaemonProcess
) -> None:
    bad = openai_chat(BAD)
    says(scripted, Answer(steps=(Gate("go"), *bad.steps)), GOOD)

    def ask(_: int) -> dict[str, Any]:
        return daemon.result("json", prompt="a city", schema=CITY)

    with ThreadPoolExecutor(8) as pool:
        replies = [pool.submit(ask, number) for number in range(8)]
        while daemon.result("status")["calls_open"] < 8:
            pass
        scripted.open("go")
        parsed = [reply.result()["parsed"] for reply in replies]
    assert parsed == [{"city": "Rome", "size": 3}] * 8
    assert len(scripted.requests) == 2


def test_the_same_words_under_another_schema_are_another_question(
    scripted: ScriptedProvider, daemon: DaemonProcess
) -> None:
    says(scripted, '{"n": 1}', '{"n": 1}', '{"n": 20}')
    # The difference is one that no provider is told of.
    small = {"type": "object", "properties": {"n": {"type": "integer"}}, "$comment": "any"}
    other = {**small, "$comment": "other"}
    assert daemon.result("json", prompt="n", schema=small)["parsed"] == {"n": 1}
    assert daemon.result("json", prompt="n", schema=other)["cached"] is False
    assert daemon.result("complete", prompt="n")["parsed"] is None


def test_a_call_of_a_function_is_not_held_against_the_schema(
    scripted: ScriptedProvider, daemon: DaemonProcess
) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    says(scripted, openai_chat(None, finish_reason="tool_calls", tool_calls=[call]))
    reply = daemon.result(
        "complete", prompt="x", schema=CITY, functions=[{"name": "look"}], function_call="auto"
    )
    assert reply["tool_calls"][0]["function"]["name"] == "look"
    assert reply["parsed"] is None


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("json", {"schema": {"$ref": "http://127.0.0.1/x"}}, "params.schema.$ref:"),
    ("json", {"schema": {"type": "strin"}}, "params.schema.type:"),
    ("json", {"schema": {"required": 5}}, "params.schema.required:"),
    ("json", {"schema": {"pattern": "("}}, "params.schema.pattern:"),
    ("json", {"schema": {"enum": ["seven"] * 100_000}}, "params.schema: is longer than"),
    ("json", {"functions": [{"name": "f"}]}, "params.functions: must be None"),
    ("json", {"schema": 3}, "params.schema:"),
    ("function_call", {}, "params.messages: Field required"),
    (
        "complete",
        {"functions": [{"name": "f", "parameters": {"properties": 3}}]},
        "params.functions[0].parameters.properties: must be an object",
    ),
    (
        "complete",
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 3}}}},
        "params.response_format.json_schema.schema.type:",
    ),
    (
        "function_call",
        {
            "prompt": None,
            "messages": LOOK,
            "functions": [{"name": "f", "parameters": {"type": "x"}}],
        },
        "params.functions[0].parameters.type:",
    ),
]


@pytest.mark.fault("X14")
def test_a_schema_that_is_itself_wrong_is_refused_before_anything_is_sent(
    scripted: ScriptedProvider, daemon: DaemonProcess
) -> None:
    for method, params, problem in WRONG:
        error = error_of(daemon.ask(method, **{"prompt": "x", **params}), "invalid_params")
        assert any(told.startswith(problem) for told in error["data"]["problems"]), error
    assert scripted.requests == []


def test_the_number_of_repairs_is_the_operators(scripted: ScriptedProvider, folder: Path) -> None:
    scripted.always = openai_chat(BAD)
    with DaemonProcess(folder, config=configured(scripted, "schema_repairs: 0")) as daemon:
        error = error_of(daemon.ask("json", prompt="x", schema=CITY), "invalid_output")
    assert error["data"]["repairs"] == 0
    assert len(scripted.requests) == 1
    assert "schema_repairs" not in daemon.log()


def test_function_calls_take_their_own_method(
    scripted: ScriptedProvider, daemon: DaemonProcess
) -> None:
    scripted.always = calls('{"n": 1}')
    look = {"name": "look", "parameters": {"type": "object"}}
    reply = daemon.result("function_call", messages=LOOK, functions=[look], function_call="look")
    assert json.loads(reply["tool_calls"][0]["function"]["arguments"]) == {"n": 1}
    assert scripted.requests[0].json["tool_choice"]["function"]["name"] == "look"


@pytest.mark.fault("P30")
def test_a_call_that_misses_its_parameters_is_asked_for_again_and_only_a_good_one_is_stored(
    scripted: ScriptedProvider, daemon: DaemonProcess
) -> None:
    asked = {"messages": LOOK, "functions": [LOOKS, {"name": "free"}]}
    # Who judges for himself is handed what was said, and his answer is nobody else's.
    scripted.queue.append(calls(BAD))
    assert daemon.result("complete", **asked)["tool_calls"][0]["function"]["arguments"] == BAD

    scripted.queue.extend([calls(BAD), calls("{", "look"), calls(GOOD)])
    reply = daemon.result("function_call", **asked)
    assert reply["tool_calls"][0]["function"]["arguments"] == GOOD
    assert reply["parsed"] is None
    told = [request.json["messages"] for request in scripted.requests[1:]]
    assert [len(messages) for messages in told] == [1, 2, 2], "of the last call alone"
    assert f"look({BAD})" in told[1][-1]["content"]
    assert "- look$.size: 0 is less than the minimum of 1" in told[1][-1]["content"]
    assert "- look$: the arguments are not JSON" in told[2][-1]["content"]
    assert [one["outcome"] for one in reply["trace"]["attempts"]] == [
        *["invalid_output"] * 2,
        "ok",
    ]
    assert daemon.result("function_call", **asked)["cached"] is True

    scripted.always = calls("[1]", "free")
    error = error_of(daemon.ask("function_call", temperature=0.5, **asked), "invalid_output")
    assert error["data"]["errors"] == ["free$: the arguments are no object"]
    assert error["data"]["tool_calls"][0]["function"]["arguments"] == "[1]"
    assert "does not fit its parameters, after 2 repairs" in error["message"]
    scripted.always = calls("{}", "none")
    error = error_of(daemon.ask("function_call", temperature=0.4, **asked), "invalid_output")
    assert error["data"]["errors"] == ["none: there is no such function"]
    scripted.always = openai_chat("No need to look.")
    assert daemon.result("function_call", temperature=0.3, **asked)["content"]
