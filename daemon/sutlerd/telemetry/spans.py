"""What a span is before it is written in anybody's format: plain values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import Final

from sutlerd.domain.record import record

#: What an attribute may hold.
Value = str | bool | int | float | tuple[str, ...]
#: As much of one text as a span carries, and of all that was said in a call.
MAX_TEXT_CHARS: Final = 8 * 1024
MAX_CONTENT_CHARS: Final = 64 * 1024
_OVERHEAD_BYTES: Final = 1_500


class SpanKind(Enum):
    """The numbers are those of OTLP."""

    SERVER = 2
    CLIENT = 3


@record
class Event:
    """Something that happened at a moment of a span."""

    name: str
    unix_ns: int
    attributes: Mapping[str, Value] = field(default_factory=dict)


@record
class Span:
    """``parent_id`` is empty for the first of a trace; ``failed`` says why it did not succeed,
    ``None`` if it did."""

    name: str
    kind: SpanKind
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    start_unix_ns: int
    end_unix_ns: int
    attributes: Mapping[str, Value]
    events: tuple[Event, ...] = ()
    failed: str | None = None

    @property
    def size_bytes(self) -> int:
        """Give about what it holds of memory while it waits."""
        texts = (value for value in self.attributes.values() if isinstance(value, str))
        return _OVERHEAD_BYTES + sum(map(len, texts))
