"""What a client has sent and nobody has worked on yet: whole lines that wait, and a part of one."""

from __future__ import annotations

from collections import deque

from sutlerd.server.framing import LineSplitter, LineTooLong


class Inbox:
    """``lines`` wait for their turn, taken by ``next_line``. ``held_bytes`` counts all there is."""

    __slots__ = ("_lines_bytes", "_splitter", "held_bytes", "lines")

    def __init__(self, *, max_line_bytes: int) -> None:
        self._splitter = LineSplitter(max_line_bytes=max_line_bytes)
        self._lines_bytes = 0
        self.lines: deque[bytes] = deque()
        self.held_bytes = 0

    @property
    def has_unfinished(self) -> bool:
        return self._splitter.held_bytes > 0

    def whole_line(self, data: bytes) -> bytes | None:
        """Give the line that ``data`` is, if it is just one and none waits; it is not kept."""
        return None if self.lines else self._splitter.whole_line(data)

    def feed(self, data: bytes) -> None:
        """Take what was read. Raises ``LineTooLong``; lines that came before it are kept."""
        try:
            self._keep(self._splitter.feed(data))
        except LineTooLong as too_long:
            self._keep(too_long.lines)
            raise

    def next_line(self) -> bytes:
        line = self.lines.popleft()
        self._lines_bytes -= len(line)
        self.held_bytes -= len(line)
        return line

    def drop(self) -> None:
        """Forget everything."""
        self._splitter.drop()
        self.lines.clear()
        self.held_bytes = self._lines_bytes = 0

    def _keep(self, lines: list[bytes]) -> None:
        self.lines.extend(lines)
        self._lines_bytes += sum(map(len, lines))
        self.held_bytes = self._lines_bytes + self._splitter.held_bytes
