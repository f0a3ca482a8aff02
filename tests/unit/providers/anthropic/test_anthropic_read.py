from __future__ import annotations

import json
from typing import Any

import pytest

from sutlerd.domain.reply import Reply
from sutlerd.domain.usage import UNKNOWN_USAGE, Usage
from sutlerd.providers.anthropic_dialect import Anthropic
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, LimitView, Outcome, Verdict
from sutlerd.providers.transport import Response
from tests.contract.anthropic_answers import counts, message, text, tool_use

DIALECT = Anthropic(provider="x")
BUILT = BuiltRequest(model="asked", path="/v1/messages", body={})


def response(body: object, status: int = 200, **headers: str) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status=status, headers=named, body=data, arrived_unix_s=1_795_470_000.0)


def read(body: object, status: int = 200, **headers: str) -> Reply:
    return DIALECT.read_reply(BUILT, response(body, status, **headers))


def failure(body: object, status: int = 200, **headers: str) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as raised:
        read(body, status, **headers)
    return raised.value


def error(type: str, words: str = "no", **details: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": type, "message": words, "details": details}}


def test_a_reply_is_read() -> None:
    reply = read(message(text("It is "), text("4.")))
    assert (reply.content, reply.finish_reason) == ("It is 4.", "stop")
    assert (reply.model, reply.provider) == ("claude-served", "x")
    assert reply.reasoning is None
    assert reply.raw_finish_reason is None


def test_the_whole_prompt_is_what_was_read_anew_and_what_the_cache_wrote_and_gave() -> None:
    usage = counts(
        10,
        200,
        cache_creation_input_tokens=2000,
        cache_read_input_tokens=30_000,
        output_tokens_details={"thinking_tokens": 150},
    )
    assert read(message(text(), usage=usage)).usage == Usage(
        tokens_in=32_010,
        tokens_out=200,
        cached_tokens_in=30_000,
        cache_write_tokens_in=2000,
        reasoning_tokens_out=150,
    )


@pytest.mark.fault("P21")
@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, UNKNOWN_USAGE),
        ([], UNKNOWN_USAGE),
        ({}, UNKNOWN_USAGE),
        ({"input_tokens": 5}, Usage(tokens_in=5)),
        ({"cache_read_input_tokens": 5}, Usage(cached_tokens_in=5)),
        (counts(-1, -1), UNKNOWN_USAGE),
        (counts(5, 1, cache_read_input_tokens=None), Usage(tokens_in=5, tokens_out=1)),
    ],
)
def test_counts_that_were_not_said_are_none_and_never_made_up(usage: Any, expected: Usage) -> None:
    assert read(message(text(), usage=usage)).usage == expected


@pytest.mark.fault("P22")
def test_blocks_are_taken_by_their_type_never_by_their_place() -> None:
    reply = read(
        message(
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "hologram", "text": "?"},
            text("4"),
            "not a block",  # type: ignore[arg-type]
            {"type": "text", "text": None},
        )
    )
    assert (reply.content, reply.reasoning) == ("4", "hm")


@pytest.mark.fault("P22")
@pytest.mark.parametrize(
    ("word", "finish", "raw"),
    [
        ("end_turn", "stop", None),
        ("stop_sequence", "stop", None),
        ("max_tokens", "length", None),
        ("model_context_window_exceeded", "length", None),
        ("refusal", "content_filter", None),
        ("pause_turn", "stop", "pause_turn"),
        ("tired", "stop", "tired"),
        (None, "stop", "missing"),
        ([], "stop", "missing"),
    ],
)
def test_stop_reasons_are_mapped_and_unknown_ones_kept(
    word: Any, finish: str, raw: str | None
) -> None:
    reply = read(message(text(), stop_reason=word))
    assert (reply.finish_reason, reply.raw_finish_reason) == (finish, raw)


def test_calls_have_their_arguments_as_a_string_of_json() -> None:
    uses = (tool_use("t1", "weather", city="Paris"), tool_use("t2", "ping"))
    reply = read(message(text("Let me see."), *uses, stop_reason="tool_use"))
    assert reply.finish_reason == "tool_calls"
    assert [(c.id, c.name, c.arguments) for c in reply.tool_calls] == [
        ("t1", "weather", '{"city":"Paris"}'),
        ("t2", "ping", "{}"),
    ]
    assert not any(c.broken for c in reply.tool_calls)


@pytest.mark.fault("P20")
def test_a_complete_but_empty_answer_is_a_reply() -> None:
    reply = read(message(stop_reason="max_tokens"))
    assert (reply.content, reply.finish_reason) == ("", "length")


@pytest.mark.fault("P17")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"content": [',
        b"<html>Please log in</html>",
        b"[]",
        {},
        {"type": "message"},
        {"type": "message", "content": None},
        {"type": "completion", "content": []},
        message({"type": "tool_use", "id": "t"}),
    ],
)
def test_a_body_that_is_no_answer_was_perhaps_billed_and_may_be_tried_again(body: object) -> None:
    failed = failure(body)
    assert (failed.verdict, failed.outcome) == (Verdict.RETRY, Outcome.UNKNOWN)
    assert failed.kind == "bad_body"


RETRY, REFUSED, CLOSED, GONE = (
    Verdict.RETRY,
    Verdict.REFUSED,
    Verdict.CLOSED,
    Verdict.MODEL_GONE,
)


@pytest.mark.parametrize(
    ("status", "body", "verdict", "kind"),
    [
        (400, error("invalid_request_error"), REFUSED, "http_400"),
        (
            400,
            error("invalid_request_error", "You have reached your specified API usage limits."),
            CLOSED,
            "no_credit",
        ),
        (
            400,
            error("invalid_request_error", error_code="organization_on_hold"),
            CLOSED,
            "no_credit",
        ),
        (
            400,
            error("invalid_request_error", error_code="image_dimensions_too_large"),
            REFUSED,
            "http_400",
        ),
        (401, error("authentication_error"), CLOSED, "no_permission"),
        (402, error("billing_error", error_code="billing_unavailable"), CLOSED, "no_credit"),
        (403, error("permission_error"), CLOSED, "no_permission"),
        (404, error("not_found_error", "model: claude-2"), GONE, "model_gone"),
        (408, b"", RETRY, "http_408"),
        (409, error("conflict_error"), RETRY, "http_409"),
        (413, b"<html><h1>413 Request Entity Too Large</h1></html>", REFUSED, "http_413"),
        (413, error("request_too_large"), REFUSED, "http_413"),
        (422, error("unprocessable"), REFUSED, "http_422"),
        (429, error("rate_limit_error"), RETRY, "rate_limit"),
        (429, error("rate_limit_error", error_code="ramp_limit_exceeded"), RETRY, "ramp_limit"),
        (
            429,
            error("rate_limit_error", error_code="enforced_spend_limit_reached"),
            CLOSED,
            "no_credit",
        ),
        (
            429,
            error("rate_limit_error", error_code="contract_spend_limit_reached"),
            CLOSED,
            "no_credit",
        ),
        (500, error("api_error"), RETRY, "http_500"),
        (501, b"", REFUSED, "http_501"),
        (503, b"", RETRY, "http_503"),
        (504, error("timeout_error"), RETRY, "http_504"),
        (529, error("overloaded_error"), RETRY, "overloaded"),
    ],
)
@pytest.mark.fault("P6")
def test_failures_are_judged_by_their_words_and_then_by_their_status(
    status: int, body: object, verdict: Verdict, kind: str
) -> None:
    failed = failure(body, status)
    assert (failed.verdict, failed.kind) == (verdict, kind)
    expected = Outcome.UNKNOWN if status == 504 else Outcome.NOT_BILLED
    assert failed.outcome is expected


@pytest.mark.fault("P6")
def test_a_prompt_that_is_too_long_says_by_how_much() -> None:
    failed = failure(
        error("invalid_request_error", "prompt is too long: 200,251 tokens > 200000 maximum"), 400
    )
    assert failed.verdict is Verdict.TOO_LONG
    assert (failed.tokens_needed, failed.tokens_allowed) == (200_251, 200_000)


@pytest.mark.fault("P18")
def test_an_error_at_status_200_is_an_error() -> None:
    failed = failure(error("overloaded_error", "Overloaded"))
    assert (failed.kind, failed.outcome) == ("overloaded", Outcome.NOT_BILLED)


def test_the_shared_limits_are_read_by_kind_with_resets_on_the_providers_clock() -> None:
    stems = ("requests", "tokens", "input_tokens", "output_tokens")
    headers = {"date": "Mon, 23 Nov 2026 18:20:00 GMT", "retry_after": "7"}
    for number, stem in enumerate(stems):
        headers |= {
            f"anthropic_ratelimit_{stem}_limit": str(1000 * (number + 1)),
            f"anthropic_ratelimit_{stem}_remaining": "0",
            f"anthropic_ratelimit_{stem}_reset": "2026-11-23T18:20:05Z",
        }
    failed = failure(error("rate_limit_error"), 429, **headers)
    assert failed.retry_after_s == 7
    assert failed.limits is not None
    assert failed.limits.limits == {
        kind: LimitView(limit=1000.0 * (number + 1), remaining=0.0, reset_s=5.0)
        for number, kind in enumerate(("requests", "tokens", "tokens_in", "tokens_out"))
    }


def test_the_providers_count_is_taken_as_the_estimate_it_calls_itself() -> None:
    counted = DIALECT.read_count(response({"input_tokens": 14}))
    assert (counted.tokens, counted.exact, counted.method) == (14, False, "provider")
    for wrong in ({}, {"input_tokens": "14"}, {"input_tokens": -1}, []):
        with pytest.raises(AttemptFailed, match="count"):
            DIALECT.read_count(response(wrong))
    with pytest.raises(AttemptFailed) as raised:
        DIALECT.read_count(response(error("not_found_error"), 404))
    assert raised.value.verdict is Verdict.MODEL_GONE
