"""Spans in the protocol's own bytes, read back by its own classes."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sutlerd.telemetry.collector import Collector, Destination
from sutlerd.telemetry.otlp import encode
from sutlerd.telemetry.redact import Redactor
from sutlerd.telemetry.spans import MAX_CONTENT_CHARS, Event, Span, SpanKind, Value
from tests.support.collector import collecting

SECRET = "sk-0123456789abcdef"


def span(**attributes: Value) -> Span:
    return Span(
        name=f"chat {SECRET}",
        kind=SpanKind.CLIENT,
        trace_id=bytes(range(16)),
        span_id=bytes(range(8)),
        parent_id=b"",
        start_unix_ns=5,
        end_unix_ns=9,
        attributes=attributes,
        events=(Event(name="passed over", unix_ns=7, attributes={"why": SECRET}),),
        failed=SECRET,
    )


def read(*spans: Span) -> list[Any]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(encode(spans, resource={}, mask=Redactor([SECRET]).text))
    return list(request.resource_spans[0].scope_spans[0].spans)


def values(seen: Any) -> dict[str, Any]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in seen.attributes
    }


def test_equal_values_of_different_kinds_stay_what_they_are_in_one_batch() -> None:
    batch = read(span(n=1), span(n=True), span(n=1.0), span(n=1), span(n="1"))
    found = [values(seen)["n"] for seen in batch]
    assert [(type(value), value) for value in found] == [
        (int, 1),
        (bool, True),
        (float, 1.0),
        (int, 1),
        (str, "1"),
    ]


@pytest.mark.parametrize("number", [2**63, 10**40, -(10**40)])
def test_a_number_that_fits_no_64_bits_is_the_nearest_one_that_does(number: int) -> None:
    (seen,) = read(span(tokens=number))
    assert abs(values(seen)["tokens"]) >= 2**63 - 1


@pytest.mark.fault("X4")
def test_no_text_of_a_span_holds_a_secret() -> None:
    (seen,) = read(span(model=f"m-{SECRET}", words=(SECRET, "fine")))
    assert SECRET.encode() not in seen.SerializeToString()
    assert seen.name == "chat ***" and seen.status.message == "***"
    assert values(seen)["model"] == "m-***"


def test_texts_are_cut_and_lone_surrogates_written_out() -> None:
    (seen,) = read(span(long="x" * 200_000, half="\ud800"))
    assert len(values(seen)["long"]) == MAX_CONTENT_CHARS + 1
    assert values(seen)["half"] == "\\ud800"


@pytest.mark.parametrize("bad", ["two\nlines", "snow ☃"])
def test_a_header_that_cannot_be_sent_is_told_and_not_tried_again(bad: str) -> None:
    with collecting() as server:
        destination = Destination(endpoint=server.endpoint, headers={"x": bad})
        courier = Collector(destination, resource={}, mask=str)
        sent = courier.bring([span()], limit_s=10)
        assert sent.trouble and not sent.again and server.requests == 0


@pytest.mark.parametrize(
    ("status", "again"), [(200, False), (400, False), (401, False), (429, True), (503, True)]
)
def test_what_a_collector_answers_decides_whether_it_is_asked_again(
    status: int, again: bool
) -> None:
    with collecting() as server:
        server.status = status
        destination = Destination(endpoint=server.endpoint + "/v1/traces/", headers={})
        sent = Collector(destination, resource={}, mask=str).bring([span()], limit_s=10)
        assert (bool(sent.trouble), sent.again) == (status != 200, again)
        assert server.paths == ["/v1/traces"]
