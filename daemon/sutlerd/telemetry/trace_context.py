"""The caller's place in its own trace, as W3C Trace Context writes it. Pure.

``traceparent`` is ``version-trace-parent-flags``, in lower-case hexadecimal digits.
"""

from __future__ import annotations

import re
from typing import Final

from sutlerd.domain.record import record

_SAMPLED: Final = 0x01
#: A later version may add fields after the four, but version 0 has no others, and ff is none.
_WRITTEN = re.compile(
    r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})((?:-[\x21-\x7e]*)?)"
)


@record
class TraceContext:
    """``trace_id`` has 16 bytes, ``span_id`` 8; ``sampled`` is what the caller decided."""

    trace_id: bytes
    span_id: bytes
    sampled: bool


def read_traceparent(text: object) -> TraceContext | None:
    """Read a ``traceparent``; ``None`` for what is none, which is as if it were not there."""
    if not isinstance(text, str):
        return None
    found = _WRITTEN.fullmatch(text)
    if found is None or (found[1] == "00" and found[5]):
        return None
    trace_id, span_id = bytes.fromhex(found[2]), bytes.fromhex(found[3])
    if not any(trace_id) or not any(span_id):
        return None
    sampled = bool(int(found[4], 16) & _SAMPLED)
    return TraceContext(trace_id=trace_id, span_id=span_id, sampled=sampled)
