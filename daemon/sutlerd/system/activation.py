"""Listening sockets handed over by systemd, checked before they are believed.

The protocol is that of sd_listen_fds(3): descriptors from 3 on, their number in LISTEN_FDS,
meant for the process whose pid is in LISTEN_PID, named in LISTEN_FDNAMES. All sockets of one
unit have the same name, so that the one for HTTP is told by its file's name as well.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import PurePath

from sutlerd.domain.record import record
from sutlerd.system.exits import CannotStart, Exit
from sutlerd.system.listening import Listener

_FIRST_DESCRIPTOR = 3
_MOST = 2
_HTTP_NAME = "http"
_HTTP_ENDING = "-http"


@record
class Inherited:
    """The sockets of the service manager. ``http`` is None where its unit has but the one."""

    main: Listener
    http: Listener | None = None


class WrongSocket(CannotStart):
    """What was handed over is not a listening Unix stream socket, or two that can be told apart."""

    def __init__(self, message: str) -> None:
        super().__init__(
            Exit.CONFIGURATION,
            f"socket activation: {message}; sutlerd.socket needs one ListenStream= with a path, "
            "at most a second one for HTTP, whose path ends in -http.sock, and Accept=no",
        )


def inherited_listeners(
    environ: Mapping[str, str], *, pid: int, first_descriptor: int = _FIRST_DESCRIPTOR
) -> Inherited | None:
    """Take over systemd's sockets; None when nothing is meant for this process.

    Raises WrongSocket when something is, but is not what can be served.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return None  # not set, or left over from a parent that it was meant for
    told = environ.get("LISTEN_FDS", "")
    if not (told.isascii() and told.isdigit()):
        raise WrongSocket(f"LISTEN_FDS is {told!r}, not a number")
    count = int(told)
    if count == 0:
        return None
    given = environ.get("LISTEN_FDNAMES") or ""
    if count > _MOST:
        raise WrongSocket(f"{count} descriptors were handed over ({given or 'no names'})")
    names = [*given.split(":"), *[""] * count][:count]
    listeners: list[Listener] = []
    try:
        for descriptor, name in enumerate(names, first_descriptor):
            called = f"descriptor {descriptor} ({name or 'unnamed'})"
            listeners.append(_checked(descriptor, called))
        return _told_apart(listeners, names)
    except WrongSocket:
        for listener in listeners:
            listener.socket.detach()  # as a wrong one, they are left open
        raise


def _told_apart(listeners: list[Listener], names: list[str]) -> Inherited:
    if len(listeners) == 1:
        return Inherited(main=listeners[0])
    main: list[Listener] = []
    http: list[Listener] = []
    for listener, name in zip(listeners, names, strict=True):
        of_http = name == _HTTP_NAME or PurePath(listener.path).stem.endswith(_HTTP_ENDING)
        (http if of_http else main).append(listener)
    if not main or not http:
        paths = " and ".join(listener.path for listener in listeners)
        raise WrongSocket(f"which of {paths} is for HTTP cannot be told")
    return Inherited(main=main[0], http=http[0])


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
