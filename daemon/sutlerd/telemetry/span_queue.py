"""Spans on their way to a collector: a bounded queue, one thread, and patience.

Nothing that puts a span in ever waits for the collector, or fails because of it. One that is
down costs what fits the queue; the rest is dropped and counted, and the log is told once when
trouble begins and once when it is over.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from sutlerd.domain.ports import EventLog
from sutlerd.domain.record import record
from sutlerd.telemetry.spans import Span

MAX_SPANS: Final = 4096
MAX_BYTES: Final = 16 * 1024 * 1024
BATCH_SPANS: Final = 512
#: Spans of so long a time go out together.
GATHERED_S: Final = 1.0
MAX_PAUSE_S: Final = 30.0
CLOSE_LIMIT_S: Final = 2.0


@record
class Sent:
    """How a batch fared. ``refused`` of its spans the collector did not take; ``trouble`` says
    what went wrong, and ``again`` that the same batch may be taken later."""

    trouble: str = ""
    again: bool = False
    refused: int = 0


class Courier(Protocol):
    """Brings a batch to the collector; called on the queue's thread alone, and may block."""

    def bring(self, spans: Sequence[Span], *, limit_s: float) -> Sent: ...


class SpanQueue:
    """The thread begins with the first span. ``pause_s`` is the first pause after a failure;
    each further one is twice as long, up to half a minute."""

    def __init__(
        self,
        courier: Callable[[], Courier],
        log: EventLog,
        *,
        max_spans: int = MAX_SPANS,
        max_bytes: int = MAX_BYTES,
        gathered_s: float = GATHERED_S,
        pause_s: float = 1.0,
        limit_s: float = 10.0,
    ) -> None:
        self._courier = courier
        self._log = log
        self._max_spans = max_spans
        self._max_bytes = max_bytes
        self._gathered_s = gathered_s
        self._first_pause_s = pause_s
        self._limit_s = limit_s
        self._changed = threading.Condition()
        self._waiting: deque[Span] = deque()
        self._held_bytes = 0
        self._closing_until_s: float | None = None
        self._thread: threading.Thread | None = None
        self._in_hand = 0
        self._in_trouble = False
        self._dropped_in_trouble = 0
        self.sent = 0
        self.dropped = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting) + self._in_hand

    def counts(self) -> Mapping[str, int]:
        return {"sent": self.sent, "dropped": self.dropped, "waiting": self.waiting}

    def put(self, spans: Sequence[Span]) -> None:
        """Take spans in, or drop and count them. Never waits."""
        with self._changed:
            for span in spans:
                size_bytes = span.size_bytes
                if (
                    self._closing_until_s is not None
                    or self.waiting >= self._max_spans
                    or self._held_bytes + size_bytes > self._max_bytes
                ):
                    self._drop(1)
                    continue
                self._waiting.append(span)
                self._held_bytes += size_bytes
            if self._thread is None:
                self._start()
            elif len(self._waiting) <= len(spans) or len(self._waiting) >= BATCH_SPANS:
                self._changed.notify()

    def close(self, limit_s: float = CLOSE_LIMIT_S) -> None:
        """Send what is left for at most so long; the rest is dropped. Blocks."""
        with self._changed:
            self._closing_until_s = time.monotonic() + limit_s
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(limit_s)
        with self._changed:
            self._drop(self.waiting)
            self._waiting.clear()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="spans", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # no thread to be had: the next span tries again, the queue's bound holds
        self._thread = thread

    def _drop(self, count: int) -> None:
        self.dropped += count
        if self._in_trouble:
            self._dropped_in_trouble += count

    def _run(self) -> None:
        courier: Courier | None = None
        while batch := self._gather():
            if courier is None:
                # Not before: what it loads would be in the way of the first calls.
                courier = self._courier()
            self._deliver(courier, batch)

    def _gather(self) -> list[Span]:
        """Wait for spans, and a little longer for more; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing())
            self._changed.wait_for(
                lambda: len(self._waiting) >= BATCH_SPANS or self._is_closing(), self._gathered_s
            )
            count = min(BATCH_SPANS, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
            self._in_hand = len(batch)
            return batch

    def _deliver(self, courier: Courier, batch: Sequence[Span]) -> None:
        """Bring a batch, again and again if that may help, until it is there or given up."""
        pause_s = self._first_pause_s
        while True:
            sent = courier.bring(batch, limit_s=self._time_left_s(self._limit_s))
            if not sent.again or self._is_closing():
                break
            self._tell_of(sent.trouble)
            with self._changed:
                self._changed.wait_for(self._is_closing, pause_s)
            pause_s = min(MAX_PAUSE_S, pause_s * 2)
        with self._changed:
            lost = len(batch) if sent.trouble else min(len(batch), sent.refused)
            self.sent += len(batch) - lost
            self._in_hand = 0
            self._held_bytes -= sum(span.size_bytes for span in batch)
            self._drop(lost)
        if sent.trouble:
            self._tell_of(sent.trouble)
        else:
            self._tell_of_end()

    def _is_closing(self) -> bool:
        return self._closing_until_s is not None

    def _time_left_s(self, otherwise_s: float) -> float:
        if self._closing_until_s is None:
            return otherwise_s
        return min(otherwise_s, self._closing_until_s - time.monotonic())

    def _tell_of(self, trouble: str) -> None:
        if self._in_trouble:
            return
        with self._changed:
            self._in_trouble = True
        self._log.event("warning", "tracing", said=f"the collector does not take spans: {trouble}")

    def _tell_of_end(self) -> None:
        if not self._in_trouble:
            return
        with self._changed:
            self._in_trouble = False
            dropped, self._dropped_in_trouble = self._dropped_in_trouble, 0
        self._log.event("info", "tracing", said="the collector takes spans again", dropped=dropped)
