"""From a name to a connected socket whose other end is who it should be.

Where the socket is sought, how a path too long for an address is reached, how a full
backlog is waited for, and which listeners are trusted. Loaded at the first connection.
"""

import errno
import os
import socket
import stat
import struct
import time

from sutler.errors import AccessDenied, DaemonUnavailable
from sutler.wire import MAX_SOCKET_PATH_BYTES, socket_candidates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, List, Mapping, Optional, Tuple

_MAX_LINKS = 40  # symbolic links followed in one path, as the kernel does
_SYSTEM_FOLDER = "/run/sutler"
_ALL_UIDS = 0xFFFFFFFF
_START = (
    "Start one with `sutlerd &` or `systemctl --user start sutlerd.socket`, or name the socket"
    " of one that runs in SUTLER_SOCKET."
)


def locate(explicit: "Optional[str]", environ: "Mapping[str, str]", uid: int) -> str:
    """Give the first place that exists; raises DaemonUnavailable that lists all of them."""
    places = [explicit] if explicit else socket_candidates(environ, uid)
    tried: "List[Tuple[str, str]]" = []
    for place in places:
        try:
            os.stat(place)
        except OSError as error:
            tried.append((place, _reason(error)))
        else:
            return place
    raise unavailable(tried)


def unavailable(tried: "List[Tuple[str, str]]") -> DaemonUnavailable:
    listed = "".join("\n  %s: %s" % pair for pair in tried)
    message = "No sutlerd can be reached. Tried:%s\n%s" % (listed, _START)
    return DaemonUnavailable(message, retryable=False, data={"tried": tried})


def connect(path: str, trusted_uids: "Collection[int]", timeout_s: float) -> socket.socket:
    """Connect, waiting while the daemon does not accept; blocks for ``timeout_s`` at most.

    Raises DaemonUnavailable (retryable if the daemon is there but not accepting) and
    AccessDenied (it may not be used, or who listens is not to be trusted).
    """
    until_s = time.monotonic() + timeout_s
    while True:
        connected = open_socket()
        try:
            wait_s = max(0.001, until_s - time.monotonic())
            # A time limit of Python's own would make the socket non-blocking, and connecting
            # to a full backlog would then fail at once instead of waiting.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(wait_s))
            if attempt(connected, path, trusted_uids):
                return connected
        except BaseException:
            connected.close()
            raise
        connected.close()
        if time.monotonic() >= until_s:
            raise not_accepting(path, timeout_s)


def open_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)


def not_accepting(path: str, waited_s: float) -> DaemonUnavailable:
    reason = (
        "sutlerd is not accepting connections (stopped or overloaded); waited %.3g s" % waited_s
    )
    return DaemonUnavailable(
        "%s: %s" % (path, reason), retryable=True, data={"tried": [(path, reason)]}
    )


def attempt(connecting: socket.socket, path: str, trusted_uids: "Collection[int]") -> bool:
    """Connect once and check who listens. False: not accepted yet, try with another socket."""
    folder, address = _address(path)
    try:
        connecting.connect(address)
    except BlockingIOError:
        return False
    except PermissionError as error:
        raise AccessDenied("%s: %s: this user may not use it" % (path, _reason(error))) from None
    except OSError as error:
        if error.errno == errno.EINTR:
            return False
        raise unavailable([(path, _reason(error))]) from None
    finally:
        if folder >= 0:
            os.close(folder)
    pid, uid, _ = struct.unpack(
        "iII", connecting.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    )
    if pid == 0 and uid == 0xFFFFFFFF:
        return False  # a signal interrupted connect, and nobody is there yet
    check_listener(uid, path, trusted_uids)
    return True


def _address(path: str) -> "Tuple[int, bytes]":
    """Give an address for the path, and a descriptor to close after use (-1: none).

    A path too long for an address is reached through its folder's descriptor.
    """
    encoded = os.fsencode(path)
    if len(encoded) <= MAX_SOCKET_PATH_BYTES:
        return -1, encoded
    parent, name = os.path.split(encoded)
    try:
        folder = os.open(parent or b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise unavailable([(path, _too_long(encoded, _reason(error)))]) from None
    short = b"/proc/self/fd/%d/%s" % (folder, name)
    if len(short) <= MAX_SOCKET_PATH_BYTES and os.path.isdir(b"/proc/self/fd/%d" % folder):
        return folder, short
    os.close(folder)
    why = "its name alone is too long" if len(short) > MAX_SOCKET_PATH_BYTES else "no /proc here"
    raise unavailable([(path, _too_long(encoded, why))])


def _too_long(encoded: bytes, why: str) -> str:
    return "the path has %d bytes, the limit of an address is %d, and the way round failed: %s" % (
        len(encoded),
        MAX_SOCKET_PATH_BYTES,
        why,
    )


def check_listener(uid: int, path: str, trusted_uids: "Collection[int]") -> None:
    """Raise AccessDenied unless the uid of who listens is one to send secrets to.

    That is root (the service manager, under socket activation), this process's own user,
    a configured one, or the owner of a folder that only root can replace. In a container it is
    whoever listens in the node's own folder.
    """
    if uid in (0, os.geteuid()) or uid in trusted_uids:
        return
    folder = os.path.dirname(path)
    if uid == _owner_by_root(folder):
        return
    nameless = _is_nameless(uid)
    if nameless and _is_the_nodes(folder):
        return
    contained = (
        " In this container every user of the node but its own looks like that: bind the node's"
        " /run/sutler to the same place, which is trusted."
    )
    raise AccessDenied(
        "%s: uid %d listens there, which is neither root, nor this user, nor the owner of a"
        " folder that only root can replace. Nothing was sent.%s If it is the right one, pass"
        " trusted_uids=(%d,)." % (path, uid, contained if nameless else "", uid),
        data={"listener_uid": uid},
    )


def _is_nameless(uid: int) -> bool:
    """Tell whether that is what the kernel says of users who have no number where we run.

    A container that an ordinary user starts has numbers for that user alone, not for root.
    """
    try:
        with open("/proc/sys/kernel/overflowuid") as overflow, open("/proc/self/uid_map") as known:
            return uid == int(overflow.read()) and not any(
                line.split()[2] == str(_ALL_UIDS) for line in known
            )
    except (OSError, ValueError):
        return False


def _is_the_nodes(folder: str) -> bool:
    """Tell whether that is the node's folder, which on the node itself only root can make.

    What a container shows there instead is the doing of whoever started the container.
    """
    try:
        info = os.lstat(_SYSTEM_FOLDER)
        return (
            os.path.realpath(folder) == _SYSTEM_FOLDER
            and stat.S_ISDIR(info.st_mode)
            and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            and _is_nameless(info.st_uid)
        )
    except OSError:
        return False


def _owner_by_root(folder: str) -> "Optional[int]":
    """Give the owner of a folder if root alone decides what that path leads to, else None."""
    try:
        if not folder.startswith("/"):
            folder = os.path.join(os.getcwd(), folder)
        ahead, here, links = _parts(folder), "/", 0
        info = os.lstat(here)
        while ahead:
            if info.st_uid != 0 or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
            there = os.path.join(here, ahead.pop(0))
            info = os.lstat(there)
            if not stat.S_ISLNK(info.st_mode):
                here = there
                continue
            links += 1
            target = os.readlink(there)
            ahead = _parts(target) + ahead
            here = "/" if target.startswith("/") else here
            info = os.lstat(here)
            # What ".." leads to after a link is not worth following: such paths earn no trust.
            if links > _MAX_LINKS or ".." in ahead:
                return None
    except OSError:
        return None
    return None if ".." in _parts(folder) else info.st_uid


def _parts(path: str) -> "List[str]":
    return [part for part in path.split("/") if part and part != "."]


def _timeval(seconds: float) -> bytes:
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000) or 1)


def _reason(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "a socket that nobody listens on"
    return (error.strerror or str(error)).lower()
