"""Who is at the other end of a Unix socket, and whether anybody still is, by the kernel's word.

The credentials are those of the moment of ``connect`` (or ``listen``): a socket handed to
another process afterwards keeps them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
from collections.abc import Iterable
from enum import Enum

from sutlerd.domain.record import record
from sutlerd.system.jobs import job_of_cgroups

# Not in the socket module; asm-generic/socket.h, the same on every machine we run on.
_SO_PEERGROUPS = 59
_SO_PEERPIDFD = 77

#: The longest buffer that socket.getsockopt takes.
_GETSOCKOPT_MAX_BYTES = 1024


@record
class Peer:
    """The process at the other end. ``pid`` is 0 where it is in a namespace we cannot see."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int]
    job: str | None


class Presence(Enum):
    """Half-closed peers have ended their sending but wait for answers."""

    OPEN = "open"
    HALF_CLOSED = "half_closed"
    GONE = "gone"


def identify(sock: socket.socket) -> Peer:
    """Read who is connected. Raises OSError when the peer is gone beyond asking."""
    pid, uid, gid = _credentials(sock)
    return Peer(pid=pid, uid=uid, gid=gid, groups=_groups(sock), job=_job(sock, pid, uid))


def peer_pid(sock: socket.socket) -> int:
    """Give the peer's pid, for messages; 0 where it cannot be seen."""
    return _credentials(sock)[0]


def presence(descriptor: int) -> Presence:
    """Look without waiting. After the end of input the event loop itself says nothing."""
    return presences([descriptor])[descriptor]


def presences(descriptors: Iterable[int]) -> dict[int, Presence]:
    """Look at many in one system call."""
    poll = select.poll()
    found: dict[int, Presence] = {}
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLRDHUP)  # POLLHUP is always reported
        found[descriptor] = Presence.OPEN
    for descriptor, events in poll.poll(0):
        if events & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            found[descriptor] = Presence.GONE
        else:
            found[descriptor] = Presence.HALF_CLOSED
    return found


def _credentials(sock: socket.socket) -> tuple[int, int, int]:
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    pid, uid, gid = struct.unpack("iII", data)
    return pid, uid, gid


def _groups(sock: socket.socket) -> frozenset[int]:
    """Give the supplementary groups; none where the kernel (before 4.13) cannot say."""
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GETSOCKOPT_MAX_BYTES)
    except OSError as error:
        if error.errno != errno.ERANGE:
            return frozenset()
        data = _many_groups(sock)
    return frozenset(group for (group,) in struct.iter_unpack("I", data))


def _many_groups(sock: socket.socket) -> bytes:
    """Read more groups than socket.getsockopt has room for (256)."""
    libc = ctypes.CDLL(None, use_errno=True)
    length = ctypes.c_uint32(65_536 * 4)
    buffer = ctypes.create_string_buffer(length.value)
    if libc.getsockopt(
        sock.fileno(), socket.SOL_SOCKET, _SO_PEERGROUPS, buffer, ctypes.byref(length)
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw[: length.value]


def _job(sock: socket.socket, pid: int, uid: int) -> str | None:
    """Read the batch job of the peer, unless its pid may be somebody else's by now."""
    if pid <= 0:
        return None
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            job = job_of_cgroups(file.read(65_536))
        if job is None or _is_still(sock, pid, uid):
            return job
    except OSError:
        pass  # it has ended
    return None


def _is_still(sock: socket.socket, pid: int, uid: int) -> bool:
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, struct.calcsize("i"))
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            return False  # ended, and waited for
        # Before Linux 6.5: a pid used again by the same user only mislabels that user's call.
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            real_uid = next(line for line in file if line.startswith("Uid:")).split()[1]
        return int(real_uid) == uid
    (descriptor,) = struct.unpack("i", data)
    try:
        # A pidfd is readable once its process has ended; its pid is not used again before.
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return not poll.poll(0)
    finally:
        os.close(descriptor)
