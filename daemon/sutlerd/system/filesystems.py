"""What kind of file system a path is on, as the kernel says it.

Locks and shared memory maps are only dependable on a local file system, so a network one
is refused for state, cache and socket. Names come from the magic numbers of statfs(2) and
``linux/magic.h``; the look-up is injected where tests want another answer.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable

from sutlerd.domain.record import record

#: A path that exists -> its file system's magic number, unsigned 32 bits. Raises OSError.
Statfs = Callable[[str], int]

NETWORK_MAGICS: dict[int, str] = {
    0x00006969: "NFS",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x19830326: "BeeGFS",
    0x00C36400: "CephFS",
    0xFF534D42: "SMB",
    0xFE534D42: "SMB",
    0x0000517B: "SMB",
    0x01021997: "9p",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x20030528: "OrangeFS",
    0xAAD7AAEA: "PanFS",
    0x7461636F: "OCFS2",
    0x01161970: "GFS2",
}

LOCAL_MAGICS: dict[int, str] = {
    0x0000EF53: "ext2/3/4",
    0x58465342: "XFS",
    0x9123683E: "Btrfs",
    0x2FC12FC1: "ZFS",
    0x01021994: "tmpfs",
    0x858458F6: "ramfs",
    0x794C7630: "overlayfs",
    0xF2F52010: "F2FS",
    0xCA451A4E: "bcachefs",
    0x3153464A: "JFS",
    0x52654973: "ReiserFS",
    0x61756673: "aufs",
}


@record
class FileSystem:
    """A kind of file system; ``name`` is its magic number in hex where it is unknown."""

    name: str
    is_network: bool
    is_known: bool


def kernel_statfs(path: str) -> int:
    """Ask the kernel; ``os.statvfs`` does not give the magic number."""
    libc = ctypes.CDLL(None, use_errno=True)
    # struct statfs is at most 120 bytes on Linux; f_type is its first word.
    buffer = ctypes.create_string_buffer(512)
    while libc.statfs(os.fsencode(path), buffer) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), path)
    # The first word is a long, but for s390x, where it is 32 bits wide.
    width = 4 if os.uname().machine == "s390x" else ctypes.sizeof(ctypes.c_long)
    return int.from_bytes(buffer.raw[:width], sys.byteorder) & 0xFFFFFFFF


def file_system(path: str, statfs: Statfs = kernel_statfs) -> FileSystem:
    """Name the file system of ``path`` or, where that is not there yet, of its nearest parent.

    Raises OSError when none of the parents can be asked.
    """
    place = os.path.abspath(path)
    while True:
        try:
            return _named(statfs(place))
        except (FileNotFoundError, NotADirectoryError):
            parent = os.path.dirname(place)
            if parent == place:
                raise
            place = parent


def _named(magic: int) -> FileSystem:
    if magic in NETWORK_MAGICS:
        return FileSystem(name=NETWORK_MAGICS[magic], is_network=True, is_known=True)
    if magic in LOCAL_MAGICS:
        return FileSystem(name=LOCAL_MAGICS[magic], is_network=False, is_known=True)
    # FUSE (0x65735546) is among these: sshfs and a local disk look the same from here.
    return FileSystem(name=f"{magic:#010x}", is_network=False, is_known=False)
