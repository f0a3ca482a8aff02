"""Bytes in, lines out. No socket, no JSON, no clock."""

from __future__ import annotations

_BLANK = ord(" ")


class LineTooLong(Exception):
    """A line passed the limit; what follows on this connection cannot be trusted.

    ``lines`` are the whole ones that came before it in the same read.
    """

    def __init__(self, max_line_bytes: int, lines: list[bytes]) -> None:
        super().__init__(f"a line is longer than {max_line_bytes} bytes")
        self.lines = lines


class LineSplitter:
    """Split a byte stream at newlines, doing work linear in the bytes however they arrive.

    Lines come without their newline and a trailing carriage return; blank lines are left
    out. At most ``max_line_bytes`` plus one read are ever held.
    """

    __slots__ = ("_held", "_max_line_bytes")

    def __init__(self, *, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._held = bytearray()

    @property
    def held_bytes(self) -> int:
        return len(self._held)

    def drop(self) -> None:
        """Forget an unfinished line."""
        self._held = bytearray()

    def whole_line(self, data: bytes) -> bytes | None:
        """Give the line that ``data`` is, if it is just one; ``None`` is no judgement."""
        end = data.find(b"\n")
        if end != len(data) - 1 or self._held or not 0 < end <= self._max_line_bytes:
            return None
        # JSON ends in no blank: what does may be one, or end in a carriage return.
        return None if data[end - 1] <= _BLANK else data[:-1]

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read; give the lines it completes.

        Raises ``LineTooLong`` once the limit is passed.
        """
        if not self._held and data.count(b"\n") == 1 and data.endswith(b"\n"):
            pieces = [data[:-1], b""]
        else:
            pieces = data.split(b"\n")
            if self._held:
                self._held += pieces[0]
                if len(pieces) > 1:
                    pieces[0] = bytes(self._held)
                    self._held = bytearray()
                else:
                    pieces = [b""]
        return self._checked(pieces)

    def _checked(self, pieces: list[bytes]) -> list[bytes]:
        lines: list[bytes] = []
        rest = pieces.pop()
        for line in pieces:
            if len(line) > self._max_line_bytes:
                raise self._too_long(lines)
            if line.endswith(b"\r"):
                line = line[:-1]
            if line and not line.isspace():
                lines.append(line)
        if rest:
            self._held += rest
        if len(self._held) > self._max_line_bytes:
            raise self._too_long(lines)
        return lines

    def _too_long(self, lines: list[bytes]) -> LineTooLong:
        self._held = bytearray()
        return LineTooLong(self._max_line_bytes, lines)
