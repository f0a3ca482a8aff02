"""Accept connections in bounded portions, and refuse politely when descriptors run out.

At EMFILE a waiting client can be neither served nor told why, and the listening socket stays
readable, so that a loop would turn for nothing. A descriptor kept in reserve is given up for
the moment of one refusal; where even that is gone, the socket is left alone for a while.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any, Protocol

#: Connections taken at one call, so that those that are there get their turn.
BATCH = 64

#: How long the listening socket is left alone when nothing can be accepted at all.
REST_S = 0.1

_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})
# A client that left while it waited; the pending network errors are those of accept(2).
_PASSING = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EINTR, errno.EPERM})


class Loop(Protocol):
    """What is needed of an event loop."""

    def add_reader(self, fd: int, callback: Callable[[], Any], /) -> None: ...
    def remove_reader(self, fd: int, /) -> Any: ...
    def call_later(self, delay: float, callback: Callable[[], Any], /) -> Any: ...


class Acceptor:
    """Accepts from one non-blocking listening socket.

    ``take`` gets each new connection, non-blocking, and owns it. ``refuse`` gets those there
    is no descriptor for, and must be done with it and close it before it returns; see
    ``send_and_close``. ``trouble`` is told in a sentence when accepting begins to fail, once
    until it works again. ``accepted``, ``refused`` and ``rests`` count.
    """

    def __init__(
        self,
        loop: Loop,
        listening: socket.socket,
        *,
        take: Callable[[socket.socket], None],
        refuse: Callable[[socket.socket], None],
        trouble: Callable[[str], None],
        batch: int = BATCH,
        rest_s: float = REST_S,
    ) -> None:
        self._loop = loop
        self._listening = listening
        self._take = take
        self._refuse = refuse
        self._trouble = trouble
        self._batch = batch
        self._rest_s = rest_s
        self._spare: int | None = None
        self._resting: Any = None
        self._is_running = False
        self._in_trouble = False
        self.accepted = 0
        self.refused = 0
        self.rests = 0

    def start(self) -> None:
        """Begin to accept. Raises OSError when there is no descriptor to keep in reserve."""
        self._spare = _open_spare()
        self._is_running = True
        self._loop.add_reader(self._listening.fileno(), self.on_readable)

    def stop(self) -> None:
        """Accept no more; the listening socket stays open, and clients wait in its backlog."""
        if self._is_running:
            self._is_running = False
            if self._resting is not None:
                self._resting.cancel()
                self._resting = None
            else:
                self._loop.remove_reader(self._listening.fileno())
        self._drop_spare()

    def on_readable(self) -> None:
        """Accept what waits, up to a batch. What is left makes the socket readable again."""
        for _ in range(self._batch):
            if not self._accept_one():
                return

    def drain(self) -> None:
        """Accept everything that waits, for a socket that is to be closed."""
        while self._accept_one():
            pass

    def _accept_one(self) -> bool:
        """Accept or refuse one; False when there is nothing more to do now."""
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _PASSING:
                return True
            if error.errno in _NO_DESCRIPTOR:
                return self._refuse_one(error)
            # No memory, mostly. Whatever it is: raising would have the loop come right back.
            self._say(error)
            self._rest()
            return False
        self._in_trouble = False
        self.accepted += 1
        connection.setblocking(False)
        self._take(connection)
        return True

    def _refuse_one(self, reason: OSError) -> bool:
        self._say(reason)
        self._drop_spare()
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:
            return False
        except OSError:
            # Another thread was quicker to take the descriptor that was given up.
            self._rest()
            return False
        else:
            self.refused += 1
            connection.setblocking(False)
            self._refuse(connection)
            return True
        finally:
            try:
                self._spare = _open_spare()
            except OSError:
                pass  # tried again at the end of the rest that follows

    def _rest(self) -> None:
        self.rests += 1
        if self._is_running and self._resting is None:
            self._loop.remove_reader(self._listening.fileno())
            self._resting = self._loop.call_later(self._rest_s, self._resume)

    def _resume(self) -> None:
        self._resting = None
        if self._spare is None:
            try:
                self._spare = _open_spare()
            except OSError:
                pass  # then the next accept rests again
        self._loop.add_reader(self._listening.fileno(), self.on_readable)

    def _say(self, error: OSError) -> None:
        if not self._in_trouble:
            self._in_trouble = True
            self._trouble(f"connections cannot be accepted: {error.strerror}")

    def _drop_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None


def send_and_close(connection: socket.socket, line: bytes) -> None:
    """Tell a client one line, as far as it goes without waiting, and hang up."""
    try:
        connection.sendall(line)
        # What it has asked already is taken away: closing over unread bytes would be a reset.
        while connection.recv(65_536):
            pass
    except OSError:
        pass  # it takes nothing more, has sent nothing more, or is gone
    finally:
        connection.close()


def _open_spare() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
