"""A rude little client: raw bytes on the daemon's socket, with everything a client may do wrong."""

from __future__ import annotations

import itertools
import json
import os
import socket
import struct
from pathlib import Path
from typing import Any, Self

Line = dict[str, Any]
_READ_BYTES = 1 << 16


class WireClient:
    """Connected from its making on. Every wait ends after ``timeout_s`` with an error.

    ``receive_buffer_bytes`` makes the kernel keep little for a client that does not read.
    """

    def __init__(
        self, path: Path, *, timeout_s: float = 30.0, receive_buffer_bytes: int | None = None
    ) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        # A blocking connect waits in a full backlog; one with a timeout fails at once.
        limit = struct.pack("ll", int(timeout_s), 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        try:
            self._connect(path)
        except OSError:
            self.socket.close()
            raise
        self.socket.settimeout(timeout_s)
        self._numbers = itertools.count(1)
        self._read = bytearray()
        self._searched = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    # --- sending

    def send_raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, method: str, /, *, as_id: int | str | None = None, **params: Any) -> int | str:
        """Send one request; its id is the next free number if none is given."""
        request_id = next(self._numbers) if as_id is None else as_id
        self.send_raw(request_line(method, request_id, **params))
        return request_id

    # --- receiving

    def line(self) -> Line:
        """Give the next line. Raises EOFError when the daemon has closed instead."""
        while (end := self._read.find(b"\n", self._searched)) < 0:
            self._searched = len(self._read)
            data = self.socket.recv(_READ_BYTES)
            if not data:
                raise EOFError("the daemon has closed")
            self._read += data
        found: Line = json.loads(self._read[:end])
        del self._read[: end + 1]
        self._searched = 0
        return found

    def take(self, size_bytes: int) -> None:
        """Read a little of what is there, without looking at it."""
        self._read += self.socket.recv(size_bytes)

    def final(self, request_id: int | str) -> tuple[list[Line], Line]:
        """Give the chunks and the final line of a request; other lines fail the test."""
        chunks = []
        while True:
            line = self.line()
            if line.get("method") == "chunk":
                assert line["params"]["id"] == request_id
                chunks.append(line["params"])
            else:
                assert line["id"] == request_id, line
                return chunks, line

    def ask(self, method: str, /, **params: Any) -> Line:
        """Send a request and give its final line."""
        return self.final(self.send(method, **params))[1]

    def result(self, method: str, /, **params: Any) -> Line:
        reply = self.ask(method, **params)
        assert "error" not in reply, reply["error"]
        result: Line = reply["result"]
        return result

    def rest(self) -> list[Line]:
        """Give all lines until the daemon closes. A reset at the end is an end, too."""
        lines = []
        try:
            while True:
                lines.append(self.line())
        except (EOFError, ConnectionError):
            return lines

    def is_closed(self) -> bool:
        """Wait until the daemon closes; whatever it still says fails the test."""
        try:
            data = self.socket.recv(1)
        except ConnectionError:
            return True
        assert not data, data + self.socket.recv(1000)
        return True

    def _connect(self, path: Path) -> None:
        name = os.fsencode(path)
        if len(name) <= 107:
            self.socket.connect(str(path))
            return
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self.socket.connect(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)


def request_line(method: str, request_id: int | str | None, /, **params: Any) -> bytes:
    return json.dumps({"id": request_id, "method": method, "params": params}).encode() + b"\n"


def text_of(chunks: list[Line]) -> str:
    """Give the text that a stream's chunks say."""
    return "".join(chunk["delta"] for chunk in chunks)
