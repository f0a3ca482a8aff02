"""Server-sent events out of bytes that may be cut anywhere. Pure.

Takes the standard's framing (LF, CR LF or CR; comments; several ``data`` lines an event; a
byte-order mark) and keeps its own limit: a line, or an event of many lines, may not grow
beyond ``max_bytes``. What a provider means by an event is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"


class TooLong(ValueError):
    """A line or an event is over its limit."""


@dataclass(frozen=True, slots=True)
class Event:
    """``name`` is the ``event`` field, empty if there was none."""

    name: str
    data: bytes


class EventSplitter:
    """Feed it bytes, get whole events. Comments, ids and retry fields are skipped.

    An event counts only when its empty line has come: what is left at the end is discarded,
    as the standard says, unless it is asked for with ``rest``.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._started = False
        self._name = ""
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, data: bytes) -> list[Event]:
        """Give the events completed by these bytes. Raises ``TooLong``."""
        buffer = self._buffer
        buffer += data
        events: list[Event] = []
        start = 0
        while True:
            end, after = self._line_end(start)
            if end < 0:
                break
            self._take_line(bytes(buffer[start:end]), events)
            start = self._searched = after
        if start:
            del buffer[:start]
            self._searched -= start
        if len(buffer) > self._max_bytes:
            raise TooLong(f"a line over {self._max_bytes} bytes")
        return events

    def rest(self) -> list[Event]:
        """Give the event that lacked only its empty line when the stream ended, if any."""
        events = self.feed(b"\n\n") if self._buffer or self._data else []
        self._buffer.clear()
        self._searched = 0
        return events

    def _line_end(self, start: int) -> tuple[int, int]:
        """Find where the line ends and the next begins; ``(-1, -1)``: not yet here."""
        buffer = self._buffer
        newline = buffer.find(b"\n", self._searched)
        # Only as far as the newline: a search to the end for each line would be quadratic.
        limit = newline if newline >= 0 else len(buffer)
        carriage = buffer.find(b"\r", self._searched, limit)
        if carriage < 0:
            if newline < 0:
                self._searched = len(buffer)
                return -1, -1
            return newline, newline + 1
        if carriage + 1 < len(buffer):
            follows = buffer[carriage + 1] == 0x0A
            return carriage, carriage + 2 if follows else carriage + 1
        # The line feed of this carriage return may come with the next bytes.
        self._searched = carriage
        return -1, -1

    def _take_line(self, line: bytes, events: list[Event]) -> None:
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        if not line:
            if self._data:
                events.append(Event(self._name, b"\n".join(self._data)))
                self._data = []
                self._data_bytes = 0
            self._name = ""
            return
        field, colon, value = line.partition(b":")
        if not field and colon:
            return
        value = value.removeprefix(b" ")
        if field == b"data":
            # One more for the line itself: empty lines are not free to keep.
            self._data_bytes += len(value) + 1
            if self._data_bytes > self._max_bytes:
                raise TooLong(f"an event over {self._max_bytes} bytes")
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
