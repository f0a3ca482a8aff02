from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.reply import Delta, Reply, ToolCallDelta
from sutlerd.domain.usage import Usage
from sutlerd.providers import dialect, event_reader
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Outcome, Verdict
from sutlerd.providers.openai_chat import OpenAIChat
from sutlerd.providers.openai_switches import COMPATIBLE
from tests.contract.answers import openai_chunk, sse, usage

DIALECT = OpenAIChat(provider="x", switches=COMPATIBLE)
BUILT = BuiltRequest(model="asked", path="/chat/completions", body={})

USAGE_ONLY = {**openai_chunk(), "choices": [], "usage": usage(9, 3)}


def fragment(index: Any = None, **fields: Any) -> dict[str, Any]:
    function = {k: fields.pop(k) for k in ("name", "arguments") if k in fields}
    call = {"function": function, **fields}
    return call if index is None else {"index": index, **call}


LIVELY = (
    b": OPENROUTER PROCESSING\n\n"
    + sse(openai_chunk(role="assistant", content=""))
    + sse(openai_chunk(reasoning="hm"))
    + sse(openai_chunk(content="The é"), {**openai_chunk(content="🙂"), "obfuscation": "xyz"})
    + sse({"unknown": "event"}).replace(b"\n", b"\r\n")
    + sse(openai_chunk(tool_calls=[fragment(0, id="a", name="f", arguments="")]))
    + sse(openai_chunk(tool_calls=[fragment(1, id="b", name="g", arguments="[")]))
    + sse(openai_chunk(tool_calls=[fragment(0, arguments='{"x"'), fragment(1, arguments="1]")]))
    + sse(openai_chunk(tool_calls=[fragment(0, arguments=":1}")]))
    + b": keep-alive\n\n"
    + sse(openai_chunk(finish_reason="tool_calls"))
    + sse(USAGE_ONLY, "[DONE]")
)


def take(pieces: Sequence[bytes]) -> tuple[list[Delta | Reply], AttemptFailed | None]:
    """Read as the endpoint does; give what came, and the failure that followed."""
    reader = DIALECT.open_stream(BUILT)
    items: list[Delta | Reply] = []
    try:
        for piece in pieces:
            items += reader.feed(piece)
            items += reader.feed(b"")
        items += reader.eof()
        items += reader.feed(b"")
    except AttemptFailed as failed:
        return items, failed
    return items, None


def run(pieces: Sequence[bytes]) -> list[Delta | Reply]:
    items, failed = take(pieces)
    assert failed is None
    return items


def failure(*pieces: bytes) -> AttemptFailed:
    _, failed = take(pieces)
    assert failed is not None
    return failed


def reply_of(*pieces: bytes) -> Reply:
    *_, last = run(pieces)
    assert isinstance(last, Reply)
    return last


@pytest.mark.fault("P23")
def test_a_lively_stream_gives_its_pieces_and_then_its_reply() -> None:
    *pieces, reply = run([LIVELY])
    assert pieces == [
        Delta(reasoning="hm"),
        Delta(content="The é"),
        Delta(content="🙂"),
        Delta(tool_calls=(ToolCallDelta(index=0, id="a", name="f"),)),
        Delta(tool_calls=(ToolCallDelta(index=1, id="b", name="g", arguments="["),)),
        Delta(
            tool_calls=(
                ToolCallDelta(index=0, arguments='{"x"'),
                ToolCallDelta(index=1, arguments="1]"),
            )
        ),
        Delta(tool_calls=(ToolCallDelta(index=0, arguments=":1}"),)),
    ]
    assert isinstance(reply, Reply)
    assert (reply.content, reply.reasoning, reply.finish_reason) == ("The é🙂", "hm", "tool_calls")
    assert [(c.id, c.name, c.arguments) for c in reply.tool_calls] == [
        ("a", "f", '{"x":1}'),
        ("b", "g", "[1]"),
    ]
    assert reply.usage == Usage(tokens_in=9, tokens_out=3)


@pytest.mark.fault("P23")
@given(st.lists(st.integers(0, len(LIVELY)), max_size=40))
def test_bytes_cut_anywhere_give_the_same_pieces_and_reply(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(LIVELY)]
    pieces = [LIVELY[a:b] for a, b in itertools.pairwise(edges)]
    assert run(pieces) == run([LIVELY])


@pytest.mark.fault("P23")
def test_byte_by_byte_gives_the_same() -> None:
    assert run([bytes([byte]) for byte in LIVELY]) == run([LIVELY])


BROKEN = {
    "error event": sse(openai_chunk(content="half"), {"error": {"message": "busy", "code": 503}}),
    "no JSON": sse(openai_chunk(content="half"), "{"),
    "cut": sse(openai_chunk(content="half"), openai_chunk(content="er")).rstrip(),
    "done too soon": sse(openai_chunk(content="half"), "[DONE]"),
}


@pytest.mark.fault("P23")
@pytest.mark.parametrize("name", BROKEN)
@given(cuts=st.lists(st.integers(0, 400), max_size=20))
def test_pieces_before_a_failure_are_given_however_the_bytes_were_cut(
    name: str, cuts: list[int]
) -> None:
    stream = BROKEN[name]
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    items, failed = take([stream[a:b] for a, b in itertools.pairwise(edges)])
    whole, whole_failed = take([stream])
    assert items == whole
    assert items[0] == Delta(content="half")
    assert failed is not None
    assert whole_failed is not None
    assert (failed.kind, failed.message) == (whole_failed.kind, whole_failed.message)


@pytest.mark.fault("P16")
@pytest.mark.parametrize(
    "stream",
    [
        b"",
        sse(openai_chunk(content="half")),
        sse(openai_chunk(content="half"), "[DONE]"),
        sse(openai_chunk(content="half"), USAGE_ONLY),
        sse(openai_chunk(content="half", finish_reason="stop"))[:-30],
    ],
)
def test_a_stream_that_ends_without_a_finish_reason_is_cut(stream: bytes) -> None:
    failed = failure(stream)
    assert (failed.verdict, failed.outcome) == (Verdict.RETRY, Outcome.UNKNOWN)
    assert failed.kind in ("cut", "bad_body")


@pytest.mark.parametrize(
    "ending", [b"", sse("[DONE]"), b"data: [DONE]", sse("[DONE]") + b"data: trash\n\n"]
)
def test_a_finish_reason_makes_it_whole_however_it_ends(ending: bytes) -> None:
    reply = reply_of(sse(openai_chunk(content="4"), openai_chunk(finish_reason="stop")), ending)
    assert (reply.content, reply.finish_reason) == ("4", "stop")
    assert reply.usage == Usage()


@pytest.mark.fault("P19")
@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (sse({"error": {"message": "busy", "code": 429}}), "rate_limit"),
        (sse({"error": {"message": "busy", "type": "overloaded_error"}}), "overloaded"),
        (b"event: error\n" + sse({"message": "busy", "code": 503}), "http_503"),
        (sse({"choices": [{"error": {"message": "busy", "code": 502}, "delta": {}}]}), "http_502"),
        (sse({"error": "busy"}), "http_500"),
    ],
)
@pytest.mark.parametrize("before", [b"", sse(openai_chunk(content="half"))])
def test_an_error_event_is_classified_by_its_own_words(
    before: bytes, event: bytes, kind: str
) -> None:
    failed = failure(before, event)
    assert (failed.kind, failed.outcome) == (kind, Outcome.UNKNOWN)
    assert "busy" in failed.message


@pytest.mark.parametrize("word", ["error", "insufficient_system_resource"])
def test_a_stream_that_broke_off_is_no_answer(word: str) -> None:
    assert failure(sse(openai_chunk(content="half", finish_reason=word))).verdict is Verdict.RETRY


@pytest.mark.fault("P20")
def test_usage_in_every_chunk_counts_once_the_last_one() -> None:
    chunks = [{**openai_chunk(content=c), "usage": usage(9, n)} for n, c in enumerate("ab", 1)]
    last = {**openai_chunk(finish_reason="stop"), "usage": None}
    assert reply_of(sse(*chunks, last)).usage == Usage(tokens_in=9, tokens_out=2)


@pytest.mark.fault("P20")
def test_an_empty_but_whole_stream_is_an_empty_reply() -> None:
    *pieces, reply = run([sse(openai_chunk(finish_reason="length"), USAGE_ONLY, "[DONE]")])
    assert pieces == []
    assert isinstance(reply, Reply)
    assert (reply.content, reply.finish_reason) == ("", "length")


def test_groq_s_place_for_usage_is_known() -> None:
    last = openai_chunk(content="4", finish_reason="stop")
    last["x_groq"] = {"usage": {"prompt_tokens": 2, "completion_tokens": 1}}
    assert reply_of(sse(last)).usage == Usage(tokens_in=2, tokens_out=1)


@pytest.mark.fault("P22")
def test_unknown_things_and_ten_thousand_pings_change_nothing() -> None:
    odd = {"choices": "?"}, {"choices": [7]}, {"choices": [{"delta": 7}]}, {"type": "ping"}
    last = sse(openai_chunk(content="4", finish_reason="stop"), "[DONE]")
    assert reply_of(b": ping\n\n" * 10_000 + sse(*odd) + last).content == "4"


@pytest.mark.fault("P17")
@pytest.mark.parametrize(
    "stream",
    [
        b"<html>Please log in</html>",
        b'{"choices": [',
        b"data: {\n\n",
        b"data: []\n\n",
        b'data: {"choices": NaN}\n\n',
    ],
)
def test_what_is_no_stream_is_a_bad_body(stream: bytes) -> None:
    assert failure(stream).kind == "bad_body"


def test_a_server_that_does_not_stream_is_read_all_the_same() -> None:
    body = (
        b' \n {"choices": [{"message": {"content": "4", "reasoning": "hm"}, '
        b'"finish_reason": "stop"}]}'
    )
    pieces = [bytes([byte]) for byte in body]
    delta, reply = run(pieces)
    assert delta == Delta(content="4", reasoning="hm")
    assert isinstance(reply, Reply)
    assert run([body]) == [delta, reply]
    assert failure(b'{"error": {"message": "no", "code": 429}}').kind == "rate_limit"


@pytest.mark.fault("X13")
def test_a_stream_has_limits_of_line_length_fragments_and_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_reader, "MAX_STREAM_LINE_BYTES", 10_000)
    assert failure(b"data: " + b"x" * 11_000).kind == "bad_body"
    assert failure(b"{" + b" " * 11_000).kind == "bad_body"
    monkeypatch.setattr(event_reader, "MAX_REPLY_CHARS", 10_000)
    assert failure(sse(*[openai_chunk(content="x" * 1000)] * 11)).kind == "bad_body"
    call = openai_chunk(tool_calls=[fragment(n, name="f") for n in range(2000)])
    assert dialect.MAX_TOOL_CALLS < 2000
    assert failure(sse(call)).kind == "bad_body"


@pytest.mark.fault("X13")
def test_json_beyond_any_honest_depth_or_count_is_refused_fast() -> None:
    assert failure(sse("[" * 100_000)).kind == "bad_body"
    assert failure(sse("[" + "[]," * 1_100_000 + "[]]")).kind == "bad_body"
