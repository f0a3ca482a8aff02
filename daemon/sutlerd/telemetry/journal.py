"""Events as entries of systemd's journal, each field its own, by the journal's native protocol.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL/: one datagram an entry, ``NAME=value`` a line. Values
are escaped as in the log's lines, so that none has a line break and can begin another field.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sutlerd.telemetry.line import field_text, message_text

SOCKET: Final = "/run/systemd/journal/socket"
IDENTIFIER: Final = "sutlerd"
PREFIX: Final = "SUTLER_"

_MAX_NAME_CHARS: Final = 64
#: Names of the code's own are no longer; others are looked at more closely.
_OWN_NAME_CHARS: Final = 20
_ODD = re.compile(r"[^A-Z0-9_]")
#: What does not fit a datagram is handed over as a sealed file in memory.
_TOO_LARGE: Final = (errno.EMSGSIZE, errno.ENOBUFS)
_SEALS: Final = (
    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
)  # fmt: skip


def entry(
    priority: int, name: str, fields: Mapping[str, object], masked: Callable[[str], str]
) -> str:
    """Write an event as an entry without its last line end; ``priority`` is syslog's.

    ``call`` with ``uid`` becomes ``SUTLER_EVENT=call`` and ``SUTLER_UID=…``; ``MESSAGE`` is the
    log's line of it without time and level, which the journal has its own of.
    """
    lines = [
        f"MESSAGE={message_text(name, fields)}",
        f"PRIORITY={priority}",
        f"SYSLOG_IDENTIFIER={IDENTIFIER}",
        f"{PREFIX}EVENT={field_text(name)}",
    ]
    # A name is spelt in capitals: a secret in it has to go before that.
    lines += [f"{_name(key, masked)}={field_text(value)}" for key, value in fields.items()]
    return masked("\n".join(lines))


def _name(key: str, masked: Callable[[str], str]) -> str:
    if key.isascii() and key.isidentifier() and len(key) <= _OWN_NAME_CHARS:
        return PREFIX + key.upper()
    return (PREFIX + _ODD.sub("_", masked(key).upper()))[:_MAX_NAME_CHARS]


class Entrance:
    """The way into the journal: a datagram socket of its own."""

    def __init__(self, path: str, sock: socket.socket) -> None:
        self._path = path
        self._socket = sock

    def write(self, entries: Sequence[bytes]) -> int:
        """Hand entries over in their order; give how many of the last were lost. May block."""
        for number, each in enumerate(entries):
            try:
                self._socket.sendto(each, self._path)
            except OSError as error:
                if error.errno not in _TOO_LARGE or not self._hand_over(each):
                    return len(entries) - number
        return 0

    def close(self) -> None:
        self._socket.close()

    def _hand_over(self, large: bytes) -> bool:
        try:
            file = os.memfd_create("sutlerd", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            try:
                with os.fdopen(os.dup(file), "wb") as memory:
                    memory.write(large)
                fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, file.to_bytes(4, "little"))]
                self._socket.sendmsg([b""], ancillary, 0, self._path)
            finally:
                os.close(file)
        except OSError:
            return False
        return True


def entrance(path: str = SOCKET) -> Entrance | None:
    """Open the way into the journal; ``None`` where there is none."""
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            # Only to see whether anybody is there: who is there later may be somebody else.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as tried:
                tried.connect(path)
        except OSError:
            sock.close()
            return None
    except OSError:
        return None
    return Entrance(path, sock)
