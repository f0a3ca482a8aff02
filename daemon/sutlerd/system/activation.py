"""A listening socket handed over by systemd, checked before it is believed.

The protocol is that of sd_listen_fds(3): descriptors from 3 on, their number in LISTEN_FDS,
meant for the process whose pid is in LISTEN_PID, named in LISTEN_FDNAMES.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from sutlerd.system.exits import CannotStart, Exit
from sutlerd.system.listening import Listener

_FIRST_DESCRIPTOR = 3


class WrongSocket(CannotStart):
    """What was handed over is not one listening Unix stream socket."""

    def __init__(self, message: str) -> None:
        super().__init__(
            Exit.CONFIGURATION,
            f"socket activation: {message}; sutlerd.socket needs exactly one ListenStream= "
            "with a path, and Accept=no",
        )


def inherited_listener(
    environ: Mapping[str, str], *, pid: int, first_descriptor: int = _FIRST_DESCRIPTOR
) -> Listener | None:
    """Take over systemd's socket; None when nothing is meant for this process.

    Raises WrongSocket when something is, but is not what can be served.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return None  # not set, or left over from a parent that it was meant for
    told = environ.get("LISTEN_FDS", "")
    if not (told.isascii() and told.isdigit()):
        raise WrongSocket(f"LISTEN_FDS is {told!r}, not a number")
    if int(told) == 0:
        return None
    if int(told) > 1:
        names = environ.get("LISTEN_FDNAMES") or "no names"
        raise WrongSocket(f"{told} descriptors were handed over ({names}), not one")
    name = environ.get("LISTEN_FDNAMES") or "unnamed"
    return _checked(first_descriptor, f"descriptor {first_descriptor} ({name})")


def _checked(descriptor: int, called: str) -> Listener:
    try:
        os.fstat(descriptor)
    except OSError:
        raise WrongSocket(f"{called} is not open") from None
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise WrongSocket(f"{called} is not a socket: {error.strerror}") from None
    problem = None
    if sock.family != socket.AF_UNIX:
        problem = f"{called} is a socket of {_name(sock.family)}, not of AF_UNIX"
    elif sock.type != socket.SOCK_STREAM:
        problem = f"{called} is a socket of {_name(sock.type)}, not of SOCK_STREAM"
    elif not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        problem = f"{called} is not listening"
    if problem is not None:
        sock.detach()  # whose it is, is not clear: leave it open
        raise WrongSocket(problem)
    sock.set_inheritable(False)
    sock.setblocking(False)
    address = sock.getsockname()
    if isinstance(address, bytes):
        path = "@" + address[1:].decode(errors="replace")
    else:
        path = address
    return Listener(socket=sock, path=path)


def _name(number: int) -> str:
    return str(getattr(number, "name", number))
