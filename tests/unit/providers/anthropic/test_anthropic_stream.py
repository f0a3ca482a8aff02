from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.reply import Delta, Reply, ToolCallDelta
from sutlerd.domain.usage import Usage
from sutlerd.providers import event_reader
from sutlerd.providers.anthropic_dialect import Anthropic
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Outcome, Verdict
from tests.contract.anthropic_answers import (
    PING,
    block,
    end,
    event,
    message,
    said,
    start,
    text,
    thought,
)
from tests.contract.anthropic_answers import (
    given as fragment,
)

DIALECT = Anthropic(provider="x")
BUILT = BuiltRequest(model="asked", path="/v1/messages", body={})


def call(id: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}


LIVELY = (
    b": comment\n\n"
    + start(cache_read_input_tokens=100)
    + PING
    + block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        thought("h"),
        thought("m"),
        {"type": "signature_delta", "signature": "sig"},
    )
    + block(1, text(""), said("The é"), {"type": "citations_delta", "citation": {}}, said("🙂"))
    + event("hologram_start", index=2).replace(b"\n", b"\r\n")
    + block(2, {"type": "redacted_thinking", "data": "x"}, {"type": "strange_delta"})
    + block(3, call("t1", "weather"), fragment(""), fragment('{"city": "Pa'), fragment('ris"}'))
    + block(4, call("t2", "ping"), fragment(""))
    + PING
    + end("tool_use", output_tokens=50, output_tokens_details={"thinking_tokens": 9})
)


def run(pieces: Sequence[bytes]) -> list[Delta | Reply]:
    reader = DIALECT.open_stream(BUILT)
    items = [item for piece in pieces for item in reader.feed(piece)]
    return [*items, *reader.eof()]


def failure(*pieces: bytes) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as raised:
        run(pieces)
    return raised.value


def reply_of(*pieces: bytes) -> Reply:
    *_, last = run(pieces)
    assert isinstance(last, Reply)
    return last


@pytest.mark.fault("P22", "P23")
def test_a_lively_stream_gives_its_pieces_and_then_its_reply() -> None:
    *pieces, reply = run([LIVELY])
    assert pieces == [
        Delta(reasoning="h"),
        Delta(reasoning="m"),
        Delta(content="The é"),
        Delta(content="🙂"),
        Delta(tool_calls=(ToolCallDelta(index=0, id="t1", name="weather"),)),
        Delta(tool_calls=(ToolCallDelta(index=0, arguments='{"city": "Pa'),)),
        Delta(tool_calls=(ToolCallDelta(index=0, arguments='ris"}'),)),
        Delta(tool_calls=(ToolCallDelta(index=1, id="t2", name="ping"),)),
    ]
    assert isinstance(reply, Reply)
    assert (reply.content, reply.reasoning, reply.finish_reason) == ("The é🙂", "hm", "tool_calls")
    assert [(c.id, c.arguments) for c in reply.tool_calls] == [
        ("t1", '{"city": "Paris"}'),
        ("t2", "{}"),
    ]
    assert (reply.model, reply.provider) == ("claude-served", "x")


@pytest.mark.fault("P21")
def test_later_counts_replace_earlier_ones_and_nulls_say_nothing() -> None:
    assert reply_of(LIVELY).usage == Usage(
        tokens_in=109, tokens_out=50, cached_tokens_in=100, reasoning_tokens_out=9
    )
    later = end(output_tokens=7, input_tokens=20, cache_read_input_tokens=None)
    usage = reply_of(start(cache_read_input_tokens=5), later).usage
    assert (usage.tokens_in, usage.tokens_out, usage.cached_tokens_in) == (25, 7, 5)


@pytest.mark.fault("P23")
@given(st.lists(st.integers(0, len(LIVELY)), max_size=40))
def test_bytes_cut_anywhere_give_the_same_pieces_and_reply(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(LIVELY)]
    pieces = [LIVELY[a:b] for a, b in itertools.pairwise(edges)]
    assert run(pieces) == run([LIVELY])


@pytest.mark.fault("P23")
def test_byte_by_byte_gives_the_same() -> None:
    assert run([bytes([byte]) for byte in LIVELY]) == run([LIVELY])


@pytest.mark.fault("P16")
@pytest.mark.parametrize(
    "stream",
    [
        b"",
        start(),
        start() + block(0, text(""), said("half")),
        start() + block(0, text(""), said("half")) + end().partition(b"event: message_stop")[0],
    ],
)
def test_a_stream_that_ends_without_message_stop_is_cut(stream: bytes) -> None:
    failed = failure(stream)
    assert (failed.verdict, failed.outcome, failed.kind) == (RETRY, Outcome.UNKNOWN, "cut")


RETRY = Verdict.RETRY


@pytest.mark.fault("P19")
@pytest.mark.parametrize(
    ("type", "kind", "verdict"),
    [
        ("overloaded_error", "overloaded", RETRY),
        ("api_error", "http_500", RETRY),
        ("rate_limit_error", "rate_limit", RETRY),
        ("invalid_request_error", "http_400", Verdict.REFUSED),
        ("new_error", "http_500", RETRY),
    ],
)
def test_an_error_event_is_judged_by_its_type_and_may_have_been_billed(
    type: str, kind: str, verdict: Verdict
) -> None:
    error = event("error", error={"type": type, "message": "Overloaded"})
    for stream in (error, start() + error, start() + block(0, text(""), said("a")) + error):
        failed = failure(stream)
        assert (failed.kind, failed.verdict) == (kind, verdict)
        assert failed.outcome is Outcome.UNKNOWN


@pytest.mark.fault("P19")
def test_pieces_before_an_error_in_the_same_bytes_come_first() -> None:
    reader = DIALECT.open_stream(BUILT)
    error = event("error", error={"type": "overloaded_error", "message": "x"})
    assert reader.feed(start() + block(0, text(""), said("a")) + error) == [Delta(content="a")]
    with pytest.raises(AttemptFailed):
        reader.feed(b"")


@pytest.mark.fault("P22")
def test_ten_thousand_pings_are_nothing() -> None:
    assert run([start(), PING * 10_000, end()])[:-1] == []


def test_what_a_block_begins_with_counts_if_nothing_follows_it() -> None:
    stream = (
        start()
        + block(0, text("Hello"), said(" you"))
        + block(1, {"type": "thinking", "thinking": "hm"})
        + block(2, call("t1", "f", x=1))
        + block(3, call("t2", "g", x=1), fragment('{"x":2}'))
        + end("tool_use")
    )
    reply = reply_of(stream)
    assert (reply.content, reply.reasoning) == ("Hello you", "hm")
    assert [c.arguments for c in reply.tool_calls] == ['{"x":1}', '{"x":2}']


@pytest.mark.fault("P23")
def test_arguments_cut_by_the_limit_are_handed_on_and_marked() -> None:
    stream = start() + block(0, call("t1", "f"), fragment('{"x": ')) + end("max_tokens")
    reply = reply_of(stream)
    assert (reply.tool_calls[0].arguments, reply.tool_calls[0].broken) == ('{"x": ', True)
    assert reply.finish_reason == "length"


@pytest.mark.fault("P20")
def test_an_empty_stream_of_a_whole_message_is_a_reply() -> None:
    reply = reply_of(start(), end("refusal"))
    assert (reply.content, reply.finish_reason) == ("", "content_filter")


@pytest.mark.fault("P17")
@pytest.mark.parametrize(
    "stream",
    [
        event("message_stop"),
        event("message_start", message=None),
        b"event: message_start\ndata: {nonsense\n\n",
        b"data: []\n\n",
    ],
)
def test_a_stream_that_cannot_be_read_is_no_answer(stream: bytes) -> None:
    assert failure(stream).kind == "bad_body"


def test_a_server_that_does_not_stream_is_understood() -> None:
    *pieces, reply = run([json.dumps(message(text("4"))).encode()])
    assert pieces == [Delta(content="4")]
    assert isinstance(reply, Reply)


def test_a_reply_without_end_fails_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_reader, "MAX_REPLY_CHARS", 10_000)
    long = event("content_block_delta", index=0, delta=said("x" * 1000))
    assert "10000 characters" in failure(start(), *[long] * 11).message
    parts = event("content_block_delta", index=0, delta=fragment("x" * 1000))
    begun = event("content_block_start", index=0, content_block=call("t", "f"))
    assert "10000 characters" in failure(start(), begun, *[parts] * 11).message
