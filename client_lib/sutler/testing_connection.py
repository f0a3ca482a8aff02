"""One connection of a scripted daemon: lines in, answers out, nothing that blocks."""

import selectors
import socket
from json import loads

from sutler.errors import Cancelled, InvalidRequest, SutlerError
from sutler.testing_answers import (
    Asked,
    Chunks,
    Drop,
    Hold,
    Raw,
    by_itself,
    chunk_line,
    error_line,
    result_line,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Tuple

    from sutler.testing import FakeDaemon

_RECV_BYTES = 256 * 1024


class Connection:
    def __init__(self, daemon: "FakeDaemon", accepted: socket.socket, number: int) -> None:
        accepted.setblocking(False)
        self.number = number
        self._daemon = daemon
        self._socket = accepted
        self._in = b""
        self._out = b""
        self._held: "Dict[Any, Tuple[Asked, Any]]" = {}
        self._closing = False
        daemon.selector.register(accepted, selectors.EVENT_READ, self)

    def turn(self, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                data = self._socket.recv(_RECV_BYTES)
                if not data and not self._out:
                    self.close()
                    return
                # A client that has ended its own half is still given what it is owed.
                self._closing = self._closing or not data
                *lines, self._in = (self._in + data).split(b"\n")
                for line in lines:
                    if line.strip() and not self._closing:
                        self._request(line)
            self._flush()
        except OSError:
            self.close()

    def close(self) -> None:
        """Close it; what was still to be answered counts as cancelled, as in the real one."""
        if self._daemon.open.pop(self.number, None) is None:
            return
        self._daemon.selector.unregister(self._socket)
        self._socket.close()
        for asked, _ in self._held.values():
            self._daemon.note_cancelled(asked)

    def release(self) -> None:
        held, self._held = self._held, {}
        for asked, hold in held.values():
            self._answer(asked, by_itself(asked) if hold.answer is None else hold.answer)
        self.turn(0)

    def _request(self, line: bytes) -> None:
        try:
            message = loads(line.decode())
            asked = Asked(
                self.number, message.get("id"), message["method"], message.get("params", {}), line
            )
        except (AttributeError, KeyError, ValueError) as error:
            self._out += error_line(None, InvalidRequest("no request: %r" % error))
            return
        if asked.method == "cancel":
            self._cancel(asked)
        else:
            self._answer(asked, self._daemon.take(asked))

    def _cancel(self, asked: Asked) -> None:
        found = self._held.pop(asked.params.get("id"), None)
        if found is not None:
            self._daemon.note_cancelled(found[0])
            self._out += error_line(found[0].id, Cancelled("cancelled by the client"))
        self._out += result_line(asked, {"cancelled": found is not None})

    def _answer(self, asked: Asked, answer: "Any") -> None:
        if isinstance(answer, Chunks):
            for piece in answer.pieces:
                self._out += chunk_line(asked, piece)
            answer = answer.whole()
        if isinstance(answer, Hold):
            self._held[asked.id] = (asked, answer)
        elif isinstance(answer, Drop):
            self._out += answer.first
            self._closing = True
        elif isinstance(answer, Raw):
            self._out += answer.data
        elif isinstance(answer, SutlerError):
            self._out += error_line(asked.id, answer, asked.params.get("request_id"))
        else:
            self._out += result_line(asked, answer)

    def _flush(self) -> None:
        if self._out:
            try:
                self._out = self._out[self._socket.send(self._out, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                pass
        if self._closing and not self._out:
            self.close()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        if self.number in self._daemon.open:
            self._daemon.selector.modify(self._socket, wanted, self)
