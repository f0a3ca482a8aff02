"""A scripted daemon for tests: in a thread, on a real socket, with no model behind it.

>>> from sutler import Client, Overloaded
>>> from sutler.testing import Chunks, FakeDaemon
>>> with FakeDaemon() as daemon, Client(daemon.socket_path) as client:
...     daemon.reply("chat", "Paris", "Rome")
...     client.chat("The capital of France?"), client.chat("And of Italy?")
...     daemon.count("chat"), daemon.asked[0].params["prompt"]
('Paris', 'Rome')
(2, 'The capital of France?')

What is not scripted it answers by itself: a prompt with its own text, the rest plausibly.
"""

import os
import selectors
import shutil
import socket
import tempfile
import threading
from collections import deque

from sutler.testing_answers import Asked, Chunks, Drop, Hold, Raw, by_itself, reply
from sutler.testing_connection import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, List, Optional

__all__ = ["Asked", "Chunks", "Drop", "FakeDaemon", "Hold", "Raw", "reply"]

_RECV_BYTES = 256 * 1024
_WAIT_S = 10.0


class FakeDaemon:
    """Use it as a context manager, or call `start` and `stop`.

    An answer is a result (a text stands for a whole reply that says it), an error of
    `sutler.errors`, one of `Chunks`, `Hold`, `Drop`, `Raw`, or a function of the `Asked`
    that gives one of these.
    """

    def __init__(self, socket_path: "Optional[str]" = None, *, backlog: int = 128) -> None:
        self._own_folder = None if socket_path else tempfile.mkdtemp(prefix="sutler-fake-")
        self.socket_path = socket_path or os.path.join(str(self._own_folder), "sutler.sock")
        self.asked: "List[Asked]" = []
        self.cancelled: "List[Asked]" = []
        self.connections = 0
        self._backlog = backlog
        self._scripts: "Dict[str, Deque[Any]]" = {}
        self._changed = threading.Condition()
        self._commands: "Deque[Callable[[], None]]" = deque()
        self.open: "Dict[int, Connection]" = {}
        self._thread: "Optional[threading.Thread]" = None
        self._listener: "Optional[socket.socket]" = None
        self._stopping = False

    # -- the script

    def reply(self, method: str, *answers: "Any") -> None:
        """Answer ``method`` with these, one after the other; the last one stays."""
        with self._changed:
            self._scripts[method] = deque(answers)

    def release(self) -> None:
        """Let every `Hold` be answered."""
        self._do(Connection.release)

    def drop(self) -> None:
        """Close every connection without another word."""
        self._do(Connection.close)

    # -- what happened

    def count(self, method: "Optional[str]" = None) -> int:
        """Count what was asked, cancellations left out."""
        return len([one for one in self.asked if method in (None, one.method)])

    def wait_for(
        self, happened: "Callable[[FakeDaemon], bool]", timeout_s: float = _WAIT_S
    ) -> None:
        """Wait until a condition holds, such as ``lambda d: d.count("chat") == 2``."""
        with self._changed:
            if not self._changed.wait_for(lambda: happened(self), timeout_s):
                raise AssertionError("it did not happen; asked were %r" % (self.asked,))

    # -- its life

    def start(self) -> "FakeDaemon":
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.socket_path)
        listener.listen(self._backlog)
        listener.setblocking(False)
        self._listener = listener
        self._stopping = False
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ, None)
        self.selector.register(self._wake_out, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="FakeDaemon", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End as if killed: no more answers, every connection closed, the socket gone."""
        if self._thread is None:
            return
        # No command of ``_do``: the thread may be gone before it looks for one.
        self._stopping = True
        self._wake_in.send(b"x")
        self._thread.join(_WAIT_S)
        if self._thread.is_alive():
            raise AssertionError("the daemon's thread is stuck in an answer")
        self._thread = None
        for connection in list(self.open.values()):
            connection.close()
        self.selector.close()
        self._wake_in.close()
        self._wake_out.close()
        if self._listener is not None:
            self._listener.close()
        os.unlink(self.socket_path)

    def restart(self) -> None:
        self.stop()
        self.start()

    def __enter__(self) -> "FakeDaemon":
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)

    # -- the thread

    def _do(self, command: "Callable[[Connection], None]") -> None:
        """Have a command run for each connection by the daemon's thread; wait for that."""
        done = threading.Event()

        def run() -> None:
            for connection in list(self.open.values()):
                command(connection)
            done.set()

        self._commands.append(run)
        self._wake_in.send(b"x")
        if not done.wait(_WAIT_S):
            raise AssertionError("the daemon's thread is stuck in an answer")

    def _run(self) -> None:
        while not self._stopping:
            for key, events in self.selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake_out:
                    self._wake_out.recv(_RECV_BYTES)
                elif key.data.number in self.open:
                    key.data.turn(events)
            while self._commands:
                self._commands.popleft()()

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            accepted, _ = self._listener.accept()
        except BlockingIOError:
            return
        with self._changed:
            self.connections += 1
            self.open[self.connections] = Connection(self, accepted, self.connections)
            self._changed.notify_all()

    def take(self, asked: Asked) -> "Any":
        """Note what was asked and give the scripted answer."""
        with self._changed:
            self.asked.append(asked)
            script = self._scripts.get(asked.method)
            if not script:
                answer: "Any" = by_itself(asked)
            else:
                answer = script.popleft() if len(script) > 1 else script[0]
            self._changed.notify_all()
        return answer(asked) if callable(answer) else answer

    def note_cancelled(self, asked: Asked) -> None:
        with self._changed:
            self.cancelled.append(asked)
            self._changed.notify_all()
