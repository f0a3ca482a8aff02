"""``sutler raw``: lines of standard input to the daemon, its lines to standard output.

Nothing is read into them but the count of what is still unanswered. At the end of input
the sending half is closed; the daemon then answers what it owes and closes the rest.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading

from sutler.cli_command import Command
from sutler.cli_exit import OK, RETRYABLE, CommandFailed, UsageProblem
from sutler.cli_options import add_timeout_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from sutler.cli_terminal import Terminal

_PIECE_BYTES = 256 * 1024
CONNECT_S = 10.0

_DETAILS = """\
A request is one JSON object a line; a reply is, too. Replies come in any order and are
matched by id. The command ends when standard input has ended and all is answered.

examples:
  echo '{"id": 1, "method": "chat", "params": {"prompt": "Hi"}}' | sutler raw
  sutler raw < requests.jsonl > replies.jsonl
"""


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_timeout_option(parser, None, "give up if nothing has come for S seconds")


def run_raw(args: argparse.Namespace, term: Terminal) -> int:
    if sys.stdin is None:
        raise UsageProblem("standard input is closed; requests are read from there")
    with _connect(args.socket) as connected:
        # Connecting had a time limit for sending; a daemon may take its time to read, though.
        _limit(connected, socket.SO_SNDTIMEO, 0.0)
        _limit(connected, socket.SO_RCVTIMEO, args.timeout or 0.0)
        sender = _Sender(connected, sys.stdin.fileno())
        threading.Thread(target=sender.run, name="raw-input", daemon=True).start()
        answered = _relay(connected, term)
    if not sender.ended or sender.requests > answered:
        raise CommandFailed(
            "the daemon closed the connection with %d of %d requests unanswered"
            % (max(0, sender.requests - answered), sender.requests)
        )
    return OK


def _connect(path: str) -> socket.socket:
    from sutler.dial import connect, locate

    return connect(locate(path, os.environ, os.getuid()), (), CONNECT_S)


def _limit(connected: socket.socket, which: int, limit_s: float) -> None:
    """Set a time limit of the kernel's on one direction; 0 is none."""
    whole_s = int(limit_s)
    value = struct.pack("@ll", whole_s, int((limit_s - whole_s) * 1e6))
    connected.setsockopt(socket.SOL_SOCKET, which, value)


class _Sender:
    """Sends what can be read from a descriptor; ``requests`` counts its lines with content."""

    def __init__(self, connected: socket.socket, descriptor: int) -> None:
        self._socket = connected
        self._descriptor = descriptor
        self.requests = 0
        self.ended = False

    def run(self) -> None:
        begun = False  # the line under way has content
        try:
            while True:
                data = os.read(self._descriptor, _PIECE_BYTES)
                if not data:
                    break
                for part in data.splitlines(True):
                    begun = begun or bool(part.strip())
                    if part.endswith(b"\n"):
                        # Counted before it is sent: no answer may come before its request.
                        self.requests += begun
                        begun = False
                self._socket.sendall(data)
            if begun:
                self.requests += 1
                self._socket.sendall(b"\n")
            self.ended = True
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the daemon is gone: reading finds that out and says it


def _relay(connected: socket.socket, term: Terminal) -> int:
    """Write what comes until the daemon closes; give how many requests were answered."""
    answered = 0
    unended = b""
    while True:
        try:
            data = connected.recv(_PIECE_BYTES)
        except BlockingIOError:
            raise CommandFailed("nothing came within --timeout", RETRYABLE) from None
        except ConnectionError:
            return answered
        if not data:
            return answered
        lines = (unended + data).split(b"\n")
        unended = lines.pop()
        for line in lines:
            term.line(line.decode("utf-8", "replace"))
            answered += _is_reply(line)


def _is_reply(line: bytes) -> bool:
    """Tell a reply from a notification, such as a chunk of a stream."""
    try:
        message = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and "method" not in message


RAW = Command("raw", "", "speak the protocol by hand", _DETAILS, _arguments, run_raw)
