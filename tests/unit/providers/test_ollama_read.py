"""Replies, streams and errors of Ollama's own wire."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.reply import Delta, Embedded, Reply
from sutlerd.domain.usage import UNKNOWN_USAGE, Usage
from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict
from sutlerd.providers.dialect import MAX_STREAM_LINE_BYTES, ModelTraits
from sutlerd.providers.ollama import Ollama
from sutlerd.providers.ollama_stream import LineSplitter
from sutlerd.providers.transport import Response

DIALECT = Ollama(provider="node")
CALL = {"function": {"name": "add", "arguments": {"a": 2}}}


def built(prompt: str = "hi") -> Any:
    request = ChatRequest(messages=({"role": "user", "content": prompt},), max_tokens=9)
    return DIALECT.build_chat(request, "m", ModelTraits())


def line(content: str = "", **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **fields.pop("message", {})}
    return {"model": "m", "created_at": "t", "message": message, "done": False, **fields}


def last(**fields: Any) -> dict[str, Any]:
    ending = {"done": True, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 2}
    return line(**{**ending, **fields})


def read(body: object, status: int = 200, prompt: str = "hi") -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = Response(status=status, headers={}, body=data)
    return DIALECT.read_reply(built(prompt), response)


def refused(body: object, status: int = 200, prompt: str = "hi") -> AttemptFailed:
    with pytest.raises(AttemptFailed) as raised:
        read(body, status, prompt)
    return raised.value


def streamed(
    lines: Sequence[object], size: int = 10**9, prompt: str = "hi"
) -> tuple[list[Delta | Reply], AttemptFailed | None]:
    data = b"".join(json.dumps(item).encode() + b"\n" for item in lines)
    return fed(data, size, prompt)


def fed(
    data: bytes, size: int = 10**9, prompt: str = "hi"
) -> tuple[list[Delta | Reply], AttemptFailed | None]:
    reader = DIALECT.open_stream(built(prompt))
    items: list[Delta | Reply] = []
    try:
        for start in range(0, len(data), size):
            items += reader.feed(data[start : start + size])
        items += reader.eof()
        items += reader.feed(b"")
    except AttemptFailed as failure:
        return items, failure
    return items, None


def test_a_reply_is_read_with_thinking_apart_and_arguments_as_a_string() -> None:
    reply = read(last(message={"content": "4", "thinking": "hm", "tool_calls": [CALL, CALL]}))
    assert (reply.content, reply.reasoning) == ("4", "hm")
    assert (reply.finish_reason, reply.raw_finish_reason) == ("tool_calls", None)
    first, second = reply.tool_calls
    assert (first.name, first.arguments) == ("add", '{"a":2}')
    assert first.id.startswith("call_")
    assert first.id != second.id
    assert reply.usage == Usage(tokens_in=5, tokens_out=2)


@pytest.mark.fault("P33")
@pytest.mark.fault("P21")
def test_counts_that_are_not_there_are_unknown() -> None:
    ends = {"done": True, "done_reason": "length"}
    assert read(line("4", **ends)).usage == UNKNOWN_USAGE
    assert read(line("4", **ends)).finish_reason == "length"
    assert read(last(prompt_eval_count=None, eval_count=-3)).usage == UNKNOWN_USAGE


@pytest.mark.fault("P17")
@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        [],
        {"done": True},
        line("cut"),
        last(done_reason="load"),
        last(message={"tool_calls": [{"function": {"arguments": {}}}]}),
    ],
)
def test_what_is_no_whole_reply_is_unusable(body: object) -> None:
    assert refused(body).kind == "bad_body"


@pytest.mark.parametrize(
    ("status", "message", "verdict", "kind"),
    [
        (404, "model 'x' not found", Verdict.MODEL_GONE, "model_gone"),
        (503, "server busy, maximum pending requests exceeded", Verdict.RETRY, "rate_limit"),
        (400, '"x" does not support tools', Verdict.REFUSED, "http_400"),
        (400, "the input length exceeds the context length", Verdict.TOO_LONG, "too_long"),
        (500, "model requires more system memory (9 GiB)", Verdict.MODEL_GONE, "no_memory"),
        (500, "llama runner process has terminated", Verdict.RETRY, "http_500"),
        (401, "unauthorized", Verdict.CLOSED, "no_permission"),
        (429, "slow down", Verdict.RETRY, "rate_limit"),
    ],
)
def test_errors_are_judged_alike_with_a_status_at_200_and_in_a_stream(
    status: int, message: str, verdict: Verdict, kind: str
) -> None:
    failure = refused({"error": message}, status)
    assert (failure.verdict, failure.kind) == (verdict, kind)
    assert failure.outcome is Outcome.NOT_BILLED
    if status != 429:
        at_200 = refused({"error": message})
        assert (at_200.verdict, at_200.kind) == (verdict, kind)
        _, within = streamed([line("a"), {"error": message}])
        assert within is not None
        assert (within.verdict, within.outcome) == (verdict, Outcome.UNKNOWN)


@pytest.mark.fault("P35")
def test_a_prompt_that_was_cut_in_silence_is_no_answer() -> None:
    prompt = "word " * 5000
    failure = refused(last(prompt_eval_count=2048), prompt=prompt)
    assert (failure.verdict, failure.kind) == (Verdict.REFUSED, "prompt_cut")
    assert "2048 tokens" in failure.message
    assert read(last(prompt_eval_count=5004), prompt=prompt).usage.tokens_in == 5004
    items, within = streamed([line("half"), last(prompt_eval_count=2048)], prompt=prompt)
    assert within is not None
    assert (len(items), within.kind) == (1, "prompt_cut")
    dense = "ünïcödé" * 3000
    assert refused(last(prompt_eval_count=100), prompt=dense).kind == "prompt_cut"
    assert read(last(prompt_eval_count=1), prompt="short").content == ""


LINES = [
    line(message={"thinking": "hm"}),
    line("Zwölf"),
    line(" is"),
    line(message={"tool_calls": [CALL]}),
    line(),
    last(),
]


@pytest.mark.fault("P23")
@given(st.integers(1, 400))
def test_a_stream_is_the_same_however_it_was_cut(size: int) -> None:
    items, failure = streamed(LINES, size)
    assert failure is None
    assert items == streamed(LINES)[0]
    reply = items[-1]
    assert isinstance(reply, Reply)
    assert (reply.content, reply.reasoning) == ("Zwölf is", "hm")
    assert (reply.finish_reason, len(items)) == ("tool_calls", 5)
    calls = [piece for item in items if isinstance(item, Delta) for piece in item.tool_calls]
    assert (calls[0].id, calls[0].arguments) == (reply.tool_calls[0].id, '{"a":2}')


@pytest.mark.fault("P33")
@pytest.mark.parametrize("before", [0, 1, 3])
def test_an_error_line_fails_the_stream_after_the_pieces_before_it(before: int) -> None:
    items, failure = streamed([*[line("a")] * before, {"error": "it broke"}, last()])
    assert (len(items), failure is not None) == (before, True)


@pytest.mark.fault("P16")
@pytest.mark.parametrize("end", [b"", b'{"model": "m", "mess'])
def test_a_stream_without_its_last_line_is_cut(end: bytes) -> None:
    items, failure = fed(json.dumps(line("half")).encode() + b"\n" + end)
    assert failure is not None
    assert (len(items), failure.kind) == (1, "cut")


def test_a_last_line_needs_no_end_and_blank_ones_are_nothing() -> None:
    items, failure = fed(b"\r\n\n" + json.dumps(last()).encode())
    assert failure is None
    assert isinstance(items[-1], Reply)


@pytest.mark.fault("P17")
@pytest.mark.parametrize("data", [b"<html>\n", b"[]\n", b'{"done": true, "done_reason": "load"}\n'])
def test_what_is_no_stream_is_unusable(data: bytes) -> None:
    items, failure = fed(data)
    assert failure is not None
    assert (items, failure.kind) == ([], "bad_body")


@pytest.mark.fault("P33")
def test_a_line_may_be_long_but_not_endless() -> None:
    long = "x" * 2_000_000
    items, failure = streamed([line(long), last()], 65_536)
    assert failure is None
    assert isinstance(items[-1], Reply)
    assert items[-1].content == long
    splitter = LineSplitter(100)
    with pytest.raises(ValueError, match="over 100"):
        splitter.feed(b"x" * 101)
    with pytest.raises(ValueError, match="over 100"):
        LineSplitter(100).feed(b"x" * 101 + b"\n")
    _, failure = fed(b"x" * (MAX_STREAM_LINE_BYTES + 1), 1_000_000)
    assert failure is not None
    assert failure.kind == "bad_body"


def embedded(body: object, texts: int = 2, dimensions: int | None = None) -> Embedded:
    asked = EmbedRequest(texts=("a",) * texts, dimensions=dimensions)
    request = DIALECT.build_embed(asked, "e", ModelTraits())
    data = json.dumps(body).encode()
    return DIALECT.read_embed(request, Response(status=200, headers={}, body=data))


def test_vectors_come_in_the_order_of_the_texts() -> None:
    got = embedded({"model": "e", "embeddings": [[1.0, 0.0], [0.0, 1.0]], "prompt_eval_count": 4})
    assert (got.dimension, len(got.vectors), got.usage) == (2, 2, Usage(tokens_in=4, tokens_out=0))
    assert embedded({"embeddings": [[1.0]] * 2}).usage == UNKNOWN_USAGE


@pytest.mark.fault("P24")
@pytest.mark.parametrize(
    "rows",
    [
        None,
        [],
        [[1.0]],
        [[1.0], [1.0, 2.0]],
        [[1.0], []],
        [[1.0], [math.inf]],
        [[1.0], ["x"]],
        [[1.0], None],
        [[1.0], [1.0], [1.0]],
    ],
)
def test_vectors_that_do_not_match_are_never_an_answer(rows: object) -> None:
    with pytest.raises(AttemptFailed) as raised:
        embedded({"embeddings": rows})
    assert raised.value.kind == "bad_body"


@pytest.mark.fault("P24")
def test_another_dimension_than_the_one_asked_for_is_told() -> None:
    with pytest.raises(AttemptFailed, match="where 3 were asked for"):
        embedded({"embeddings": [[1.0]] * 2}, dimensions=3)
