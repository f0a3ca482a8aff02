from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.reply import Delta, Reply, ToolCallDelta
from sutlerd.domain.usage import UNKNOWN_USAGE, Usage
from sutlerd.providers import event_reader
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, LimitView, Outcome, Verdict
from sutlerd.providers.openai_dialect import OpenAI
from sutlerd.providers.transport import Response
from tests.contract.answers import sse
from tests.contract.responses_answers import (
    USAGE,
    begin,
    called,
    delta,
    end,
    event,
    refused,
    response,
    said,
    thought,
)

DIALECT = OpenAI(provider="x")
BUILT = BuiltRequest(model="asked", path="/responses", body={})
WHOLE_USAGE = Usage(
    tokens_in=20,
    tokens_out=9,
    cached_tokens_in=16,
    cache_write_tokens_in=4,
    reasoning_tokens_out=5,
)


def answer(body: object, status: int = 200, **headers: str) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status=status, headers=headers, body=data)


def read(body: object) -> Reply:
    return DIALECT.read_reply(BUILT, answer(body))


def failure(body: object) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as raised:
        read(body)
    return raised.value


def test_a_reply_is_read() -> None:
    reply = read(response(thought("h", "m"), said("It is "), said("4."), {"type": "hologram"}))
    assert (reply.content, reply.reasoning, reply.finish_reason) == ("It is 4.", "hm", "stop")
    assert (reply.model, reply.provider, reply.usage) == ("gpt-served", "x", WHOLE_USAGE)


def test_calls_are_known_by_their_call_id() -> None:
    items = (called("c1", "f", '{"a": 1}', id="fc_1"), called(None, "g", '{"a": ', id="fc_2"))
    reply = read(response(*items))
    assert reply.finish_reason == "tool_calls"
    first, second = reply.tool_calls
    assert (first.id, first.name, first.arguments) == ("c1", "f", '{"a": 1}')
    assert second.id.startswith("call_")
    assert second.broken


@pytest.mark.fault("P22")
@pytest.mark.parametrize(
    ("fields", "finish", "raw"),
    [
        ({}, "stop", None),
        ({"incomplete_details": {"reason": "max_output_tokens"}}, "length", None),
        ({"incomplete_details": {"reason": "content_filter"}}, "content_filter", None),
        ({"incomplete_details": {"reason": "steered"}}, "stop", "steered"),
        ({"incomplete_details": None, "status": "incomplete"}, "stop", "incomplete"),
        ({"status": "tired"}, "stop", "tired"),
        ({"status": None}, "stop", "missing"),
    ],
)
def test_an_answer_cut_short_is_one_and_says_why(
    fields: dict[str, Any], finish: str, raw: str | None
) -> None:
    status = "incomplete" if "incomplete_details" in fields else "completed"
    reply = read(response(said(), **{"status": status, **fields}))
    assert (reply.finish_reason, reply.raw_finish_reason) == (finish, raw)


def test_a_refusal_is_its_own_finish() -> None:
    reply = read(response(refused("I cannot")))
    assert (reply.content, reply.finish_reason) == ("I cannot", "content_filter")


@pytest.mark.fault("P20", "P21")
def test_an_empty_answer_without_usage_is_a_reply_with_nothing_made_up() -> None:
    reply = read(response(usage=None))
    assert (reply.content, reply.usage) == ("", UNKNOWN_USAGE)
    bare = {**USAGE, "input_tokens_details": None, "output_tokens_details": 7}
    assert read(response(usage=bare)).usage == Usage(tokens_in=20, tokens_out=9)


@pytest.mark.fault("P18")
@pytest.mark.parametrize(
    ("code", "kind", "verdict"),
    [
        ("server_error", "http_500", Verdict.RETRY),
        ("rate_limit_exceeded", "rate_limit", Verdict.RETRY),
        ("insufficient_quota", "no_credit", Verdict.CLOSED),
        ("invalid_prompt", "http_400", Verdict.REFUSED),
        ("invalid_image_url", "http_400", Verdict.REFUSED),
        ("image_too_large", "http_400", Verdict.REFUSED),
        ("bio_policy", "http_400", Verdict.REFUSED),
        ("context_length_exceeded", "too_long", Verdict.TOO_LONG),
        ("new_code", "http_500", Verdict.RETRY),
    ],
)
def test_an_answer_that_failed_at_status_200_is_judged_by_its_code(
    code: str, kind: str, verdict: Verdict
) -> None:
    error = {"code": code, "message": "no"}
    failed = failure(response(status="failed", error=error))
    assert (failed.kind, failed.verdict) == (kind, verdict)
    streamed = stream_failure(begin() + end(kind="failed", error=error))
    assert (streamed.kind, streamed.verdict) == (kind, verdict)
    assert streamed.outcome is Outcome.UNKNOWN


@pytest.mark.fault("P18")
def test_an_answer_that_is_cancelled_or_not_at_its_end_is_none() -> None:
    assert failure(response(status="cancelled")).verdict is Verdict.RETRY
    for status in ("queued", "in_progress"):
        assert failure(response(status=status)).kind == "bad_body"


@pytest.mark.fault("P17")
@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", {}, {"output": None}])
def test_a_body_that_is_no_answer_may_be_tried_again(body: object) -> None:
    assert failure(body).kind == "bad_body"


def test_limits_and_counts_are_read_as_openai_tells_them() -> None:
    headers = {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "6m0s",
        "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-reset-tokens": "20ms",
    }
    view = DIALECT.limits(answer({}, **headers))
    assert view is not None
    assert view.limits == {
        "requests": LimitView(limit=500.0, remaining=499.0, reset_s=360.0),
        "tokens": LimitView(limit=30_000.0, reset_s=0.02),
    }
    assert DIALECT.read_count(answer({"input_tokens": 5})).tokens == 5
    with pytest.raises(AttemptFailed) as raised:
        DIALECT.read_count(answer({"error": {"code": "model_not_found"}}, 404))
    assert raised.value.verdict is Verdict.MODEL_GONE


# --- streams ---------------------------------------------------------------------------


def item_events(number: int, call_id: str, name: str, *pieces: str) -> bytes:
    place = {"output_index": number, "item_id": f"fc_{number}"}
    added = called(call_id, name, id=f"fc_{number}")
    parts = [event("output_item.added", output_index=number, item=added)]
    parts += [event("function_call_arguments.delta", delta=piece, **place) for piece in pieces]
    whole = "".join(pieces)
    done = {**added, "arguments": whole}
    parts.append(event("function_call_arguments.done", arguments=whole, **place))
    parts.append(event("output_item.done", output_index=number, item=done))
    return b"".join(parts)


LIVELY = (
    begin()
    + event("output_item.added", output_index=0, item={"type": "reasoning", "id": "rs"})
    + delta("h", kind="reasoning_summary_text")
    + delta("m", kind="reasoning_text")
    + delta("The é")
    + event("output_text.annotation.added", annotation={})
    + delta("🙂").replace(b"\n", b"\r\n")
    + event("hologram.delta", delta="?")
    + item_events(2, "c1", "f", '{"a"', ":1}")
    + item_events(3, "c2", "g")
    + end(said("The é🙂"))
)


def run(pieces: Sequence[bytes]) -> list[Delta | Reply]:
    reader = DIALECT.open_stream(BUILT)
    items = [item for piece in pieces for item in reader.feed(piece)]
    return [*items, *reader.eof()]


def stream_failure(*pieces: bytes) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as raised:
        run(pieces)
    return raised.value


@pytest.mark.fault("P22", "P23")
def test_a_lively_stream_gives_its_pieces_and_then_its_reply() -> None:
    *pieces, reply = run([LIVELY])
    assert pieces == [
        Delta(reasoning="h"),
        Delta(reasoning="m"),
        Delta(content="The é"),
        Delta(content="🙂"),
        Delta(tool_calls=(ToolCallDelta(index=0, id="c1", name="f"),)),
        Delta(tool_calls=(ToolCallDelta(index=0, arguments='{"a"'),)),
        Delta(tool_calls=(ToolCallDelta(index=0, arguments=":1}"),)),
        Delta(tool_calls=(ToolCallDelta(index=1, id="c2", name="g"),)),
    ]
    assert isinstance(reply, Reply)
    assert (reply.content, reply.reasoning, reply.finish_reason) == ("The é🙂", "hm", "tool_calls")
    assert [(c.id, c.arguments) for c in reply.tool_calls] == [("c1", '{"a":1}'), ("c2", "{}")]
    assert (reply.model, reply.usage) == ("gpt-served", WHOLE_USAGE)


@pytest.mark.fault("P23")
@given(st.lists(st.integers(0, len(LIVELY)), max_size=40))
def test_bytes_cut_anywhere_give_the_same_pieces_and_reply(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(LIVELY)]
    pieces = [LIVELY[a:b] for a, b in itertools.pairwise(edges)]
    assert run(pieces) == run([LIVELY])


@pytest.mark.fault("P23")
def test_byte_by_byte_gives_the_same() -> None:
    assert run([bytes([byte]) for byte in LIVELY]) == run([LIVELY])


@pytest.mark.fault("P23")
def test_arguments_that_come_whole_are_taken_once() -> None:
    stream = begin() + event("output_item.added", item=called("c1", "f", id="fc_1"))
    done = event("output_item.done", item=called("c1", "f", '{"a":1}', id="fc_1"))
    reply = run([stream + done + done + end()])[-1]
    assert isinstance(reply, Reply)
    assert reply.tool_calls[0].arguments == '{"a":1}'


@pytest.mark.fault("P16")
@pytest.mark.parametrize(
    "stream", [b"", begin(), begin() + delta("half"), begin() + delta("half") + sse("[DONE]")]
)
def test_a_stream_that_ends_without_its_last_event_is_cut(stream: bytes) -> None:
    failed = stream_failure(stream)
    assert (failed.kind, failed.outcome) == ("cut", Outcome.UNKNOWN)


@pytest.mark.fault("P19")
def test_an_error_event_is_judged_by_its_code() -> None:
    flat = sse({"type": "error", "code": "server_error", "message": "oh"})
    nested = sse({"type": "error", "error": {"code": "rate_limit_exceeded", "message": "oh"}})
    assert stream_failure(begin() + flat).kind == "http_500"
    assert stream_failure(begin() + delta("a"), nested).kind == "rate_limit"


def test_an_answer_that_was_never_streamed_is_passed_on_as_one_piece() -> None:
    items = run([begin() + end(said("4"), called("c1", "f", "{}"))])
    assert items[:-1] == [
        Delta(
            content="4",
            tool_calls=(ToolCallDelta(index=0, id="c1", name="f", arguments="{}"),),
        )
    ]
    assert isinstance(items[-1], Reply)
    assert isinstance(run([begin() + end()])[-1], Reply)


def test_a_refusal_that_is_streamed_is_the_reply() -> None:
    reply = run([begin() + delta("I cannot", kind="refusal") + end(refused("I cannot"))])[-1]
    assert isinstance(reply, Reply)
    assert (reply.content, reply.finish_reason) == ("I cannot", "content_filter")


def test_a_server_that_does_not_stream_is_understood() -> None:
    assert run([json.dumps(response(said("4"))).encode()])[0] == Delta(content="4")


@pytest.mark.fault("P17")
def test_a_last_event_without_an_answer_cannot_be_read() -> None:
    assert stream_failure(begin() + event("completed")).kind == "bad_body"


def test_a_reply_without_end_fails_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_reader, "MAX_REPLY_CHARS", 10_000)
    assert "10000 characters" in stream_failure(begin(), *[delta("x" * 1000)] * 11).message
