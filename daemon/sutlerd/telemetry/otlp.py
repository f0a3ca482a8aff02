"""Spans as an OTLP request, by the protocol's own classes.

They take a moment to load, so this is called on a thread of its own, never on the event loop.
Every text passes ``mask`` on its way: values of secrets are masked here as in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sutlerd.telemetry.spans import MAX_CONTENT_CHARS, Event, Span, Value

SCOPE: Final = "sutlerd"
#: A status of OTLP: left open for what succeeded, as the conventions ask.
_ERROR: Final = 2
Mask = Callable[[str], str]


def available() -> bool:
    """Say whether what traces need is installed; imports it."""
    try:
        import opentelemetry.proto.collector.trace.v1.trace_service_pb2  # noqa: F401
    except ImportError:
        return False
    return True


def encode(spans: Iterable[Span], *, resource: Mapping[str, Value], mask: Mask) -> bytes:
    """Write an ``ExportTraceServiceRequest`` that holds these spans."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
    )

    request = ExportTraceServiceRequest()
    ours = request.resource_spans.add()
    _put(ours.resource.attributes, resource, mask)
    scope = ours.scope_spans.add()
    scope.scope.name = SCOPE
    attributes = _Attributes(type(scope.spans.add()), mask)
    del scope.spans[:]
    for span in spans:
        _write(scope.spans.add(), span, attributes)
    written: bytes = request.SerializeToString()
    return written


class _Attributes:
    """Spans' attributes, each written once for a batch: most are the same in all of its spans,
    and to write one again takes longer than all the rest."""

    def __init__(self, span_class: Any, mask: Mask) -> None:
        self._span_class = span_class
        self._written: dict[tuple[str, type, Value], bytes] = {}
        self.mask = mask

    def of(self, span: Span) -> bytes:
        """Give a span that has these attributes and nothing else, as bytes."""
        return b"".join([self._one(name, value) for name, value in span.attributes.items()])

    def _one(self, name: str, value: Value) -> bytes:
        # True, 1 and 1.0 are equal, and are not the same attribute.
        key = name, type(value), value
        written = self._written.get(key)
        if written is None:
            holder = self._span_class()
            _put(holder.attributes, {name: value}, self.mask)
            written = self._written[key] = holder.SerializeToString()
        return written


def refused_spans(answer: bytes) -> int:
    """Read from a collector's answer how many spans it did not take."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceResponse,
    )

    response = ExportTraceServiceResponse()
    try:
        response.ParseFromString(answer)
    except DecodeError:
        return 0  # it said 200: what else it says is its own affair
    return int(response.partial_success.rejected_spans)


def _write(target: Any, span: Span, attributes: _Attributes) -> None:
    mask = attributes.mask
    # Messages in bytes are merged by standing one behind the other.
    target.MergeFromString(attributes.of(span))
    target.trace_id, target.span_id, target.parent_span_id = (
        span.trace_id,
        span.span_id,
        span.parent_id,
    )
    target.name = _text(span.name, mask)
    target.kind = span.kind.value
    target.start_time_unix_nano = max(0, span.start_unix_ns)
    target.end_time_unix_nano = max(0, span.end_unix_ns)
    for event in span.events:
        _write_event(target.events.add(), event, mask)
    if span.failed is not None:
        target.status.code = _ERROR
        target.status.message = _text(span.failed, mask)


def _write_event(target: Any, event: Event, mask: Mask) -> None:
    target.name = event.name
    target.time_unix_nano = max(0, event.unix_ns)
    _put(target.attributes, event.attributes, mask)


def _put(target: Any, attributes: Mapping[str, Value], mask: Mask) -> None:
    for name, value in attributes.items():
        pair = target.add()
        pair.key = name
        if isinstance(value, tuple):
            for each in value:
                pair.value.array_value.values.add().string_value = _text(each, mask)
        else:
            _put_one(pair.value, value, mask)


def _put_one(target: Any, value: str | bool | int | float, mask: Mask) -> None:
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int):
        # A provider may count as it likes; the protocol counts with 64 bits.
        target.int_value = max(-(2**63), min(value, 2**63 - 1))
    elif isinstance(value, float):
        target.double_value = value
    else:
        target.string_value = _text(value, mask)


def _text(text: str, mask: Mask) -> str:
    """Give a text without secrets, of a bounded length, and without what UTF-8 cannot hold."""
    cut = text if len(text) <= MAX_CONTENT_CHARS else text[:MAX_CONTENT_CHARS] + "…"
    return mask(cut).encode("utf-8", "backslashreplace").decode()
